"""Training speed on this machine: kotrans beside other ways to train the same Transformer, on the same batches.

    python bench/train.py small --peers-python ../venv-peers/bin/python --joey-python ../venv-joey/bin/python --json results/train_small.json
    python bench/train.py base  --peers-python ../venv-peers/bin/python --joey-python ../venv-joey/bin/python --json results/train_base.json
    python bench/train.py small --ladder --json results/train_ladder.json       what each of kotrans' tricks buys
    python bench/train.py small --ladder variants --json results/train_variants.json    what was tried and left out

A synthetic corpus (lengths like real text, word frequencies that fall like 1/rank) is cut by kotrans' loader, sorted by length and with little padding on
either side, into batches of at most 2,048 ids a side; `--batches` of them, spread evenly over the lengths, are what every system trains on in every round:
forward, backward, clipping and Adam, in float32. Each system is a process of its own (bench/train_systems.py), so that its peak memory is its own; one works at a time, and
they take turns within each round together with a matrix product, so that whatever else the machine does meets all of them.
A system that is not installed is left out and named: `transformers` is looked for under --peers-python, `joeynmt` under --joey-python.

Reported are medians over the rounds. Tokens are target tokens without padding. The arithmetic is what real tokens need: two operations for each
multiplication with a weight, attention of each position to the real positions it may see (so causal attention counts by half), times three for
forward and backward; nothing for padding, embeddings, norms, softmax and Adam. Its share is that of the best matrix
product of the same round, by `torch.mm` or oneDNN, whichever is faster (the share of `torch.mm` stands beside it): the median of the rounds' shares.
kotrans against the fastest peer is likewise the median of the ratios within a round. Work that was interrupted, or cut into pieces, is continued with
--more, which adds the rounds to those in the file, if that has the same systems and setting.
"""
import argparse,json,os,statistics,sys,tempfile
from pathlib import Path
import numpy as np
from train_systems import BOS,EOS,PAD,SIZES,SYSTEMS
from turns import Worker,measure,machine

PYTHON = {'Marian': 'peers_python', 'Marian, fused': 'peers_python', 'JoeyNMT': 'joey_python'}       # whose interpreter another argument names

def corpus(vocab, rows=20_000, seed=1):
    "Pairs of source and target ids, of about twenty words a side"
    r = np.random.default_rng(seed)
    tgt = np.exp(r.normal(2.84, .62, rows)).round().clip(1, 99).astype(int)
    src = (tgt*np.exp(r.normal(-.05, .22, rows))).round().clip(1, 99).astype(int)
    share = np.cumsum(1/np.arange(1, vocab-3)); share /= share[-1]
    words = lambda n: np.searchsorted(share, r.random(n)).clip(0, vocab-5)+4
    return [(words(s), words(t)) for s,t in zip(src, tgt)]

def make_batches(pairs, n, budget=2048):
    "`n` batches, spread evenly over all that kotrans' loader plans for `pairs` when it sorts them by length, of at most `budget` padded ids on either side"
    from kotrans import batching
    cuts = batching.make_batches(np.array([[len(s)+1, len(t)+2] for s,t in pairs]), batch_tokens=budget, shuffle=False)
    return [[pairs[row] for row in cuts[int((i+.5)*len(cuts)/n)]] for i in range(n)]

def rectangle(rows):
    "Rows of ids, padded on the right"
    out = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
    for line,row in zip(out, rows): line[:len(row)] = row
    return out

def useful_flops(batch, c):
    "Operations that forward and backward need for the real tokens of `batch`"
    s,t = (np.array([len(p[side])+1. for p in batch]) for side in (0, 1))
    d,ff,n = c['d'],c['ff'],c['layers']
    encoder = s*(2*(4*d*d+2*d*ff) + 4*d*s)
    decoder = t*(2*(6*d*d+2*d*ff) + 2*d*(t+1) + 4*d*s) + s*4*d*d
    return 3*float((n*(encoder+decoder) + t*2*d*c['vocab']).sum())

