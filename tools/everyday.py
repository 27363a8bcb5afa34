"""Measure the everyday corpus: counts by topic, style and length, the words and patterns it shows, pairs that are alike.

    python tools/everyday.py            measure, print, and store as results/everyday_corpus.json; a minute, needs `kiwipiepy`
    python tools/everyday.py --check    are the stored counts those of the files? a second

Status 1 if something that the corpus should have is not there, or if what is stored is out of step.
"""
import argparse,json,sys
from pathlib import Path
from kotrans.corpora import everyday
from kotrans.everyday import corpus_counts,corpus_report,learner_patterns,unmet_demands,useful_lemmas
from kotrans.files import atomic_write

RESULT = Path(__file__).resolve().parents[1]/'results'/'everyday_corpus.json'

def as_text(report):
    "One line for each part, so that a reader of the file sees what there is"
    return '{\n' + ',\n'.join(f'{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}' for k,v in report.items()) + '\n}\n'

def out_of_step(report):
    "What of the stored report is not what the files say, a line each"
    now = corpus_counts(everyday())
    out = [f'{k}: {RESULT.name} has other numbers than the files' for k in now if report['counts'].get(k)!=now[k]]
    if tuple(report['lemmas'])!=useful_lemmas(): out.append('lemmas: not those of coverage/lemmas.tsv')
    if tuple(report['patterns'])!=tuple(p.pattern for p in learner_patterns()): out.append('patterns: not those of coverage/patterns.tsv')
    return out

def scarcest(counts, number=10):
    "The names with the fewest pairs, each with its number"
    return ', '.join(f'{name} {n}' for name,n in sorted(counts.items(), key=lambda o: o[1])[:number])

def show(report):
    "Print a report in some twenty lines"
    c = report['counts']; lengths = [sum(n) for n in zip(*c['styles'].values())]
    print(f"{c['pairs']:,} pairs in {len(c['topics'])} topics")
    print('topics: ', ', '.join(f'{k} {n:,}' for k,n in c['topics'].items()))
    print('styles: ', ', '.join(f'{k} {sum(n):,}' for k,n in c['styles'].items()))
    print('Korean words: ', ', '.join(f'{n}: {k:,}' for n,k in enumerate(lengths, 1)))
    for kind in ('lemmas', 'patterns'): print(f'{len(report[kind]):,} {kind}, the scarcest: {scarcest(report[kind])}')
    print('alike on purpose: ', ', '.join(f'{k} {len(v)}' for k,v in report['alike'].items() if k!='long'))
    print(f"alike and long: {len(report['alike']['long'])}; held out and known from training: {len(report['held_out_copies'])}; "
          f"faults of form: {len(report['faults'])}")

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--check', action='store_true', help='compare the stored counts with the files, and write nothing')
    args = p.parse_args()
    if args.check:
        report = json.loads(RESULT.read_text('utf-8'))
        out = out_of_step(report)+unmet_demands(report)
    else:
        report = corpus_report(); show(report)
        with atomic_write(RESULT) as f: f.write(as_text(report).encode())
        out = unmet_demands(report)
    for o in out: print(o)
    if out and args.check: print('python tools/everyday.py measures again')
    if not out: print(f"{RESULT.name}: {report['counts']['pairs']:,} pairs, and all that is asked for is there")
    return bool(out)

if __name__=='__main__': sys.exit(main())
