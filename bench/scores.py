"""Scores of several translations of one text, by sacrebleu, and whether the others differ from the first by more than chance"""
import os
import sacrebleu
from sacrebleu.significance import PairedTest

def paired_scores(outputs, references, samples=1000):
    "BLEU and chrF of each of `outputs` (name: lines): score, mean and half of its 95% interval over resampled test sets, p of its difference from the first; and the signatures"
    metrics = dict(BLEU=sacrebleu.BLEU(references=[references]), chrF=sacrebleu.CHRF(references=[references]))
    os.environ.setdefault('SACREBLEU_SEED', '12345')
    signatures,found = PairedTest([*outputs.items()], metrics, references=None, test_type='bs', n_samples=samples)()
    row = lambda r: dict(score=round(float(r.score), 2), mean=round(float(r.mean), 2), ci=round(float(r.ci), 2), **(dict(p=round(float(r.p_value), 4)) if r.p_value is not None else {}))
    rows = (found[k] for k in found if k!='System')                  # sacrebleu calls them BLEU and chrF2
    return {m: {n: row(r) for n,r in zip(outputs, rs)} for m,rs in zip(metrics, rows)}, {m: str(s) for m,s in signatures.items()}
