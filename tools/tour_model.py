"""Run the demo, keep its model as the one that kotrans ships (kotrans/data/tour_model.pt), and what it scored and said as results/tour_model.json.

    python tools/tour_model.py [FOLDER]

The run is that of `kotrans-train --demo`: preset `tiny` on the `train` part of the embedded corpus, ten minutes on two cores. It also translates
`bench/first_utterances.tsv`, sentences that somebody thought up who has not seen the corpus. Weights are stored in half precision, the rows of
matrices in steps of about `STEP` of their standard deviation, so that they take little room in a compressed package; the scores are those of the
file. What the run writes goes to FOLDER (a temporary one if none is given); a run that is there already is not made again.
"""
import json,os,platform,sys,tempfile
from pathlib import Path
import torch
import kotrans
from kotrans.analysis import read_log
from kotrans.checkpoint import load_checkpoint,save_checkpoint
from kotrans.cleaning import alnum_key
from kotrans.config import TransformerConfig,preset
from kotrans.corpora import everyday
from kotrans.formats import read_tsv
from kotrans.pipeline import corpus_scores,read_split,train
from kotrans.translator import Translator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'bench'))
from turns import machine        # the benchmarks' words for what a number was measured on
MODEL,RESULT,UNSEEN = ROOT/'kotrans'/'data'/'tour_model.pt', ROOT/'results'/'tour_model.json', ROOT/'bench'/'first_utterances.tsv'
LARGEST = 3_200_000       # bytes of the file, weights and vocabularies together
STEP = .18                # of a row's standard deviation; rounded to a power of two
KEEP = dict(save_every=1, keep_checkpoints=0, device='cpu')        # every epoch's checkpoint, to show how it learned
TESTS = 'test', 'test_everyday'
SHOWN = '어제 친구하고 영화를 봤어요.', '할머니는 손자에게 줄 사과를 깎고 계셨다.', '비가 많이 와서 버스가 늦게 왔는데 다행히 수업에는 늦지 않았어요.'

def rounded(weights):
    "The weights in half precision, those of matrices in steps of `STEP`; what is tied stays one tensor"
    made = {}
    def short(v):
        if v.dim()<2: return v.half()
        step = 2.**torch.round(torch.log2(v.std(dim=1, keepdim=True).clamp_min(1e-4)*STEP))
        return (torch.round(v/step)*step).half()
    return {k: made.setdefault(v.data_ptr(), short(v)) if v.is_floating_point() else v for k,v in weights.items()}

def learning():
    "What the model made of `SHOWN` after some epochs"
    files = sorted(Path('checkpoints').glob('checkpoint_epoch_*.pt'), key=lambda f: int(f.stem.rpartition('_')[2]))
    epochs = sorted({0, 2, len(files)//2, len(files)-1} & {*range(len(files))})
    after = lambda f: Translator.from_checkpoint(f, 'cpu').translate(list(SHOWN))
    return [dict(epoch=int(files[i].stem.rpartition('_')[2]), translations=after(files[i])) for i in epochs]

def store(about):
    "Write the best model of the run as the file that is shipped"
    state = load_checkpoint('checkpoints/best_model.pt')
    state['config'] = TransformerConfig(**state['config']).to_dict()   # under today's names
    state['weights'],state['provenance'] = rounded(state['weights']),about
    save_checkpoint(MODEL, state)
    size = MODEL.stat().st_size
    if size>LARGEST: sys.exit(f'{MODEL}: {size:,} bytes, and may have {LARGEST:,}')
    return size

def scores(translator, parts):
    "BLEU and chrF on each of `parts`"
    return {name: corpus_scores(translator.translate([ko for ko,_ in pairs]), [en for _,en in pairs]) for name,pairs in parts.items()}

def main(folder):
    RESULT.unlink(missing_ok=True)                          # nothing old stays if this fails
    os.chdir(folder)
    if not Path('checkpoints/best_model.pt').exists(): train(demo=True, overwrite=True, **KEEP)
    parts = {name: read_split(preset('tiny'), name) for name in ('train', 'validation', *TESTS)}
    about = dict(command='kotrans-train --demo', corpus="embedded, part 'train'", licence='CC0-1.0', pairs=len(parts['train']), preset='tiny', seed=42,
                 kotrans=kotrans.__version__, torch=str(torch.__version__), python=platform.python_version())
    size,log = store(about),read_log('logs')
    best = load_checkpoint(MODEL)
    unseen,translator,known = list(read_tsv(UNSEEN)),Translator.from_checkpoint(MODEL, 'cpu'),{alnum_key(p.ko) for p in everyday()}
    record = about | dict(bytes=size, parameters=sum({v.data_ptr(): v.numel() for v in best['weights'].values()}.values()),
        best_epoch=best['epoch'], epochs=log[-1]['epoch'], minutes=round(sum(row['seconds'] for row in log)/60, 1), threads=torch.get_num_threads(),
        **machine(), valid_loss=best['valid'].get('valid_loss'), scores=scores(translator, {name: parts[name] for name in TESTS}),
        shown=SHOWN, learning=learning(),
        unseen=[dict(ko=ko, en=en, ours=ours, known=alnum_key(ko) in known) for (ko,en),ours in zip(unseen, translator.translate([ko for ko,_ in unseen]))])
    RESULT.write_text(json.dumps(record, indent=1, ensure_ascii=False)+'\n', 'utf-8')
    for name,s in record['scores'].items(): print(f"{name:16} BLEU {s['bleu']:5.1f}  chrF {s['chrf']:5.1f}")
    print(f'wrote {MODEL} ({size:,} bytes) and {RESULT}')

if __name__=='__main__':
    if len(sys.argv)>1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder: main(folder)
