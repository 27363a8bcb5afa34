"""Training speed on this machine: kotrans beside `torch.nn.Transformer` as a tutorial builds it.

usage: python bench/train.py [small|base] [--batches 8] [--rounds 5] [--threads 1] [--seconds 100] [--json results/train_small.json]

Both train on the same batches of a synthetic corpus (lengths like real text, Zipf's law), forward, backward, clipping and Adam.
Rounds alternate between the systems and a matrix product, so that whatever else the machine does meets all of them. Reported are the
medians: target tokens a second, and the arithmetic that real tokens need (padding not counted, causal attention by half) as a share
of the best matrix product of the same run. Memory is what each system's own process reaches, so each is measured once more alone.
"""
import argparse,json,math,os,platform,resource,statistics,subprocess,sys,time
from pathlib import Path
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
import kotrans
from kotrans.batching import BatchLoader,collate
from kotrans.encoding import EncodedCorpus
from kotrans.config import BOS,EOS,PAD,preset
from kotrans.training import Trainer,keep_pages
from kotrans.transformer import Transformer

def corpus(vocab, rows=20_000, seed=1):
    "Sentence pairs of about twenty tokens, with word frequencies that fall like 1/rank"
    r = np.random.default_rng(seed)
    tgt = np.exp(r.normal(2.84, .62, rows)).round().clip(1, 99).astype(int)
    src = (tgt*np.exp(r.normal(-.05, .22, rows))).round().clip(1, 99).astype(int)
    share = np.cumsum(1/np.arange(1, vocab-3)); share /= share[-1]
    words = lambda n: np.searchsorted(share, r.random(n)).clip(0, vocab-5)+4
    flat = lambda rows: (np.concatenate(rows), np.concatenate([[0], np.cumsum([*map(len, rows)])]))
    return EncodedCorpus(*flat([[*words(n), EOS] for n in src]), *flat([[BOS, *words(n), EOS] for n in tgt]), np.arange(rows))

def useful_flops(corpus, rows, c):
    "Operations that forward and backward need for real tokens"
    s,t = corpus.lengths[rows,0].astype(float),corpus.lengths[rows,1]-1.
    d,ff = c.d_model,c.d_ff
    encoder = c.num_encoder_layers*s*(2*(4*d*d+2*d*ff) + 4*d*s)
    decoder = c.num_decoder_layers*(t*(2*(6*d*d+2*d*ff) + 2*d*(t+1) + 4*d*s) + s*4*d*d)
    return 3*float((encoder + decoder + t*2*d*c.tgt_vocab_size).sum())

def gemm(n=2048, reps=3):
    "Operations a second of the best of a few matrix products"
    a,b = torch.randn(n, n),torch.randn(n, n)
    best = math.inf
    for _ in range(reps):
        start = time.perf_counter(); a@b
        best = min(best, time.perf_counter()-start)
    return 2*n**3/best

class Tutorial(nn.Module):
    "`nn.Transformer` between embeddings and an output layer, as PyTorch's translation tutorial had it"
    def __init__(self, c):
        super().__init__()
        self.d = c.d_model
        self.transformer = nn.Transformer(c.d_model, c.num_heads, c.num_encoder_layers, c.num_decoder_layers, c.d_ff, c.dropout)
        self.generator = nn.Linear(c.d_model, c.tgt_vocab_size)
        self.src,self.tgt,self.dropout = nn.Embedding(c.src_vocab_size, c.d_model),nn.Embedding(c.tgt_vocab_size, c.d_model),nn.Dropout(c.dropout)
        pos = torch.arange(256.)[:,None]*torch.exp(-torch.arange(0, self.d, 2)*math.log(1e4)/self.d)
        self.register_buffer('positions', torch.stack([pos.sin(), pos.cos()], -1).flatten(1)[:,None])
        for p in self.parameters():
            if p.dim()>1: nn.init.xavier_uniform_(p)

    def embed(self, table, ids): return self.dropout(table(ids)*math.sqrt(self.d) + self.positions[:len(ids)])

    def forward(self, src, tgt):        # [len, batch]
        causal = torch.ones(len(tgt), len(tgt), dtype=torch.bool).triu(1)
        none = torch.zeros(len(src), len(src), dtype=torch.bool)
        src_pad,tgt_pad = (src==PAD).T,(tgt==PAD).T
        out = self.transformer(self.embed(self.src, src), self.embed(self.tgt, tgt), none, causal, None, src_pad, tgt_pad, src_pad)
        return self.generator(out)

