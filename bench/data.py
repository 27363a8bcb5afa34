"""Speed and memory of the way from text to batches, with plain SentencePiece encoding as the floor.

usage: python bench/data.py [PAIRS.tsv ...] [--rounds 5] [--pairs 2000000] [--counts] [--json results/data.json]

For each file (Korean, tab, English; without any, the embedded corpus; `-` for none) in one process on one core, rounds
alternate between
  floor     SentencePiece encodes both sides, and nothing else
  cleaning  normalising, all checks, and equal copies
  copies    near-duplicates within the corpus, and the near-copies of 2,000 held-out pairs (`leaks`), each timed apart
  encoding  text files to the encoded corpus on the disk
  loading   a shuffled epoch of padded batches, with and without sampled cuts, beside steps of the `tiny` model on them
Reported are medians. Then memory, without the pages of files, workers included: `kotrans-split-data`'s work on a tenth
of `--pairs` pairs; encoding `--pairs` generated pairs and a quarter of them, from which ten million follow; and planning
an epoch of ten million pairs, measured outright.

With `--counts` nothing is timed: for each file, English characters to a Korean one, pairs with a scaled length ratio
over 4, and what cleaning and the search for near-duplicates drop, by reason. The chapters on cleaning and on
near-duplicates show results/cleaning.json: python bench/data.py --counts PAIRS.tsv ... --json results/cleaning.json
"""
import argparse,json,os,platform,statistics,subprocess,sys,tempfile,time
os.environ.setdefault('OMP_NUM_THREADS', '1')
from itertools import islice
from pathlib import Path
import sentencepiece,torch
import kotrans
from kotrans.batching import BatchLoader,padding_share
from kotrans.cleaning import clean_pairs,length_ratio
from kotrans.corpora import embedded_corpus
from kotrans.files import write_json,write_lines
from kotrans.config import preset
from kotrans.distributed import DistributedTrainer
from kotrans.encoding import encode_corpus,encode_files
from kotrans.fast_linear import use_fast_linear
from kotrans.formats import read_pairs
from kotrans.fused_loss import FusedModelWithLoss
from kotrans.near_duplicates import near_copies,near_duplicates
from kotrans.normalising import normalise
from kotrans.tokenizer import save_tokenizer,train_tokenizer
from kotrans.transformer import Transformer
from turns import machine

MEASURE = """
import os,re,sys
from pathlib import Path
import numpy as np
def family():
    me = str(os.getpid())
    for p in Path('/proc').glob('[0-9]*'):
        try:
            if p.name==me or f'PPid:\\t{me}\\n' in (p/'status').read_text(): yield (p/'smaps_rollup').read_text()
        except OSError: pass
def own():
    "Megabytes of this process and its workers; what they share is counted once"
    return sum(int(re.search(r'Pss_Anon:\\s+(\\d+)', s)[1]) for s in family())/1024
import kotrans.batching,kotrans.encoding,threading,time
from kotrans.tokenizer import Tokenizer
peak,over = 0,threading.Event()
def watch():
    global peak
    while not over.wait(.1): peak = max(peak, own())
def measured(f):
    start,t = own(),threading.Thread(target=watch)
    t.start(); began = time.perf_counter()
    out = f()
    took = time.perf_counter()-began
    over.set(); t.join()
    return out,peak,peak-start,took
"""
ENCODE = MEASURE + """
ko,en = Tokenizer(sys.argv[1]),Tokenizer(sys.argv[2])
src,tgt,folder,workers = sys.argv[3:]
corpus,whole,more,took = measured(lambda: kotrans.encoding.encode_files(src, tgt, ko, en, folder, workers=int(workers)))
print(len(corpus), whole, more, took)
"""
SPLIT = MEASURE + """
import itertools
from kotrans.files import iter_lines
from kotrans.config import TransformerConfig
from kotrans.splitting import prepare_splits
def work():
    with open(sys.argv[1], 'rb') as a, open(sys.argv[2], 'rb') as b:
        pairs = [*itertools.islice(zip(iter_lines(a, 'ko'), iter_lines(b, 'en')), int(sys.argv[3]))]
    return sum(len(p) for p in prepare_splits(dict(pairs=pairs), TransformerConfig())[0].values())
kept,whole,more,took = measured(work)
print(kept, whole, more, took)
"""
PLAN = MEASURE + """
n = int(sys.argv[1]); r = np.random.default_rng(1)
lengths = r.integers(4, 60, (n, 2)).astype(np.uint32)
plan,whole,more,took = measured(lambda: kotrans.batching.make_batches(lengths, batch_tokens=4096))
print(len(plan), whole, more, took)
"""

