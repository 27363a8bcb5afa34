"""A program that uses kotrans as its readers do: type checkers read it, and it runs.

    python tools/typecheck.py      are the types what is asserted here, and are wrong uses noticed?
    python tools/typed_use.py      are the values of those types when it runs?

Each `assert_type` is thus checked twice: by the type checker against the annotation, and at run time against the value. The
last function is never run: every line of it is wrong, and `--warn-unused-ignores` fails if one of them is no longer noticed.
"""
from __future__ import annotations
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type, get_origin
import torch
from torch import Tensor
from kotrans import InputError, Trainer, Transformer, TransformerConfig, Translator, load_config, preset
from kotrans.batching import Batch, BatchLoader
from kotrans.config import BaseConfig
from kotrans.decoding import Hypothesis, beam_search, greedy_search
from kotrans.encoding import EncodedCorpus, encode_corpus
from kotrans.fast_decoding import SearchOptions, search
from kotrans.masking import causal_mask, padding_mask, target_mask
from kotrans.tokenizer import Tokenizer, train_tokenizer
from kotrans.transformer import count_parameters

if not TYPE_CHECKING:
    def assert_type(value, kind):
        "Fail unless `value` is a `kind`"
        assert kind is Any or isinstance(value, get_origin(kind) or kind), f'{value!r} is no {kind}'
        return value

class Small(TransformerConfig):
    d_model = 32
    num_heads = 4
    d_ff = 64
    num_encoder_layers = num_decoder_layers = 1
    num_epochs = 1
    batch_size = 4
    device = 'cpu'

def configs(folder: Path) -> Small:
    "Presets, files and classes of one's own"
    assert_type(preset('small'), TransformerConfig)
    (folder/'run.toml').write_text('d_model = 64\n', 'utf-8')
    c = assert_type(load_config(str(folder/'run.toml')), BaseConfig)
    assert_type(c.batch_size, int)
    small = Small(seed=1)
    assert_type(small.d_model, int)
    assert_type(small.dropout, float)
    return assert_type(small.replace(seed=2, checkpoint_dir=str(folder/'checkpoints'), log_dir=str(folder/'logs')), Small)

def tokenizer() -> Tokenizer:
    t = train_tokenizer([f'a{i} b{i} 가{i}' for i in range(50)], vocab_size=400)
    assert_type(t.fingerprint(), str)
    assert_type(len(t), int)
    return assert_type(t, Tokenizer)

def masks(ids: Tensor) -> None:
    assert_type(padding_mask(ids), Tensor)
    assert_type(causal_mask(3), Tensor)
    assert_type(target_mask(ids, pad=0), Tensor)

def model(config: TransformerConfig, size: int) -> Transformer:
    m = Transformer(config, size, size)
    src = torch.tensor([[5, 6, 3]])
    memory = assert_type(m.encode(src, padding_mask(src)), Tensor)
    assert_type(m.forward(src, src), Tensor)
    assert_type(m.decode(src, memory, None, target_mask(src)), Tensor)
    assert_type(m.encoder, torch.nn.ModuleList)
    assert_type(count_parameters(m), int)
    return m

def decoding(m: Transformer) -> None:
    src = torch.tensor([[5, 6, 3], [7, 3, 0]])
    best: Hypothesis = greedy_search(m, src, max_len=4)[0]
    assert_type(best.score, float)
    assert_type(best.finished, bool)
    assert_type(len(beam_search(m, src, beam_size=2, max_len=4)), int)
    options = SearchOptions('beam', 2, max_len_b=4)
    assert_type(options.beam_size, int)
    assert_type(len(search(m, src, options)), int)

def training(m: Transformer, config: TransformerConfig, t: Tokenizer) -> None:
    corpus = assert_type(encode_corpus(['가1 가2', '가3', '가4 가5', '가6'], ['a1 b1', 'a2', 'a3 b3', 'a4'], t, t), EncodedCorpus)
    loader = BatchLoader(corpus, 2)
    assert_type(loader.num_batches(), int)
    assert_type(loader.batch([0, 1], 0), Batch)
    trainer = Trainer(m, config, corpus, corpus, (t, t), progress=False)
    assert_type(len(trainer.train()), int)
    assert_type(trainer.lr, float)
    assert_type(trainer.config, TransformerConfig)

def translating(folder: Path) -> None:
    found = assert_type(Translator.from_checkpoint(folder/'checkpoints/best_model.pt', device='cpu', max_len=9), Translator)
    one: str = found.translate('가1 가2')
    two: list[str] = found.translate(['가1', ''])
    assert isinstance(one, str) and len(two)==2 and two[1]==''
    assert_type(found.batch_size, int)
    assert_type(found.options, SearchOptions)

def wrong(m: Transformer, t: Translator) -> None:
    "Never run"
    preset(1)                                   # type: ignore[arg-type]
    load_config('run.toml').d_modle             # type: ignore[attr-defined]
    Transformer('small', 100, 100)              # type: ignore[arg-type]
    Transformer(preset('tiny'), 100)            # type: ignore[call-arg]
    m.encode('text')                            # type: ignore[arg-type]
    m.translate('text')                         # type: ignore[operator]
    m.forward(torch.zeros(1))                   # type: ignore[call-arg]
    Translator.from_checkpoint(device=0)        # type: ignore[arg-type]
    t.translat('text')                          # type: ignore[attr-defined]
    t.batch_size = 'many'                       # type: ignore[assignment]
    SearchOptions('beam', beam_size='4')        # type: ignore[arg-type]
    train_tokenizer([], vocab='400')            # type: ignore[call-arg]
    raise InputError(0).line                    # type: ignore[attr-defined]

def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name); config = configs(folder); t = tokenizer()
        config = config.replace(src_vocab_size=len(t), tgt_vocab_size=len(t))
        m = model(config, len(t)); masks(torch.tensor([[5, 6, 3]])); decoding(m.eval())
        training(m, config, t); translating(folder)
    try: preset('smal')
    except InputError as e: assert 'small' in str(e)
    else: raise AssertionError('a preset that is not there')
    print('all values are of the types that the annotations promise')

if __name__=='__main__': main()