def rungs(a):
    "The names of the ladder's rungs, and what is switched off on each"
    from train_tricks import TRICKS,VARIANTS
    names = [*TRICKS]
    if a.ladder=='variants': return {'kotrans': '', **{f'with {n}': n for n in VARIANTS}}
    if a.ladder=='each': return {'all': '', **{f'without {n}': n for n in names}}
    return {'plain': ','.join(names), **{f'+ {n}': ','.join(names[i+1:]) for i,n in enumerate(names)}}

def summarize(rounds, tokens, flops):
    "Medians, and medians of the shares of the matrix product and of the ratios within a round"
    peaks = {way: [r['gemm']['result'][way] for r in rounds] for way in rounds[0]['gemm']['result']}
    by = max(peaks, key=lambda way: statistics.median(peaks[way]))
    share = lambda n,way: round(statistics.median(flops/s/p for s,p in zip(seconds[n], peaks[way])), 3)
    names = [n for n in rounds[0] if n!='gemm']
    seconds = {n: [r[n]['seconds'] for r in rounds] for n in names}
    median = {n: statistics.median(s) for n,s in seconds.items()}
    rows = {n: dict(tokens_per_second=round(tokens/median[n]), gflops=round(flops/median[n]/1e9, 1), share_of_gemm=share(n, by), share_of_torch_mm=share(n, 'torch.mm'),
                    peak_mib=max(r[n]['peak_mib'] for r in rounds), seconds=[round(s, 3) for s in seconds[n]], others=[round(r[n]['others'], 2) for r in rounds]) for n in names}
    out = dict(gemm_gflops=round(statistics.median(peaks[by])/1e9, 1), gemm_by=by, gemm_rounds={way: [round(x/1e9, 1) for x in xs] for way,xs in peaks.items()}, systems=rows)
    ours,peers = ([n for n in names if n.startswith('kotrans')==own] for own in (True, False))
    if ours and peers:
        own = seconds[min(ours, key=median.get)]                # kotrans in the fastest of its ways
        out['ratios'] = {n: round(statistics.median(p/k for p,k in zip(seconds[n], own)), 3) for n in peers}
        out['fastest_peer'] = min(peers, key=median.get)
        out['ratio'] = round(statistics.median(min(seconds[n][i] for n in peers)/own[i] for i in range(len(rounds))), 3)
    return out

def refuse(path, differs):
    "End the command if rounds can't be added to those in `path`"
    if differs: sys.exit(f"{path}: --more: differs from this run in {', '.join(differs)}; measure into a new file")

def another(old, setting, names):
    "What in an earlier record is not as it would be now, as far as that can be told before anything is started"
    asked = old['about'].keys()-{'gemm'} | old['missing'].keys()
    return [k for k in old['setting'] | setting if old['setting'].get(k)!=setting.get(k)] + sorted(asked^set(names))

def other_systems(old, about, missing):
    "Systems that are not what they were: another version, other weights, or here and not there"
    def known(record, n): return {k: v for k,v in record.get(n, {}).items() if k!='imported_mib'}
    return [n for n in about | missing if n!='gemm' and (known(about, n)!=known(old['about'], n) or missing.get(n)!=old['missing'].get(n))]