def count_drops(name, pairs):
    "What a corpus is like, and what is dropped from it by the default config"
    c = preset('base')
    normal = [p for p in ((normalise(ko), normalise(en)) for ko,en in pairs) if all(p)]
    ko_chars,en_chars = (sum(len(p[side]) for p in normal) for side in (0, 1))
    cleaned = clean_pairs(pairs, c)
    near = sum(like is not None for like in near_duplicates(cleaned.kept, c.near_duplicate_threshold))
    return dict(name=name, pairs=len(pairs), english_per_korean=en_chars/ko_chars, over_ratio=sum(length_ratio(p)>4 for p in normal),
                dropped=dict(cleaned.dropped), near_duplicates=near, kept=len(cleaned.kept)-near)

def timed(f):
    start = time.perf_counter(); out = f()
    return time.perf_counter()-start,out

def alternate(rounds, **parts):
    "Median seconds of each part, the parts taking turns"
    took = {name: [] for name in parts}
    for _ in range(rounds):
        for name,f in parts.items(): took[name].append(timed(f)[0])
    return {name: statistics.median(t) for name,t in took.items()}

def text_speeds(pairs, clean, tokenizers, lines, rounds, folder, c):
    "Microseconds a pair of each step from text to the encoded corpus"
    sp = [sentencepiece.SentencePieceProcessor(model_proto=t.model_bytes) for t in tokenizers]
    held,rest = ([s for p in part for s in p] for part in (clean[:2000], clean[2000:]))
    count,near = iter(range(10**6)),c.near_duplicate_threshold
    def encode(): encode_files(folder/'x.ko', folder/'x.en', *tokenizers, folder/f'encoded{next(count)}', 10**6, workers=1)
    t = alternate(rounds, floor=lambda: [s.encode(l, num_threads=1) for s,l in zip(sp, lines)],
                  cleaning=lambda: clean_pairs(pairs, c), encoding=encode, near=lambda: near_duplicates(clean, near),
                  leaks=lambda: near_copies(held, rest, near))
    numbers = dict(cleaning=len(pairs), near=len(clean), leaks=len(clean)-2000)
    return {k: 1e6*t[k]/numbers.get(k, len(lines[0])) for k in t}

def batch_speeds(clean, tokenizers, rounds, c):
    "Target tokens a second of the loader, with sampled cuts, and of steps of the model; and the share of padding"
    corpus = encode_corpus([p[0] for p in clean], [p[1] for p in clean], *tokenizers, c.max_len)
    c = c.replace(src_vocab_size=len(tokenizers[0]), tgt_vocab_size=len(tokenizers[1]), device='cpu')
    plain,sampling = (BatchLoader(corpus, batch_tokens=c.batch_tokens, subword_sampling_alpha=a, tokenizers=tokenizers)
                      for a in (0., .2))
    trainer = DistributedTrainer(use_fast_linear(Transformer(c, *map(len, tokenizers))), c, corpus, corpus, progress=False,
                                 with_loss=FusedModelWithLoss)
    batches = list(islice(plain.batches(0), 10))
    trainer.train_step(batches[:1])
    s = alternate(rounds, load=lambda: [*islice(plain.batches(0), 100)], sample=lambda: [*islice(sampling.batches(0), 10)],
                  step=lambda: [trainer.train_step([b]) for b in batches])
    def tokens(batches): return sum(b.num_tokens for b in batches)
    return dict(loader_tokens_per_second=tokens(islice(plain.batches(0), 100))/s['load'],
                sampling_tokens_per_second=tokens(islice(sampling.batches(0), 10))/s['sample'],
                tiny_step_tokens_per_second=tokens(batches)/s['step']),padding_share(corpus, plain.plan(0))

