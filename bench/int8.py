"""What multiplying in 8 bits costs in quality: test sets translated in float32 and in int8 by the same checkpoint, scored and compared.

    python bench/int8.py --set phrasebook checkpoints/best_model.pt data/test.ko data/test.en --set ... --json results/int8.json

For each test set (a name, a checkpoint, the sentences and their references) and for greedy search and a beam of --beam: BLEU and chrF of both with
95% confidence intervals, the difference with its own (from the same resampled test sets, 1,000 of them, by sacrebleu's paired bootstrap seeds),
whether sacrebleu's paired test calls it significant, and how many translations are the same to the letter.
"""
import argparse,platform,sys
import numpy as np
import sacrebleu,torch
import kotrans
from kotrans.files import InputError,read_lines,write_json
from kotrans.translator import Translator
from scores import paired_scores
from turns import machine

def compare(plain, int8, references, samples):
    "Scores of both outputs, with intervals"
    out = {}
    metrics = dict(BLEU=sacrebleu.BLEU(references=[references]), chrF=sacrebleu.CHRF(references=[references]))
    scores,signatures = paired_scores(dict(float32=plain, int8=int8), references, samples)
    draws = np.random.default_rng(12345).integers(len(references), size=(samples, len(references)))
    for (name,metric),signature in zip(metrics.items(), signatures.values()):
        rows = {who: dict(score=r['score'], ci=r['ci']) for who,r in scores[name].items()}
        # differences on resampled test sets, from the statistics of each sentence, as sacrebleu adds them up
        one,two = (np.array(metric._extract_corpus_statistics(x, None)) for x in (plain, int8))
        gaps = sorted(metric._compute_score_from_stats(list(two[d].sum(0))).score-metric._compute_score_from_stats(list(one[d].sum(0))).score for d in draws)
        out[name] = rows | dict(difference=round(rows['int8']['score']-rows['float32']['score'], 2), low=round(gaps[int(.025*samples)], 2), high=round(gaps[int(.975*samples)-1], 2), p=scores[name]['int8']['p'], signature=signature)
    return out

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--set', nargs=4, action='append', required=True, metavar=('NAME', 'CHECKPOINT', 'SENTENCES', 'REFERENCES')); p.add_argument('--beam', type=int, default=4)
    p.add_argument('--samples', type=int, default=1000); p.add_argument('--json')
    a = p.parse_args()
    record = dict(**machine(), kotrans=kotrans.__version__, torch=torch.__version__, python=platform.python_version(), beam=a.beam, samples=a.samples, sets=[])
    try:
        for name,checkpoint,sentences,references in a.set:
            src,ref = read_lines(sentences),read_lines(references)
            if len(src)!=len(ref): raise InputError(f'{references}: {len(ref):,} lines for {len(src):,} sentences')
            for method in ('greedy', 'beam'):
                plain,int8 = (Translator.from_checkpoint(checkpoint, 'cpu', method=method, beam_size=a.beam, int8=fast).translate(src) for fast in (False, True))
                row = dict(name=name, sentences=len(src), method=method, same=round(sum(x==y for x,y in zip(plain, int8))/len(src), 4), scores=compare(plain, int8, ref, a.samples))
                record['sets'].append(row)
                print(f"{name}, {len(src):,} sentences, {method}, {row['same']:.1%} the same:", ', '.join(f"{m} {s['float32']['score']} ± {s['float32']['ci']} and {s['int8']['score']} ± {s['int8']['ci']}, {s['difference']:+} [{s['low']:+}, {s['high']:+}]" for m,s in row['scores'].items()), flush=True)
    except InputError as e: sys.exit(f'int8: error: {e}')
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
