"""What more training is worth: checkpoints of one run translate the same test sets, and are compared with the first of them.

    kotrans-train --preset small --max-minutes 60 && cp checkpoints/best_model.pt at60.pt
    kotrans-train --resume auto --max-minutes 180
    python bench/longer.py --checkpoint hour at60.pt --checkpoint three checkpoints/best_model.pt --log logs/training.csv \\
        --set test data/test.ko data/test.en --set news news.ko news.en --json results/longer.json

A checkpoint and a test set have a name each. BLEU and chrF are sacrebleu's, with intervals and p by its paired bootstrap (1,000 samples).
The rows of the log go into the record too, so that the curve can be drawn.
"""
import argparse,platform,sys,time
import torch
import kotrans
from kotrans.analysis import read_log
from kotrans.checkpoint import load_checkpoint
from kotrans.files import InputError,read_lines,write_json
from kotrans.translator import Translator
from scores import paired_scores
from turns import machine

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--checkpoint', nargs=2, action='append', required=True, metavar=('NAME', 'PATH')); p.add_argument('--set', nargs=3, action='append', required=True, metavar=('NAME', 'SENTENCES', 'REFERENCES'))
    p.add_argument('--log', required=True, help='training.csv of the run'); p.add_argument('--beam', type=int, default=5); p.add_argument('--length-penalty', type=float, default=1.); p.add_argument('--json')
    a = p.parse_args()
    paths = dict(a.checkpoint)
    if len(paths)<2: p.error('--checkpoint: give at least two, with different names')
    try:
        states = {n: load_checkpoint(path) for n,path in paths.items()}
        config = {k: v for k,v in next(iter(states.values()))['config'].items() if not k.endswith('_dir')}
        record = dict(**machine(), threads=torch.get_num_threads(), kotrans=kotrans.__version__, torch=torch.__version__, python=platform.python_version(), beam=a.beam, length_penalty=a.length_penalty,
                      config=config, log=read_log(a.log), checkpoints={n: dict(s['valid']) for n,s in states.items()}, sets={})
        for name,sentences,references in a.set:
            src,ref = read_lines(sentences),read_lines(references)
            if len(src)!=len(ref): raise InputError(f'{references}: {len(ref):,} lines for {len(src):,} sentences')
            start = time.perf_counter()
            outputs = {n: Translator.from_checkpoint(path, 'cpu', beam_size=a.beam, length_penalty=a.length_penalty).translate(src) for n,path in paths.items()}
            seconds = time.perf_counter()-start
            scores,signatures = paired_scores(outputs, ref)
            record['sets'][name] = dict(sentences=len(src), seconds=round(seconds, 1), scores=scores, signatures=signatures)
            for m,s in scores.items(): print(f'{name:10} {m:5}', '   '.join(f"{n} {r['score']:.2f} ± {r['ci']:.2f}" + (f" (p = {r['p']:.4f})" if 'p' in r else '') for n,r in s.items()), flush=True)
    except InputError as e: sys.exit(f'longer: error: {e}')
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