def measure_file(name, pairs, rounds, folder):
    "Speeds on one list of pairs"
    c = preset('tiny')
    tokenizers = tuple(train_tokenizer([p[side] for p in pairs], vocab_size=8000) for side in (0, 1))
    clean = clean_pairs(pairs, c).kept
    times = -(-50_000//len(clean))     # a small file several times over: what is done once a file should not decide
    lines = [[p[side] for p in clean]*times for side in (0, 1)]
    for lang,side in zip(('ko', 'en'), lines): write_lines(folder/f'x.{lang}', side)
    per = text_speeds(pairs, clean, tokenizers, lines, rounds, folder, c)
    speeds,padding = batch_speeds(clean, tokenizers, rounds, c)
    whole = per['cleaning']+per['encoding']
    return dict(name=name, pairs=len(pairs), kept=len(clean), characters=sum(len(k)+len(e) for k,e in pairs)/len(pairs),
                pairs_per_second={k: 1e6/v for k,v in per.items()}, share_of_floor=per['floor']/whole,
                share_with_copies=per['floor']/(whole+per['near']+per['leaks']), **speeds,
                loader_to_step=speeds['loader_tokens_per_second']/speeds['tiny_step_tokens_per_second'], padding=padding)

def project(n0, p0, n1, p1):
    "Megabytes for ten million pairs: what each of the last ones took, and at least the eight bytes of its lengths"
    return p1 + (10**7-n1)*max((p1-p0)/(n1-n0), 8e-6)

def measure_memory(pairs, folder, workers):
    "Megabytes of encoding and planning"
    base = embedded_corpus()['train']
    ko,en = (train_tokenizer([p[side] for p in base[:20_000]], vocab_size=4000) for side in (0, 1))
    save_tokenizer(ko, folder/'ko'); save_tokenizer(en, folder/'en')
    def run(code, *args):
        done = subprocess.run([sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, check=True)
        return [float(x) for x in done.stdout.split()]
    rows = []
    for n in (pairs//4, pairs):
        for lang,side in (('ko', 0), ('en', 1)):
            with open(folder/f'big.{lang}', 'w', encoding='utf-8') as f:
                for i in range(n): f.write(f'{base[i%len(base)][side]} {i//len(base)}\n')
        if n<pairs: kept,split_mb,_,split_s = run(SPLIT, folder/'big.ko', folder/'big.en', pairs//10)
        files = [folder/name for name in ('ko.model', 'en.model', 'big.ko', 'big.en', f'big{n}')]
        rows.append(run(ENCODE, *files, workers))
    (n0,p0,*_),(n1,p1,_,took) = rows
    _,whole,more,seconds = run(PLAN, 10**7)
    return dict(pairs=[n0, n1], megabytes=[p0, p1], pairs_per_second=n1/took, workers=workers or os.cpu_count(),
                ten_million_megabytes=project(n0, p0, n1, p1), splitting_pairs=pairs//10, splitting_megabytes=split_mb,
                splitting_seconds=split_s, planning_ten_million_megabytes=whole, planning_ten_million_seconds=seconds)

def say_file(r):
    speeds = ', '.join(f'{k} {v:,.0f}' for k,v in r['pairs_per_second'].items())
    print(f"{r['name']}: {r['pairs']:,} pairs of {r['characters']:.0f} characters; pairs/s: {speeds}")
    print(f"  cleaning and encoding together: {r['share_of_floor']:.2f} of plain SentencePiece, "
          f"{r['share_with_copies']:.2f} with all copies sought")
    print(f"  loader {r['loader_tokens_per_second']:,.0f} target tokens/s, {r['loader_to_step']:.0f} times a step of tiny "
          f"({r['sampling_tokens_per_second']:,.0f} with sampling); padding {r['padding']:.1%}", flush=True)

def say_memory(m):
    print(f"memory: splitting {m['splitting_pairs']:,} pairs takes {m['splitting_megabytes']:.0f} MB and "
          f"{m['splitting_seconds']:.0f} s; encoding {m['pairs'][0]:,.0f} and {m['pairs'][1]:,.0f} pairs takes "
          f"{m['megabytes'][0]:.0f} and {m['megabytes'][1]:.0f} MB, so ten million take {m['ten_million_megabytes']:.0f} MB")
    print(f"  planning an epoch of ten million: {m['planning_ten_million_megabytes']:.0f} MB, "
          f"{m['planning_ten_million_seconds']:.0f} s; {m['pairs_per_second']:,.0f} pairs/s with {m['workers']} workers")

if __name__=='__main__':
    a = argparse.ArgumentParser(usage=__doc__.split('usage: ')[1].split('\n')[0])
    a.add_argument('files', nargs='*')
    for flag,default in (('rounds', 5), ('pairs', 2_000_000), ('workers', 0)): a.add_argument(f'--{flag}', type=int, default=default)
    a.add_argument('--counts', action='store_true'); a.add_argument('--json', default='')
    args = a.parse_args()
    sources = [(Path(f).stem, read_pairs(f)) for f in args.files if f!='-']
    if not args.files: sources = [('embedded', embedded_corpus()['train'][:20_000])]
    out = dict(kotrans=kotrans.__version__, files=[])
    if args.counts:
        for name,pairs in sources: out['files'].append(count_drops(name, list(pairs))); print(out['files'][-1], flush=True)
    else:
        out |= dict(**machine(), python=platform.python_version(),
                    torch=torch.__version__, sentencepiece=sentencepiece.__version__, rounds=args.rounds)
        torch.set_num_threads(1)
        for name,pairs in sources:
            with tempfile.TemporaryDirectory() as d: out['files'].append(measure_file(name, list(pairs), args.rounds, Path(d)))
            say_file(out['files'][-1])
        if args.pairs:
            with tempfile.TemporaryDirectory() as d: out['memory'] = measure_memory(args.pairs, Path(d), args.workers)
            say_memory(out['memory'])
    if args.json: write_json(args.json, out)
