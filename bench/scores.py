"""Scores of several translations of one text, by sacrebleu, and whether the others differ from the first by more than chance; and the texts and models that they are of"""
import os
from pathlib import Path
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

SHAPE = ('d_model', 'd_ff', 'num_heads', 'num_encoder_layers', 'num_decoder_layers', 'src_vocab_size', 'tgt_vocab_size', 'dropout', 'optimizer')

def shape_of(checkpoint):
    "The shape of the model in a checkpoint, and its step, for a record"
    from kotrans.checkpoint import load_checkpoint
    c = load_checkpoint(checkpoint)
    return {k: c['config'][k] for k in SHAPE} | dict(step=c['step'])

def read_texts(p, texts, checkpoint):
    "The Korean and English lines of each of `texts` (name: PATH, without .ko and .en); `p.error` if a file is missing, that of `checkpoint` too, or the sides differ in length"
    from kotrans.files import read_lines
    if lacking := [f for f in (checkpoint, *(f'{t}.{lang}' for t in texts.values() for lang in ('ko', 'en'))) if not Path(f).is_file()]: p.error(f'no file {lacking[0]}')
    pairs = {name: [read_lines(f'{t}.{lang}') for lang in ('ko', 'en')] for name,t in texts.items()}
    for name,(ko,en) in pairs.items():
        if len(ko)!=len(en): p.error(f'{texts[name]}.ko has {len(ko):,} lines, {texts[name]}.en {len(en):,}')
    return pairs
