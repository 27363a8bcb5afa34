"""Train the small model that kotrans ships, store it in half precision as kotrans/data/tour_model.pt, and its scores as results/tour_model.json.

    python tools/tour_model.py [FOLDER]

It trains on the `train` part of the embedded corpus alone, so that the scores on the other parts are of sentences it has not seen. Some five to
fifteen minutes on two cores. What the run writes goes to FOLDER (a temporary one if none is given); with a FOLDER, an interrupted run goes on.
"""
import json,os,platform,sys,tempfile
from pathlib import Path
import torch
import kotrans
from kotrans.analysis import read_log
from kotrans.checkpoint import load_checkpoint,save_checkpoint
from kotrans.config import TransformerConfig,preset
from kotrans.pipeline import corpus_scores,prepare,read_split,train
from kotrans.translator import Translator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'bench'))
from turns import machine        # the benchmarks' words for what a number was measured on
MODEL,RESULT = ROOT/'kotrans'/'data'/'tour_model.pt', ROOT/'results'/'tour_model.json'
LARGEST = 3_000_000       # bytes of the file, weights and vocabularies together
FIELDS = dict(preset='tiny', d_ff=384, num_epochs=10, max_minutes=0., save_every=1, keep_checkpoints=0, device='cpu', seed=42)
EPOCHS = 1, 3, 10         # after these, three test sentences are translated, to show how it learns

def halved(weights):
    "The weights in half precision; what is tied stays one tensor"
    made = {}
    return {k: made.setdefault(v.data_ptr(), v.half()) if v.is_floating_point() else v for k,v in weights.items()}

def examples(test):
    "Of the test sentences the first of four, of six and of eight words"
    return [next(pair for pair in test if len(pair[0].split())==n) for n in (4, 6, 8)]

def learning(shown):
    "What the model made of `shown` after some epochs"
    def after(n): return Translator.from_checkpoint(f'checkpoints/checkpoint_epoch_{n}.pt', 'cpu').translate([ko for ko,_ in shown])
    return [dict(epoch=n, translations=after(n)) for n in EPOCHS]

def store(about):
    "Write the best model of the run as the file that is shipped"
    state = load_checkpoint('checkpoints/best_model.pt')
    state['config'] = TransformerConfig(**state['config']).to_dict()   # under today's names
    state['weights'],state['provenance'] = halved(state['weights']),about
    save_checkpoint(MODEL, state)
    size = MODEL.stat().st_size
    if size>LARGEST: sys.exit(f'{MODEL}: {size:,} bytes, and may have {LARGEST:,}')
    return size

def scores(parts):
    "BLEU and chrF of the shipped file, on each of `parts`"
    translator = Translator.from_checkpoint(MODEL, 'cpu')
    return {name: corpus_scores(translator.translate([ko for ko,_ in pairs]), [en for _,en in pairs]) for name,pairs in parts.items()}

def main(folder):
    RESULT.unlink(missing_ok=True)                          # nothing old stays if this fails
    os.chdir(folder)
    prepare(preset(FIELDS['preset']))
    train(resume='auto', report=False, **FIELDS)
    parts = {name: read_split(preset(FIELDS['preset']), name) for name in ('train', 'validation', 'test', 'test_phrasebook')}
    about = dict(command='python tools/tour_model.py', corpus="embedded, part 'train'", licence='CC0-1.0', pairs=len(parts['train']), **FIELDS,
                 kotrans=kotrans.__version__, torch=str(torch.__version__), python=platform.python_version())
    size,shown = store(about),examples(parts['test'])
    best = load_checkpoint(MODEL)
    record = about | dict(bytes=size, parameters=sum({v.data_ptr(): v.numel() for v in best['weights'].values()}.values()), best_epoch=best['epoch'],
        minutes=round(sum(row['seconds'] for row in read_log('logs'))/60, 1), threads=torch.get_num_threads(), **machine(),
        valid_loss=best['valid'].get('valid_loss'), scores=scores({name: parts[name] for name in ('validation', 'test', 'test_phrasebook')}),
        examples=[dict(ko=ko, en=en) for ko,en in shown], learning=learning(shown))
    RESULT.write_text(json.dumps(record, indent=1, ensure_ascii=False)+'\n', 'utf-8')
    for name,s in record['scores'].items(): print(f"{name:16} BLEU {s['bleu']:5.1f}  chrF {s['chrf']:5.1f}")
    print(f'wrote {MODEL} ({size:,} bytes) and {RESULT}')

if __name__=='__main__':
    if len(sys.argv)>1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder: main(folder)
