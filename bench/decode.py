"""Decoding speed on this machine: the same random weights in kotrans, Hugging Face, JoeyNMT and CTranslate2.

    python bench/decode.py --peers-python ../venv-peers/bin/python --joey-python ../venv-joey/bin/python --json results/decode.json
    python bench/decode.py --sentences 64 --rounds 1 --only kotrans 'kotrans int8'                            a minute, printed

Every system translates the same --sentences random sentences (lengths like real text) into exactly --length tokens, by greedy search and by
a beam of four, sorted by length, in batches of --batch; with one worker that has all threads, and with one worker on each core: threads where
a system can, otherwise processes (kotrans both ways). JoeyNMT, which has no cache, and the plain search of `kotrans.decoding`,
which is for reading, take every fourth batch. Then 200 of them one at a time, in an order that length does not rule: the latency (not of these two).
Each system and layout is a process of its own, so that its peak memory is its own (with several processes the sum, pages that they share
counted in each). One works at a time, and they take turns within each round.

Reported are medians over the rounds, and how many translations are those of kotrans in float32 to the last token: the systems round
differently, and random weights leave much undecided. Ratios are medians of the ratios within a round, each family at its own best layout.
`ctranslate2` is looked for beside kotrans, which converts the weights for it, `transformers` under --peers-python, `joeynmt` under --joey-python; who is not installed is named.
"""
import argparse,os,statistics,sys,tempfile
import torch
from decode_systems import SIZES,SYSTEMS,kotrans_model
from turns import Worker,measure,machine

PYTHON = {'Hugging Face': 'peers_python', 'JoeyNMT': 'joey_python'}      # whose interpreter another argument names
SLOW = {'JoeyNMT': 4, 'kotrans, plain beam': 4}   # one batch in so many; not asked for single sentences
GOALS = [('kotrans', 'Hugging Face'), ('kotrans', 'CTranslate2'), ('kotrans int8', 'CTranslate2 int8'), ('kotrans', 'JoeyNMT')]

def make_weights(size):
    "A model that knows nothing, its outputs less evenly distributed than at the start of training"
    torch.manual_seed(3)
    m = kotrans_model(size)
    m.output_proj.weight.data.mul_(3.)
    return m.state_dict()

def make_sources(n, vocab):
    "Random sentences, in no order"
    g = torch.Generator().manual_seed(7)
    lengths = (torch.randn(n, generator=g)*.6+2.8).exp().round().clamp(1, 99).int().tolist()
    return [torch.randint(4, vocab, (k,), generator=g).tolist() for k in lengths]

def layouts(system, cores):
    "Names of ways to share the cores, with the arguments that they are"
    out = {f'1×{cores}': ['--threads', cores]}
    if cores>1 and system!='kotrans, plain beam':
        if system.startswith(('kotrans', 'CTranslate2')): out[f'{cores}×1 threads'] = ['--workers', cores]
        if not system.startswith('CTranslate2'): out[f'{cores}×1 processes'] = ['--workers', cores, '--processes']
    return out

def start(a, path, beam, alone):
    "All workers, and what is missing"
    workers,missing = {},{}
    for system in a.only or SYSTEMS:
        if alone and system in SLOW: continue
        for layout,arguments in (layouts(system, a.cores) if not alone else {f'1×{n}': ['--threads', n] for n in sorted({1, a.cores})}).items():
            if system in missing: continue
            w = Worker(f'{system}, {layout}', 'decode_systems.py', system, path, '--size', a.size, '--beam', beam, '--batch', a.batch, '--length', a.length, '--alone', 200*alone, '--every', SLOW.get(system, 1), *arguments,
                       python=getattr(a, PYTHON.get(system, ''), sys.executable), threads=arguments[1] if arguments[0]=='--threads' else 1)
            if 'missing' in w.about: missing[system] = w.about['missing']; w.end()
            else: workers[system, layout] = w
    return workers,missing

def best(seconds):
    "Of each system the layout with the smallest median"
    out = {}
    for system,layout in seconds:
        if system not in out or statistics.median(seconds[system, layout])<statistics.median(seconds[system, out[system]]): out[system] = layout
    return out

