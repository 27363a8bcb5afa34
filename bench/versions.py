"""Is training as fast as it was? The working tree beside an earlier commit, on the same batches, in turns.

    python bench/versions.py --base 8b9342c --json results/versions.json

Both train the model of `size` (bench/train.py) on the batches that the working tree's loader cuts: forward, backward, clipping and Adam. Each is a
process of its own, which imports its own kotrans and its own bench/train_systems.py; one works at a time, and they take turns within each round.
The ratio is the median of the rounds' ratios: above 1, the working tree is the faster one.
"""
import argparse,os,statistics,subprocess,sys,tempfile
from contextlib import contextmanager
from pathlib import Path
import numpy as np
from kotrans.files import write_json
from train import SIZES,corpus,make_batches,rectangle
from train_systems import BOS,EOS
from turns import HERE,Worker,machine,measure

@contextmanager
def checkout(revision):
    "A folder with the files of `revision`"
    with tempfile.TemporaryDirectory() as folder:
        files = subprocess.run(['git', '-C', HERE.parent, 'archive', '--format=tar', revision, '--', 'kotrans', 'bench'], capture_output=True)
        if files.returncode: sys.exit(f'--base {revision}: {files.stderr.decode().strip()}')
        subprocess.run(['tar', '-x', '-C', folder], input=files.stdout, check=True)
        yield Path(folder)

def start(name, tree, batches, a):
    "The training step of the kotrans in `tree`, as a process"
    path = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = str(tree)
    try: return Worker(name, tree/'bench'/'train_systems.py', 'kotrans', batches, '--size', a.size, '--threads', a.threads, '--warm', 0, '--seed', 0, '--without', '', threads=a.threads)
    finally:
        if path is None: del os.environ['PYTHONPATH']
        else: os.environ['PYTHONPATH'] = path

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('size', nargs='?', default='small', choices=SIZES); p.add_argument('--base', required=True, help='the commit to compare with')
    p.add_argument('--rounds', type=int, default=7); p.add_argument('--batches', type=int, default=4); p.add_argument('--threads', type=int, default=os.cpu_count()); p.add_argument('--json')
    a = p.parse_args()
    name = lambda revision: subprocess.run(['git', '-C', HERE, 'rev-parse', '--short', revision], capture_output=True, text=True).stdout.strip()
    rows = make_batches(corpus(SIZES[a.size]['vocab']), a.batches)
    tokens = sum(len(t)+1 for b in rows for _,t in b)
    with tempfile.TemporaryDirectory() as folder, checkout(a.base) as old:
        batches = f'{folder}/batches.npz'
        np.savez(batches, **{f'src{i}': rectangle([[*s, EOS] for s,_ in b]) for i,b in enumerate(rows)}, **{f'tgt{i}': rectangle([[BOS, *t, EOS] for _,t in b]) for i,b in enumerate(rows)})
        workers = {'base': start('base', old, batches, a), 'now': start('now', HERE.parent, batches, a)}
        rounds = measure(workers, a.rounds)
        about = {n: w.about for n,w in workers.items()}
        for w in workers.values(): w.end()
    seconds = {n: [r[n]['seconds'] for r in rounds] for n in workers}
    record = dict(setting=dict(size=a.size, batches=a.batches, target_tokens=tokens, threads=a.threads, base=name(a.base), now=name('HEAD'), **machine()), about=about,
                  tokens_per_second={n: round(tokens/statistics.median(s)) for n,s in seconds.items()}, peak_mib={n: max(r[n]['peak_mib'] for r in rounds) for n in workers},
                  ratio=round(statistics.median(b/n for b,n in zip(seconds['base'], seconds['now'])), 3), rounds=rounds)
    print(f"{a.size}, {a.threads} threads: {record['tokens_per_second']['now']:,} target tokens/s, {record['tokens_per_second']['base']:,} at {record['setting']['base']}: ratio {record['ratio']:.3f} of {a.rounds} rounds")
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
