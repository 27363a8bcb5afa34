"""Training on a CPU: one process with a thread on each core, or a process with one thread on each, with as many tokens in a step.

    python bench/processes.py --sizes small base --json results/processes.json -- --data-dir data/open --vocab-dir vocab --encoded-dir encoded

What stands behind -- goes to `kotrans-train`, which runs for --minutes in each way, in turns, --rounds times; the text should be encoded already (`kotrans-encode`). `speed` is the
median of target tokens a second, as the log tells it (validation and start are not in it), `times` the median of the rounds' ratios to one process.
"""
import argparse,csv,itertools,os,platform,shutil,statistics,subprocess,sys,tempfile
from turns import machine

TRAIN = 'import sys; from kotrans.cli import pipeline; sys.exit(pipeline.train())'

def run(a, size, optimizer, processes, folder):
    "Target tokens a second"
    shutil.rmtree(f'{folder}/logs', ignore_errors=True)              # of the run before
    threads = a.cores//processes
    flags = ['--preset', size, '--optimizer', optimizer, '--processes', processes, '--batch-tokens', a.batch_tokens//processes, '--max-minutes', a.minutes, '--device', 'cpu', '--no-report',
             '--checkpoint-dir', f'{folder}/checkpoints', '--log-dir', f'{folder}/logs', '--overwrite', *a.flags]
    done = subprocess.run([sys.executable, '-c', TRAIN, *map(str, flags)], capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS=str(threads)))
    if done.returncode: sys.exit(f'processes: error: {(done.stderr.strip().splitlines() or ["no message"])[-1]}')
    with open(f'{folder}/logs/training.csv', encoding='utf-8') as f: rows = [*csv.DictReader(f)]
    spent = sum(float(r['seconds']) for r in rows)
    return sum(float(r['tokens_per_second'])*float(r['seconds']) for r in rows)/spent

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--sizes', nargs='+', default=['small'], help='presets'); p.add_argument('--optimizers', nargs='+', default=['adam', 'muon']); p.add_argument('--batch-tokens', type=int, default=4096, help='in a step, of all processes together')
    p.add_argument('--minutes', type=float, default=1); p.add_argument('--rounds', type=int, default=3); p.add_argument('--json'); p.add_argument('flags', nargs='*', help='behind --: flags of kotrans-train')
    a = p.parse_args()
    if a.rounds<1: p.error('--rounds from 1')
    import kotrans,torch
    from kotrans.files import write_json
    a.cores = torch.get_num_threads()
    if a.cores<2: sys.exit('processes: error: torch has one thread here, so there is nothing to compare')
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size,optimizer in itertools.product(a.sizes, a.optimizers):
            ways = {1: [], a.cores: []}
            for _ in range(a.rounds):
                for n,found in ways.items():
                    found.append(run(a, size, optimizer, n, folder))
                    print(f'{size}, {optimizer}, {n} process{"es"*(n>1)}: {found[-1]:,.0f} tokens/s', flush=True)
            rows += [dict(size=size, optimizer=optimizer, processes=n, threads=a.cores//n, speed=statistics.median(found), times=statistics.median(x/y for x,y in zip(found, ways[1])), tokens_per_second=found) for n,found in ways.items()]
    for r in rows: print(f"{r['size']:8} {r['optimizer']:5} {r['processes']} × {r['threads']} threads {r['speed']:8,.0f} tokens/s {r['times']:.2f}×")
    if a.json: write_json(a.json, dict(**machine(), kotrans=kotrans.__version__, torch=torch.__version__, python=platform.python_version(), minutes=a.minutes, batch_tokens=a.batch_tokens, rows=rows))

if __name__=='__main__': main()
