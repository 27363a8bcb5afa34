"""What several trained models can and can't do, in one file: the challenge set by phenomenon, and how well their confidence agrees with being right.

    python bench/judge.py Transformer=a/best_model.pt Bahdanau=b/best_model.pt --data data/processed --test test_everyday --json results/judged.json

A model is NAME=CHECKPOINT, or NAME=CHECKPOINT,CHECKPOINT… for the same training with several seeds: their answers are counted together, and each seed's error of calibration is kept.
Each translates the challenge set (greedy search), is asked which of its two given translations is likelier, and reads along the references of the test sets, token by token, for
calibration (`--test`, names of pairs of files in `--data`; `--pairs` takes the first so many of each).
"""
import argparse,platform
from pathlib import Path
import numpy as np,sacrebleu,torch
import kotrans
from kotrans.checkpoint import load_checkpoint
from kotrans.error_analysis import calibration_rows,challenge_scores,challenge_set,contrastive_scores,expected_calibration_error,token_confidences
from kotrans.files import read_lines,write_json
from kotrans.translator import Translator
from kotrans.pipeline import corpus_scores
from turns import machine

def summed(tables):
    "Rows of several seeds as one: counts added, the share of all"
    return [dict(phenomenon=rows[0]['phenomenon'], items=sum(r['items'] for r in rows), right=sum(r['right'] for r in rows),
                 percent=100*sum(r['right'] for r in rows)/sum(r['items'] for r in rows)) for rows in zip(*tables)]

def judge(files, tests):
    "What the seeds of one model do"
    items,about,challenge,contrast,read,scores = challenge_set(),[],[],[],{t: [] for t in tests},[]
    for f in files:
        state,t = load_checkpoint(f),Translator.from_checkpoint(f, 'cpu', method='greedy')
        about.append(dict(model=state['model'], parameters=sum(p.numel() for p in t.model.parameters()), steps=state['step'], seed=state['config']['seed'],
                          **{k: state['config'][k] for k in ('label_smoothing', 'dropout', 'optimizer', 'lr_factor', 'lr_decay', 'warmup_steps')}))
        challenge.append(challenge_scores(t.translate([i.ko for i in items])))
        contrast.append(contrastive_scores(t))
        for name,(ko,en) in tests.items(): read[name].append(token_confidences(t, ko, en))
        scores.append({name: corpus_scores(t.translate(ko), en) for name,(ko,en) in tests.items()})
    calibration = {}
    for name,seeds in read.items():
        p,ok = map(np.concatenate, zip(*seeds))
        rows = calibration_rows(p, ok)
        calibration[name] = dict(rows=rows, confidence=100*float(p.mean()), right=100*float(ok.mean()), error=expected_calibration_error(rows),
                                 errors=[expected_calibration_error(calibration_rows(*s)) for s in seeds])
    return dict(about=about, challenge=summed(challenge) if files[1:] else challenge[0], contrast=summed(contrast) if files[1:] else contrast[0], calibration=calibration, scores=scores)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('models', nargs='+', metavar='NAME=CHECKPOINT[,CHECKPOINT…]'); p.add_argument('--data', type=Path, default=Path('data/processed'))
    p.add_argument('--test', nargs='+', default=['test', 'test_everyday']); p.add_argument('--pairs', type=int, default=500); p.add_argument('--json')
    a = p.parse_args()
    tests = {t: tuple(read_lines(a.data/f'{t}.{lang}')[:a.pairs] for lang in ('ko', 'en')) for t in a.test}
    record = dict(**machine(), python=platform.python_version(), torch=str(torch.__version__), sacrebleu=sacrebleu.__version__, kotrans=kotrans.__version__,
                  tests={t: len(ko) for t,(ko,_) in tests.items()}, models={})
    for given in a.models:
        name,_,files = given.partition('=')
        record['models'][name] = m = judge(files.split(','), tests)
        share = lambda rows: 100*sum(r['right'] for r in rows)/sum(r['items'] for r in rows)
        print(f"{name:30} challenge {share(m['challenge']):5.1f}%, of two {share(m['contrast']):5.1f}%, off by "+', '.join(f"{c['error']:.1f} points ({t})" for t,c in m['calibration'].items()), flush=True)
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
