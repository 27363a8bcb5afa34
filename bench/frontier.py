"""Quality per second: several trained models, each by several decoders, as BLEU and as sentences a second of one core.

    python bench/frontier.py data/open/test '3+3=runs/a/best_model.pt' '6+1=runs/b/best_model.pt' --shortlist shortlist.npz --json results/frontier.json

The first argument names PATH.ko, which is translated, and PATH.en, what is compared; then come models, as NAME=CHECKPOINT. Each is decoded greedily and by a beam of --beam, by
kotrans in float32, with a shortlist (--shortlist, of kotrans-learn-shortlist; all models then have its vocabularies), in 8 bits where the processor gains by it, and by CTranslate2 in float32 and 8 bits. Every system
is a process with one thread, and does all that a translator does, from text to text, in batches; all of them are in memory until the end. All sentences are translated once, for the scores; then the systems take turns with every
third of them, --rounds times. `speed` is the median of sentences a second; `times` the median of the ratios to the first model by the same system and search in the same round.
"""
import argparse,json,os,platform,statistics,sys
from importlib.metadata import PackageNotFoundError,version
from pathlib import Path
from turns import Worker,channel,machine,measure,serve

SYSTEMS = {'kotrans': {}, 'kotrans, shortlist': {}, 'kotrans, 8 bits': dict(int8=True), 'CTranslate2': dict(engine='ctranslate2'), 'CTranslate2, 8 bits': dict(engine='ctranslate2', int8=True)}

def work(a):
    "A process: translate all, then wait to be timed"
    import torch
    torch.set_num_threads(1)
    from copy import copy
    from dataclasses import replace
    from kotrans.files import read_lines
    from kotrans.translator import Translator
    say,(system,checkpoint),lines = channel(),a.models,read_lines(f'{a.text}.ko')
    beam = Translator.from_checkpoint(checkpoint, 'cpu', beam_size=a.beam, **SYSTEMS[system], **(dict(shortlist=a.shortlist) if 'shortlist' in system else {}))
    greedy = copy(beam)
    greedy.options = replace(beam.options, method='greedy', beam_size=1)
    ways = {1: greedy, a.beam: beam}
    c = beam.config
    say(found={n: t.translate(lines) for n,t in ways.items()}, config={k: getattr(c, k) for k in ('d_model', 'd_ff', 'num_heads', 'num_encoder_layers', 'num_decoder_layers', 'src_vocab_size', 'tgt_vocab_size')})
    serve(say, go=lambda n: ways[n].translate(lines[::3]) and None)

def ct2_version():
    try: return version('ctranslate2')
    except PackageNotFoundError: return ''

def skipped(a):
    "Systems that can't be measured here, and why"
    from kotrans.packing import worth_int8
    out = {}
    if not a.shortlist: out['kotrans, shortlist'] = 'no --shortlist'
    if not worth_int8(True): out['kotrans, 8 bits'] = 'this processor has no instructions for it'
    if not ct2_version(): out |= {s: 'ctranslate2 is not installed' for s in SYSTEMS if s.startswith('CTranslate2')}
    return out

def started(a, models, systems):
    "All processes; as many translate at a time as there are cores"
    workers,rest = {},[(m, s) for m in models for s in systems]
    while rest:
        some,rest = rest[:a.cores],rest[a.cores:]
        for m,s in some:
            arguments = [a.text, s, models[m], '--work', '--beam', a.beam, *(['--shortlist', a.shortlist] if a.shortlist else [])]
            workers[m, s] = Worker(f'{m}, {s}', 'frontier.py', *arguments, wait=False)
        for k in some: workers[k].about = workers[k].answer()
        print(', '.join(f'{m} by {s}' for m,s in some), 'translated', flush=True)
    return workers

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('text'); p.add_argument('models', nargs='+', metavar='NAME=CHECKPOINT'); p.add_argument('--shortlist', default='')
    p.add_argument('--beam', type=int, default=4); p.add_argument('--rounds', type=int, default=3); p.add_argument('--json'); p.add_argument('--work', action='store_true', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.work: return work(a)
    import kotrans,torch
    from kotrans.evaluation import compare_systems
    from kotrans.files import read_lines,write_json
    a.cores,models = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1,dict(m.rpartition('=')[::2] for m in a.models)
    needed = [f'{a.text}.ko', f'{a.text}.en', *models.values(), *([a.shortlist] if a.shortlist else [])]
    if a.beam<2 or a.rounds<1: p.error('--beam from 2, --rounds from 1')
    if '' in models or len(models)<len(a.models): p.error('NAME=CHECKPOINT, each name once')
    if lacking := [f for f in needed if not Path(f).is_file()]: p.error(f'no file {lacking[0]}')
    lost,references = skipped(a),read_lines(f'{a.text}.en')
    if (n := len(read_lines(f'{a.text}.ko')))!=len(references): p.error(f'{a.text}.ko has {n:,} lines, {a.text}.en {len(references):,}')
    systems,first = [s for s in SYSTEMS if s not in lost],next(iter(models))
    workers = started(a, models, systems)
    rounds = {n: measure(workers, a.rounds, f'go {n}') for n in (1, a.beam)}
    for w in workers.values(): w.end()
    timed,rows = len(references[::3]),[]
    for n in (1, a.beam):
        outputs = {k: w.about['found'][str(n)] for k,w in workers.items()}
        for s in systems:
            scores = compare_systems({m: outputs[m, s] for m in models}, references, 'bleu,chrf', 'bootstrap')
            for m in models:
                seconds = [r[m, s]['seconds'] for r in rounds[n]]
                ratios = [r[first, s]['seconds']/r[m, s]['seconds'] for r in rounds[n]]
                rows.append(dict(model=m, system=s, beam=n, scores=scores[m], speed=timed/statistics.median(seconds), times=statistics.median(ratios), seconds=seconds,
                                 others=[r[m, s]['others'] for r in rounds[n]], peak_mib=max(r[m, s]['peak_mib'] for r in rounds[n])))
    for r in rows: print(f"{r['model']:28} {r['system']:20} beam {r['beam']} {r['scores']['BLEU']['score']:5.1f} BLEU {r['speed']:6.1f} sentences/s {r['times']:.2f}×")
    record = dict(**machine(), kotrans=kotrans.__version__, torch=torch.__version__, ctranslate2=ct2_version(), python=platform.python_version(), sentences=len(references), timed=timed, rounds=a.rounds, beam=a.beam, skipped=lost,
                  models={m: workers[m, systems[0]].about['config'] for m in models}, rows=rows)
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