def throughput(a, path, beam):
    "One table: sentences a second by system and layout"
    workers,missing = start(a, path, beam, False)
    if not workers: return dict(beam=beam, rows=[], ratios={}),missing
    first = {k: w.about.pop('first') for k,w in workers.items()}
    wrong = [k for k,out in first.items() if any(len(y)!=a.length for y in out)]
    if wrong: sys.exit(f'not {a.length} tokens long: translations by {wrong}')
    rounds = measure(workers, a.rounds)
    for w in workers.values(): w.end()
    done = {s: [i for k in range(0, a.sentences, a.batch*SLOW.get(s, 1)) for i in range(k, min(k+a.batch, a.sentences))] for s,_ in workers}       # numbers of sentences
    seconds = {(s, l): [r[s, l]['seconds']/len(done[s]) for r in rounds] for s,l in workers}
    (reference,_),own = next(iter(first.items()))
    chosen,own = best(seconds),dict(zip(done[reference], own))
    def same(s, l): return round(sum(x==own.get(i) for x,i in zip(first[s, l], done[s], strict=True))/len(done[s]), 4)
    rows = [dict(system=s, layout=l, sentences_per_second=round(1/statistics.median(seconds[s, l]), 1), best=chosen[s]==l, peak_mib=max(r[s, l]['peak_mib'] for r in rounds), same=same(s, l),
                 sentences=len(done[s]), seconds=[round(r[s, l]['seconds'], 3) for r in rounds], others=[round(r[s, l]['others'], 2) for r in rounds], **w.about) for (s,l),w in workers.items()]
    ratios = {f'{x} / {y}': round(statistics.median(p/k for p,k in zip(seconds[y, chosen[y]], seconds[x, chosen[x]])), 3) for x,y in GOALS if x in chosen and y in chosen}
    return dict(beam=beam, rows=rows, ratios=ratios),missing

def latency(a, path, beam):
    "One table: milliseconds for a sentence by itself"
    workers,_ = start(a, path, beam, True)
    rounds = measure(workers, a.rounds, 'each')
    for w in workers.values(): w.end()
    medians = {k: [statistics.median(r[k]['result']) for r in rounds] for k in workers}
    chosen = best(medians)
    def row(s, l):
        per_round = [statistics.quantiles(r[s, l]['result'], n=100)[98] for r in rounds]
        return dict(system=s, layout=l, median_ms=round(1000*statistics.median(medians[s, l]), 2), p99_ms=round(1000*statistics.median(per_round), 2), best=chosen[s]==l, peak_mib=max(r[s, l]['peak_mib'] for r in rounds))
    ratios = {f'{x} / {y}': round(statistics.median(p/k for p,k in zip(medians[y, chosen[y]], medians[x, chosen[x]])), 3) for x,y in GOALS if x in chosen and y in chosen}
    return dict(beam=beam, rows=[row(*k) for k in workers], ratios=ratios)

def show(r):
    s = r['setting']
    print(f"{s['size']}, {s['sentences']} sentences into {s['length']} tokens, batches of {s['batch']}, {s['rounds']} rounds on {s['cores']} cores")
    for t in r['throughput']:
        for x in t['rows']: print(f"beam {t['beam']}  {x['system']:20} {x['layout']:14} {x['sentences_per_second']:8.1f} sentences/s {'*' if x['best'] else ' '} {x['peak_mib']:>6,} MiB   {x['same']:.1%} the same   {x['version']}")
        print('   '.join(f'{k} {v:.2f}' for k,v in t['ratios'].items()))
    for t in r['latency']:
        for x in t['rows']: print(f"beam {t['beam']}  {x['system']:20} {x['layout']:14} {x['median_ms']:8.2f} ms, 99% below {x['p99_ms']:.2f} {'*' if x['best'] else ' '}")
        print('   '.join(f'{k} {v:.2f}' for k,v in t['ratios'].items()))
    for name,why in r['missing'].items(): print(f'{name:20} left out: {why} is not installed')

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--size', choices=SIZES, default='small'); p.add_argument('--sentences', type=int, default=1000); p.add_argument('--length', type=int, default=20); p.add_argument('--batch', type=int, default=64)
    p.add_argument('--rounds', type=int, default=3); p.add_argument('--beams', type=int, nargs='+', default=[1, 4]); p.add_argument('--cores', type=int, default=min(2, os.cpu_count())); p.add_argument('--only', nargs='+', choices=SYSTEMS)
    p.add_argument('--no-latency', action='store_true'); p.add_argument('--json')
    p.add_argument('--peers-python', default=sys.executable, help='interpreter that has transformers'); p.add_argument('--joey-python', default=sys.executable, help='interpreter that has joeynmt')
    a = p.parse_args()
    shuffled = make_sources(a.sentences, SIZES[a.size]['vocab'])
    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/weights.pt'
        torch.save(dict(weights=make_weights(a.size), sources=sorted(shuffled, key=len, reverse=True), shuffled=shuffled), path)
        record = dict(setting=dict(size=a.size, sentences=a.sentences, length=a.length, batch=a.batch, rounds=a.rounds, cores=a.cores, **machine(),
                                   load=round(os.getloadavg()[0], 2)), throughput=[], latency=[], missing={})
        for beam in a.beams:
            table,missing = throughput(a, path, beam)
            record['throughput'].append(table); record['missing'] |= missing
            if not a.no_latency: record['latency'].append(latency(a, path, beam))
            show(record)
    if a.json:
        from kotrans.files import write_json
        write_json(a.json, record)

if __name__=='__main__': main()
