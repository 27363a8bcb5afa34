"""Speed and memory of the way from text to batches, with plain SentencePiece encoding as the floor.

usage: python bench/data.py [PAIRS.tsv ...] [--rounds 5] [--pairs 2000000] [--counts] [--json results/data.json]

For each file (Korean, tab, English; without any, the embedded corpus; `-` for none) in one process on one core, rounds alternate between
  floor     SentencePiece encodes both sides, and nothing else
  cleaning  normalising, all checks, and equal copies
  copies    near-duplicates within the corpus, and the near-copies of 2,000 held-out pairs (`leaks`), each timed apart
  encoding  text files to the encoded corpus on the disk
  loading   a shuffled epoch of padded batches, with and without sampled cuts, beside steps of the `tiny` model on the same batches
Reported are medians. Then memory, without the pages of files, workers included: `kotrans-split-data`'s work on a tenth of
`--pairs` pairs; encoding `--pairs` generated pairs and a quarter of them, from which ten million follow; and planning an
epoch of ten million pairs, measured outright.

With `--counts` nothing is timed: for each file, English characters to a Korean one, pairs with a scaled length ratio over 4,
and what cleaning and the search for near-duplicates drop, by reason. The chapters on cleaning and on near-duplicates show
`results/cleaning.json`, made by: python bench/data.py --counts PAIRS.tsv ... --json results/cleaning.json
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
from kotrans.files import write_lines
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
def own(): return sum(int(re.search(r'Pss_Anon:\\s+(\\d+)', s)[1]) for s in family())/1024   # this process and its workers; what they share is counted once
import kotrans.batching,kotrans.encoding,threading,time
from kotrans.tokenizer import Tokenizer
peak,over = 0,threading.Event()
def watch():
    global peak
    while not over.wait(.1): peak = max(peak, own())
def measured(f):
    start = own(); t = threading.Thread(target=watch); t.start(); began = time.perf_counter(); out = f(); took = time.perf_counter()-began; over.set(); t.join()
    return out,peak,peak-start,took
"""
ENCODE = MEASURE + """
ko,en = Tokenizer(sys.argv[1]),Tokenizer(sys.argv[2])
corpus,whole,more,took = measured(lambda: kotrans.encoding.encode_files(sys.argv[3], sys.argv[4], ko, en, sys.argv[5], workers=int(sys.argv[6])))
print(len(corpus), whole, more, took)
"""
SPLIT = MEASURE + """
import itertools
from kotrans.files import iter_lines
from kotrans.config import TransformerConfig
from kotrans.splitting import prepare_splits
def work():
    with open(sys.argv[1], 'rb') as a, open(sys.argv[2], 'rb') as b: pairs = [*itertools.islice(zip(iter_lines(a, 'ko'), iter_lines(b, 'en')), int(sys.argv[3]))]
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
    cleaned = clean_pairs(pairs, c)
    near = near_duplicates(cleaned.kept, c.near_duplicate_threshold)
    return dict(name=name, pairs=len(pairs), english_per_korean=sum(len(en) for _,en in normal)/sum(len(ko) for ko,_ in normal),
                over_ratio=sum(length_ratio(p)>4 for p in normal), dropped=dict(cleaned.dropped),
                near_duplicates=sum(n is not None for n in near), kept=len(near)-sum(n is not None for n in near))

def timed(f):
    start = time.perf_counter(); out = f()
    return time.perf_counter()-start,out

def alternate(rounds, **parts):
    "Median seconds of each part, the parts taking turns"
    took = {name: [] for name in parts}
    for _ in range(rounds):
        for name,f in parts.items(): took[name].append(timed(f)[0])
    return {name: statistics.median(t) for name,t in took.items()}

def measure_file(name, pairs, rounds, folder):
    "Speeds on one list of pairs"
    c = preset('tiny'); vocab = 8000
    ko,en = (train_tokenizer([p[side] for p in pairs], vocab_size=vocab) for side in (0, 1))
    clean = clean_pairs(pairs, c).kept
    times = -(-50_000//len(clean))     # a small file several times over: what is done once for each file should not decide
    lines = [[p[side] for p in clean]*times for side in (0, 1)]
    for lang,side in zip(('ko', 'en'), lines): write_lines(folder/f'x.{lang}', side)
    sp = [sentencepiece.SentencePieceProcessor(model_proto=t.model_bytes) for t in (ko, en)]
    count = iter(range(10**6))
    held,rest = ([s for p in part for s in p] for part in (clean[:2000], clean[2000:]))
    encode = lambda: encode_files(folder/'x.ko', folder/'x.en', ko, en, folder/f'encoded{next(count)}', 10**6, workers=1)
    t = alternate(rounds, floor=lambda: [s.encode(l, num_threads=1) for s,l in zip(sp, lines)], cleaning=lambda: clean_pairs(pairs, c), encoding=encode,
                  near=lambda: near_duplicates(clean, c.near_duplicate_threshold), leaks=lambda: near_copies(held, rest, c.near_duplicate_threshold))
    corpus = encode_corpus([p[0] for p in clean], [p[1] for p in clean], ko, en, c.max_len)
    c = c.replace(src_vocab_size=len(ko), tgt_vocab_size=len(en), device='cpu')
    loaders = [BatchLoader(corpus, batch_tokens=c.batch_tokens, subword_sampling_alpha=a, tokenizers=(ko, en)) for a in (0., .2)]
    model = use_fast_linear(Transformer(c, len(ko), len(en)))
    trainer = DistributedTrainer(model, c, corpus, corpus, progress=False, with_loss=FusedModelWithLoss)
    batches = list(islice(loaders[0].batches(0), 10))
    tokens = sum(b.num_tokens for b in batches)
    trainer.train_step(batches[:1])
    s = alternate(rounds, load=lambda: [*islice(loaders[0].batches(0), 100)], sample=lambda: [*islice(loaders[1].batches(0), 10)],
                  step=lambda: [trainer.train_step([b]) for b in batches])
    loaded = sum(b.num_tokens for b in islice(loaders[0].batches(0), 100)); sampled = sum(b.num_tokens for b in islice(loaders[1].batches(0), 10))
    per = {k: 1e6*t[k]/dict(cleaning=len(pairs), near=len(clean), leaks=len(clean)-2000).get(k, len(lines[0])) for k in t}
    return dict(name=name, pairs=len(pairs), kept=len(clean), characters=sum(len(k)+len(e) for k,e in pairs)/len(pairs),
                pairs_per_second={k: 1e6/v for k,v in per.items()}, share_of_floor=per['floor']/(per['cleaning']+per['encoding']),
                share_with_copies=per['floor']/(per['cleaning']+per['near']+per['leaks']+per['encoding']),
                loader_tokens_per_second=loaded/s['load'], sampling_tokens_per_second=sampled/s['sample'], tiny_step_tokens_per_second=tokens/s['step'],
                loader_to_step=loaded/s['load']/(tokens/s['step']), padding=padding_share(corpus, loaders[0].plan(0)))

def project(n0, p0, n1, p1):
    "Megabytes for ten million pairs: what each of the last ones took, and at least the eight bytes of its lengths"
    return p1 + (10**7-n1)*max((p1-p0)/(n1-n0), 8e-6)

def measure_memory(pairs, folder, workers):
    "Megabytes of encoding and planning"
    base = embedded_corpus()['train']
    ko,en = (train_tokenizer([p[side] for p in base[:20_000]], vocab_size=4000) for side in (0, 1))
    save_tokenizer(ko, folder/'ko'); save_tokenizer(en, folder/'en')
    def run(code, *args):
        out = subprocess.run([sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, check=True).stdout.split()
        return [float(x) for x in out]
    rows = []
    for n in (pairs//4, pairs):
        for lang,side in (('ko', 0), ('en', 1)):
            with open(folder/f'big.{lang}', 'w', encoding='utf-8') as f:
                for i in range(n): f.write(f'{base[i%len(base)][side]} {i//len(base)}\n')
        if n<pairs: kept,split_mb,_,split_s = run(SPLIT, folder/'big.ko', folder/'big.en', pairs//10)
        rows.append(run(ENCODE, folder/'ko.model', folder/'en.model', folder/'big.ko', folder/'big.en', folder/f'big{n}', workers))
    (n0,p0,*_),(n1,p1,_,took) = rows
    _,whole,more,seconds = run(PLAN, 10**7)
    ten = project(n0, p0, n1, p1)
    return dict(pairs=[n0, n1], megabytes=[p0, p1], pairs_per_second=n1/took, workers=workers or os.cpu_count(), ten_million_megabytes=ten, splitting_pairs=pairs//10, splitting_megabytes=split_mb, splitting_seconds=split_s, planning_ten_million_megabytes=whole,
                planning_ten_million_seconds=seconds)

if __name__=='__main__':
    a = argparse.ArgumentParser(usage=__doc__.split('usage: ')[1].split('\n')[0])
    a.add_argument('files', nargs='*')
    for flag,default in (('rounds', 5), ('pairs', 2_000_000), ('workers', 0)): a.add_argument(f'--{flag}', type=int, default=default)
    a.add_argument('--counts', action='store_true'); a.add_argument('--json', default='')
    args = a.parse_args()
    files = [f for f in args.files if f!='-']
    sources = [(Path(f).stem, read_pairs(f)) for f in files] if args.files else [('embedded', embedded_corpus()['train'][:20_000])]
    if args.counts:
        out = dict(kotrans=kotrans.__version__, files=[])
        for name,pairs in sources: out['files'].append(count_drops(name, list(pairs))); print(out['files'][-1], flush=True)
        if args.json: Path(args.json).write_text(json.dumps(out, indent=1)+'\n')
        sys.exit()
    out = dict(machine=f'{os.cpu_count()} CPU cores ({platform.machine()})', python=platform.python_version(), torch=torch.__version__,
               sentencepiece=sentencepiece.__version__, kotrans=kotrans.__version__, rounds=args.rounds, files=[])
    torch.set_num_threads(1)
    for name,pairs in sources:
        with tempfile.TemporaryDirectory() as d: r = measure_file(name, list(pairs), args.rounds, Path(d))
        out['files'].append(r); p = r['pairs_per_second']
        print(f"{name}: {r['pairs']:,} pairs of {r['characters']:.0f} characters; pairs/s: " + ', '.join(f'{k} {v:,.0f}' for k,v in p.items()), flush=True)
        print(f"  cleaning and encoding together: {r['share_of_floor']:.2f} of plain SentencePiece, {r['share_with_copies']:.2f} with all copies sought; loader {r['loader_tokens_per_second']:,.0f} target tokens/s, "
              f"{r['loader_to_step']:.0f} times a step of tiny ({r['sampling_tokens_per_second']:,.0f} with sampling); padding {r['padding']:.1%}", flush=True)
    if args.pairs:
        with tempfile.TemporaryDirectory() as d: m = out['memory'] = measure_memory(args.pairs, Path(d), args.workers)
        print(f"memory: splitting {m['splitting_pairs']:,} pairs takes {m['splitting_megabytes']:.0f} MB and {m['splitting_seconds']:.0f} s; encoding {m['pairs'][0]:,.0f} and {m['pairs'][1]:,.0f} pairs takes {m['megabytes'][0]:.0f} and {m['megabytes'][1]:.0f} MB, so ten million take "
              f"{m['ten_million_megabytes']:.0f} MB; planning an epoch of ten million: {m['planning_ten_million_megabytes']:.0f} MB, {m['planning_ten_million_seconds']:.0f} s")
        print(f"  {m['pairs_per_second']:,.0f} pairs/s with {m['workers']} workers")
    if args.json: Path(args.json).parent.mkdir(exist_ok=True); Path(args.json).write_text(json.dumps(out, indent=1)+'\n')
