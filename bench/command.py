"""How long `kotrans-translate` takes for a file, from the moment it is called: starting, loading, cutting into tokens, searching, writing.

    python bench/command.py checkpoints/best_model.pt data/train.ko --lines 10000 --json results/command.json

The ways to search take turns, --rounds times; medians are reported, with the peak of memory. Beside them what starting alone costs: the same for a file of one line.
Ways in 8 bits are left out, and named under `skipped`, where the processor has no instructions for them: the command would go on in float32.
"""
import argparse,platform,statistics,subprocess,sys,tempfile,time
from itertools import islice
from pathlib import Path
from kotrans.files import write_json
from turns import machine

WAYS = {'greedy': ['--method', 'greedy'], 'greedy, int8': ['--method', 'greedy', '--int8'], 'beam 4': [], 'beam 4, int8': ['--int8'], 'beam 4, patience 2': ['--beam-patience', '2'], 'beam 4, patience 1': ['--beam-patience', '1']}
CHILD = "import resource,sys; from kotrans.cli import terminal; status = terminal.translate(); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)"

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('checkpoint'); p.add_argument('file', type=Path); p.add_argument('--lines', type=int, default=10_000); p.add_argument('--rounds', type=int, default=3); p.add_argument('--json')
    a = p.parse_args()
    if a.rounds<1 or a.lines<1: p.error('--rounds and --lines from 1')
    if lacking := [f for f in (a.checkpoint, a.file) if not Path(f).is_file()]: p.error(f'no file {lacking[0]}')
    import kotrans,torch
    from kotrans.packing import worth_int8
    gains = worth_int8(True)
    ways = {name: o for name,o in WAYS.items() if gains or '--int8' not in o}
    skipped = {name: 'this processor has no instructions for it' for name in WAYS if name not in ways}
    with tempfile.TemporaryDirectory() as folder, open(a.file, encoding='utf-8') as f:
        many,one,out = (Path(folder)/n for n in ('many.ko', 'one.ko', 'out.en'))
        lines = [*islice(f, a.lines)]
        if not lines: p.error(f'{a.file}: no lines')
        many.write_text(''.join(lines), 'utf-8'); one.write_text(lines[0], 'utf-8')
        def run(source, options):
            out.unlink(missing_ok=True)                              # of the run before
            start = time.perf_counter()
            done = subprocess.run([sys.executable, '-c', CHILD, '--file', source, '--output', out, '--checkpoint', a.checkpoint, '--device', 'cpu', *options], capture_output=True, text=True)
            seconds = time.perf_counter()-start
            if done.returncode: sys.exit(f'command: error: {(done.stderr.strip().splitlines() or ["no message"])[-1]}')
            assert out.read_bytes().count(b'\n')==(len(lines) if source==many else 1)
            return seconds, int(done.stdout.split()[-1])/(2**20 if sys.platform=='darwin' else 1024)
        rounds = [{name: run(many, o) for name,o in ways.items()} | dict(start=run(one, [])) for _ in range(a.rounds)]
    rows = {name: dict(lines_per_second=round(len(lines)/statistics.median(r[name][0] for r in rounds)), peak_mib=round(max(r[name][1] for r in rounds)), seconds=[round(r[name][0], 2) for r in rounds]) for name in ways}
    record = dict(**machine(), kotrans=kotrans.__version__, torch=torch.__version__, python=platform.python_version(), lines=len(lines), characters=sum(map(len, lines)), rounds=a.rounds,
                  start_seconds=round(statistics.median(r['start'][0] for r in rounds), 2), skipped=skipped, ways=rows)
    for name,x in rows.items(): print(f"{name:18} {x['lines_per_second']:>6,} lines/s  {x['peak_mib']:>5,} MiB")
    for name,why in skipped.items(): print(f'{name:18} left out: {why}')
    print(f"one line: {record['start_seconds']} s")
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