def tutorial(c, data):
    model = Tutorial(c)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(.9, .98), eps=1e-9)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=.1)
    def step(batch):
        src,tgt = batch.src.T,batch.tgt.T
        logits = model(src, tgt[:-1])
        optimizer.zero_grad()
        criterion(logits.reshape(-1, logits.size(-1)), tgt[1:].reshape(-1)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step()
    return step

def ours(c, data):
    t = Trainer(Transformer(c, c.src_vocab_size, c.tgt_vocab_size), c, data, data, progress=False)
    return lambda batch: t.train_step([batch])

SYSTEMS = {'kotrans': ours, 'nn.Transformer': tutorial}

def memory(name, args):
    "Peak memory in MiB of a process that runs one system alone"
    out = subprocess.run([sys.executable, __file__, args.size, '--alone', name, '--batches', str(args.batches), '--threads', str(args.threads), *['--keep-pages']*args.keep_pages], capture_output=True, text=True)
    return int(out.stdout.split()[-1]) if out.returncode==0 else None

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('size', nargs='?', default='small', choices=['small', 'base'])
    p.add_argument('--batches', type=int, default=8); p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--threads', type=int, default=int(os.environ.get('OMP_NUM_THREADS', 1))); p.add_argument('--seconds', type=float, default=100.)
    p.add_argument('--keep-pages', action='store_true', help='let the C library keep freed memory, for both systems');
    p.add_argument('--json'); p.add_argument('--alone', choices=[*SYSTEMS])
    args = p.parse_args()
    torch.set_num_threads(args.threads); torch.manual_seed(0)
    if args.keep_pages: keep_pages()
    c = preset(args.size, batch_tokens=2048, device='cpu')
    data = corpus(c.tgt_vocab_size)
    plan = BatchLoader(data, c.batch_size, c.batch_tokens, 1).plan(0)[:args.batches]
    batches = [collate(data, rows) for rows in plan]
    tokens,flops = sum(b.num_tokens for b in batches),sum(useful_flops(data, rows, c) for rows in plan)
    if args.alone:
        step = SYSTEMS[args.alone](c, data)
        for b in batches: step(b)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024)
        return
    steps = {name: make(c, data) for name,make in SYSTEMS.items()}
    for step in steps.values(): step(batches[0])
    seconds,peaks,begin = {name: [] for name in steps},[gemm()],time.perf_counter()
    for round_ in range(args.rounds):
        for name,step in steps.items():
            start = time.perf_counter()
            for b in batches: step(b)
            seconds[name].append(time.perf_counter()-start)
        peaks.append(gemm())
        if time.perf_counter()-begin>args.seconds: break
    peak = max(peaks)
    rows = {name: dict(tokens_per_second=round(tokens/statistics.median(s)), share_of_gemm=round(flops/statistics.median(s)/peak, 3),
                       gflops=round(flops/statistics.median(s)/1e9, 1), rounds=[round(x, 3) for x in s], peak_mib=memory(name, args)) for name,s in seconds.items()}
    ratio = statistics.median(b/a for a,b in zip(seconds['kotrans'], seconds['nn.Transformer']))
    record = dict(kotrans=kotrans.__version__, torch=torch.__version__, machine=f'{os.cpu_count()} CPU cores ({platform.machine()})', threads=args.threads, size=args.size,
                  tokens=tokens, keep_pages=args.keep_pages, load=os.getloadavg()[0], gemm_gflops=round(peak/1e9, 1), gemm_rounds=[round(x/1e9, 1) for x in peaks],
                  speed_ratio=round(ratio, 3), systems=rows)
    print(f"{args.size}: {len(batches)} batches, {tokens:,} target tokens, {args.threads} threads, matrix product {peak/1e9:.0f} GFLOP/s, load {record['load']:.1f}")
    for name,r in rows.items(): print(f"{name:16} {r['tokens_per_second']:>7,} tokens/s  {r['share_of_gemm']:.3f} of the matrix product  {r['peak_mib'] or 0:>6,} MiB")
    print(f'kotrans is {ratio:.2f} times as fast (median over {len(seconds["kotrans"])} rounds)')
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        Path(args.json).write_text(json.dumps(record, indent=1)+'\n')

if __name__=='__main__': main()
