"""When a beam may stop: what patience does to a trained model's translations, and to the time that they take.

    python bench/patience.py runs/hour/best_model.pt validation=data/open/validation --json results/patience.json

PATH.ko of each NAME=PATH is translated with each --patience (0, none, is always the first), --beam and --length-penalty, in float32, and what comes out is compared with PATH.en. Then all ways take turns with
every fifth sentence, --rounds times, by kotrans and by CTranslate2 where that is installed, with one thread on each core. `times` is the median of how much faster than without patience by the same engine in the same
round, `same` what part of the translations is the same as without, `length` their words divided by those of the references. Scores are compared with those without patience by approximate randomisation.
"""
import argparse,os,platform,statistics,time
from importlib.util import find_spec
from scores import read_texts,shape_of

def scored(translators, ko, en):
    "Rows of one text by patience: what becomes of the translations"
    from kotrans.evaluation import compare_systems
    found = {p: t.translate(ko) for p,t in translators.items()}
    scores = compare_systems({f'patience {p:g}': x for p,x in found.items()}, en, 'bleu,chrf')
    words = sum(len(l.split()) for l in en)
    return {p: dict(scores=s, length=sum(len(l.split()) for l in x)/words, same=sum(u==v for u,v in zip(x, found[0.]))/len(x)) for (p,x),s in zip(found.items(), scores.values())}

def timed(ways, ko, rounds):
    "Rows of one text by engine and patience: how long it takes, in turns"
    for t in ways.values(): t.translate(ko[:50])                      # what the first call has to set up
    seconds = {w: [] for w in ways}
    for _ in range(rounds):
        for w,t in ways.items():
            start = time.perf_counter()
            t.translate(ko)
            seconds[w].append(time.perf_counter()-start)
    return {(e, p): dict(seconds=s, speed=len(ko)/statistics.median(s), times=statistics.median(a/b for a,b in zip(seconds[e, 0.], s))) for (e,p),s in seconds.items()}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('checkpoint'); p.add_argument('texts', nargs='+', metavar='NAME=PATH')
    p.add_argument('--patience', type=float, nargs='+', default=[.5, 1., 2.]); p.add_argument('--beam', type=int, default=4); p.add_argument('--length-penalty', type=float, default=1.)
    p.add_argument('--rounds', type=int, default=3); p.add_argument('--json')
    a = p.parse_args()
    import kotrans,torch
    from kotrans.files import write_json
    from kotrans.pipeline import machine_info
    from kotrans.translator import Translator
    texts = dict(t.partition('=')[::2] for t in a.texts)
    if len(texts)<len(a.texts) or '' in texts.values(): p.error('NAME=PATH, each name once')
    if a.beam<2 or a.rounds<1 or min([a.length_penalty, *a.patience])<0: p.error('--beam from 2, --rounds from 1, --length-penalty and --patience from 0')
    pairs = read_texts(p, texts, a.checkpoint)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    torch.set_num_threads(cores)                                      # one for each of as many workers
    engines = dict(kotrans='torch') | (dict(CTranslate2='ctranslate2') if find_spec('ctranslate2') else {})
    patience = dict.fromkeys([0., *a.patience])
    ways = {(name, x): Translator.from_checkpoint(a.checkpoint, 'cpu', engine=e, beam_size=a.beam, length_penalty=a.length_penalty, beam_patience=x) for name,e in engines.items() for x in patience}
    rows = {}
    for name,(ko,en) in pairs.items():
        found,speeds = scored({x: ways['kotrans', x] for x in patience}, ko, en),timed(ways, ko[::5], a.rounds)
        rows[name] = [dict(engine=e, patience=x, **s, **(found[x] if e=='kotrans' else {})) for (e,x),s in speeds.items()]
        for r in rows[name]:
            said = f"{r['scores']['BLEU']['score']:5.2f} BLEU {r['scores']['chrF2']['score']:5.2f} chrF, {r['same']:6.1%} the same, " if 'same' in r else ''
            print(f"{name} {r['engine']:12} patience {r['patience']:3g} {said}{r['speed']:5.1f} sentences/s, {r['times']:.2f} times as fast", flush=True)
    record = dict(**machine_info(), kotrans=kotrans.__version__, torch=torch.__version__, python=platform.python_version(), beam=a.beam, length_penalty=a.length_penalty, rounds=a.rounds, workers=cores,
                  model=shape_of(a.checkpoint), sentences={n: len(ko) for n,(ko,_) in pairs.items()}, texts=rows)
    if 'CTranslate2' in engines:
        import ctranslate2
        record['ctranslate2'] = ctranslate2.__version__
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