def show(r):
    s = r['setting']
    print(f"{s['size']}: {s['batches']} batches, {s['target_tokens']:,} target tokens ({s['target_fill']:.0%} of the rectangles; source {s['source_fill']:.0%}), {s['threads']} threads, "
          f"{len(r['rounds'])} rounds; matrix product {r['gemm_gflops']:.0f} GFLOP/s by {r['gemm_by']}; {'tied' if s['tied'] else 'untied'} output")
    for name,x in r['systems'].items():
        about = r['about'][name]
        print(f"{name:22} {x['tokens_per_second']:>7,} tokens/s {x['gflops']:>6} GFLOP/s  {x['share_of_gemm']:.3f} of the matrix product ({x['share_of_torch_mm']:.3f} of torch.mm) {x['peak_mib']:>6,} MiB   {about['version']}, {about['parameters']/1e6:.2f} M parameters")
    for name,why in r['missing'].items(): print(f'{name:22} left out: {why} is not installed')
    if 'ratio' in r:
        print(f"kotrans is {r['ratio']:.2f} times as fast as the fastest peer of a round ({r['fastest_peer']} in the median); {', '.join(f'{n} {x:.2f}' for n,x in r['ratios'].items())}")
        for name in r['systems']: print(f"dropout, {name}: {r['about'][name]['dropout']}; {r['about'][name]['optimizer']}")

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('size', nargs='?', default='small', choices=SIZES)
    p.add_argument('--rounds', type=int, default=5); p.add_argument('--batches', type=int, default=4); p.add_argument('--warm', type=int, default=0, help='batches before the first round, the largest first; 0 takes all')
    p.add_argument('--threads', type=int, default=os.cpu_count()); p.add_argument('--seed', type=int, default=0)
    p.add_argument('--tied', action='store_true', help='the output layer of every system is its target embedding')
    p.add_argument('--only', nargs='+', default=[], choices=[n for n in SYSTEMS if n!='gemm'])
    p.add_argument('--peers-python', default=sys.executable, help='interpreter that has transformers'); p.add_argument('--joey-python', default=sys.executable, help='interpreter that has joeynmt')
    p.add_argument('--ladder', nargs='?', const='up', choices=['up', 'each', 'variants'], help="kotrans alone: its tricks switched on one after the other, each switched off in turn, or what it does not do")
    p.add_argument('--more', action='store_true', help='add to the rounds in the --json file'); p.add_argument('--json')
    a = p.parse_args()
    if a.more and not a.json: p.error('--more: name the file with --json')
    old = json.loads(Path(a.json).read_text('utf-8')) if a.more and Path(a.json).exists() else None
    c = SIZES[a.size]
    rows = make_batches(corpus(c['vocab']), a.batches)
    arrays = {f'src{i}': rectangle([[*s, EOS] for s,_ in b]) for i,b in enumerate(rows)} | {f'tgt{i}': rectangle([[BOS, *t, EOS] for _,t in b]) for i,b in enumerate(rows)}
    tokens,flops = sum(len(t)+1 for b in rows for _,t in b),sum(useful_flops(b, c) for b in rows)
    fill = lambda side, less: round(float(sum((x!=PAD).sum()-less*len(x) for n,x in arrays.items() if n.startswith(side))/sum(len(x)*(x.shape[1]-less) for n,x in arrays.items() if n.startswith(side))), 3)
    setting = dict(size=a.size, batches=a.batches, target_tokens=tokens, target_fill=fill('tgt', 1), source_fill=fill('src', 0), threads=a.threads, seed=a.seed, tied=a.tied,
                   **machine())
    kinds = {n: ('kotrans', off) for n,off in rungs(a).items()} if a.ladder else {n: (n, '') for n in SYSTEMS if n!='gemm' and (not a.only or n in a.only)}
    if a.ladder:
        from train_tricks import TRICKS,VARIANTS
        setting['tricks'] = {n: says for n,(says,_) in (TRICKS | VARIANTS).items()}
    if old: refuse(a.json, another(old, setting, kinds))
    workers,missing,about = {},{},{}
    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/batches.npz'
        np.savez(path, **arrays)
        for name,(system,off) in [*kinds.items(), ('gemm', ('gemm', ''))]:
            w = Worker(name, 'train_systems.py', system, path, '--size', a.size, '--threads', a.threads, '--warm', a.warm, '--seed', a.seed, '--without', off, *['--tied']*a.tied,
                       python=getattr(a, PYTHON.get(system, ''), sys.executable), threads=a.threads)
            if 'missing' in w.about: missing[name] = w.about['missing']; w.end()
            else: workers[name],about[name] = w,w.about
        if old: refuse(a.json, other_systems(old, about, missing))
        load,rounds = os.getloadavg()[0],measure(workers, a.rounds)
        for w in workers.values(): w.end()
    record = dict(setting=setting, about=about, missing=missing, loads=[round(load, 2)], rounds=rounds)
    if old: record |= dict(loads=old['loads']+record['loads'], rounds=old['rounds']+rounds)
    record |= summarize(record['rounds'], tokens, flops)
    show(record)
    if a.json:
        from kotrans.files import write_json
        write_json(a.json, record)

if __name__=='__main__': main()
