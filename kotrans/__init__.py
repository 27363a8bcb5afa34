"""Korean-to-English translation with the Transformer: a book whose cells are the library"""
__version__ = "0.1.0"

# The names of README's five lines, each loaded when it is first asked for: importing `kotrans` alone loads no PyTorch.
TYPE_CHECKING = False   # type checkers take it for true
if TYPE_CHECKING:
    from .config import TransformerConfig,load_config,preset
    from .files import InputError
    from .distributed import DistributedTrainer as Trainer
    from .transformer import Transformer
    from .translator import Translator

# `Trainer` is the one of `kotrans-train`, with checkpoints, logs and several GPUs; the plain one of the book is `kotrans.training.Trainer`.
_homes = dict(InputError='files', Trainer='distributed', Transformer='transformer', TransformerConfig='config',
              Translator='translator', load_config='config', preset='config')
_names = dict(Trainer='DistributedTrainer')

__all__ = ['InputError', 'Trainer', 'Transformer', 'TransformerConfig', 'Translator', 'load_config', 'preset']

def __getattr__(name):
    "Load a name of `__all__` from the module that defines it"
    if name not in _homes: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    globals()[name] = found = getattr(import_module(f'{__name__}.{_homes[name]}'), _names.get(name, name))
    return found

def __dir__(): return sorted({*globals(), *__all__})
