"""One system in a process of its own, for bench/train.py: it builds the model, waits for `go`, and answers with the seconds it took.

Everything is imported where it is used, so that a peer's environment needs NumPy, torch and that peer alone. The batches come from a file
of arrays that all systems read; ids are 0 for padding, 1 unknown, 2 begin, 3 end, and words from 4 on.
"""
import argparse,math,sys,time
from contextlib import ExitStack,nullcontext
from functools import partial
import numpy as np
from turns import NotInstalled,channel,peak_mib,serve

PAD,UNK,BOS,EOS = 0,1,2,3
SIZES = dict(tiny=dict(d=32, ff=64, heads=2, layers=2, vocab=200), small=dict(d=256, ff=1024, heads=4, layers=3, vocab=8000), base=dict(d=512, ff=2048, heads=8, layers=6, vocab=16000),
             big=dict(d=1024, ff=4096, heads=16, layers=6, vocab=16000))
DROP,SMOOTH,CLIP,ADAM = .1,.1,1.,dict(lr=1e-4, betas=(.9, .98), eps=1e-9)

_forever = ExitStack()      # what is switched off stays so until the process ends

def load_batches(path):
    "The batches of `path` as pairs of tensors: sources that end in EOS, targets between BOS and EOS"
    import torch
    with np.load(path) as f: return [(torch.from_numpy(f[f'src{i}']), torch.from_numpy(f[f'tgt{i}'])) for i in range(len(f.files)//2)]

def encoded(rows):
    "An `EncodedCorpus` of pairs of source ids that end in EOS and target ids between BOS and EOS"
    from kotrans.encoding import EncodedCorpus
    flat = lambda xs: (np.concatenate(xs), np.concatenate([[0], np.cumsum([*map(len, xs)])]))
    return EncodedCorpus(*flat([np.asarray(s) for s,_ in rows]), *flat([np.asarray(t) for _,t in rows]), np.arange(len(rows)))

def autocast(a):
    "What forward passes are computed in: float32, or bfloat16 where that is enough"
    import torch
    return torch.autocast(a.device, torch.bfloat16) if a.precision=='bfloat16' else nullcontext()

def compiled(model, a):
    "The model to call, translated by torch.compile if that is asked for"
    import torch
    return torch.compile(model, dynamic=True) if a.compile else model

# Each system below takes (sizes, batches, settings) and gives: a function that makes one step, the batches as it wants them, what there is to tell.
# Of the settings it reads `tied`, `device`, `precision`, `compile`, and kotrans and the matrix product one more each

def kotrans_trainer(c, corpus, kind=None, tokenizers=(), **values):
    "The trainer of `kotrans-train`, put together as there, or another `kind`; `values` are further fields of its config"
    from kotrans.config import TransformerConfig
    from kotrans.distributed import DistributedTrainer
    from kotrans.fast_linear import use_fast_linear
    from kotrans.fused_loss import FusedModelWithLoss
    from kotrans.transformer import Transformer
    config = TransformerConfig(**dict(d_model=c['d'], d_ff=c['ff'], num_heads=c['heads'], num_encoder_layers=c['layers'], num_decoder_layers=c['layers'], src_vocab_size=c['vocab'],
                                      tgt_vocab_size=c['vocab'], batch_tokens=2048, dropout=DROP, label_smoothing=SMOOTH, grad_clip=CLIP, tie_embeddings=False, device='cpu') | values)
    model = use_fast_linear(Transformer(config, c['vocab'], c['vocab']))
    return (kind or DistributedTrainer)(model, config, corpus, corpus, tokenizers, progress=False, with_loss=FusedModelWithLoss)

def kotrans_system(c, batches, a):
    "The trainer of `kotrans-train`"
    import torch,kotrans
    from kotrans import fast_linear
    from kotrans.batching import Batch
    if a.without:
        from train_tricks import without
        _forever.enter_context(without(a.without.split(',')))
    corpus = encoded([(s[s!=PAD].numpy(), t[t!=PAD].numpy()) for b in batches for s,t in zip(*b)])
    trainer = kotrans_trainer(c, corpus, tie_embeddings=a.tied, device=a.device, precision=a.precision, compile=a.compile)
    fast_linear.keep_freed_memory()                                        # as `kotrans-train` does before the first epoch
    first = np.cumsum([0]+[len(s) for s,_ in batches])
    data = [Batch(s, t, torch.arange(i, i+len(s))).to(a.device) for (s,t),i in zip(batches, first)]
    def step(b): s = trainer.train_step([b]); return s['loss']/s['tokens']
    return step,data,dict(version=kotrans.__version__, model=trainer.model, dropout='embeddings with positions, sublayer outputs (the paper)', optimizer='Adam, fused')

def tutorial_system(c, batches, a):
    "`torch.nn.Transformer` between embeddings and an output layer, sentences in columns, as PyTorch's translation tutorial has it"
    import torch
    from torch import nn
    class Seq2Seq(nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = nn.Transformer(c['d'], c['heads'], c['layers'], c['layers'], c['ff'], DROP)
            self.generator,self.dropout = nn.Linear(c['d'], c['vocab']),nn.Dropout(DROP)
            self.src,self.tgt = nn.Embedding(c['vocab'], c['d']),nn.Embedding(c['vocab'], c['d'])
            self.register_buffer('positions', waves(c['d'])[:,None])
            for p in self.parameters():
                if p.dim()>1: nn.init.xavier_uniform_(p)
            if a.tied: self.generator.weight = self.tgt.weight
        def embed(self, table, ids): return self.dropout(table(ids)*math.sqrt(c['d']) + self.positions[:len(ids)])
        def forward(self, src, tgt):                                   # [len, batch]
            causal,none = nn.Transformer.generate_square_subsequent_mask(len(tgt), device=tgt.device),torch.zeros(len(src), len(src), device=src.device)
            blank = lambda ids: torch.zeros(ids.shape, device=ids.device).masked_fill_(ids==PAD, -math.inf).T
            return self.generator(self.transformer(self.embed(self.src, src), self.embed(self.tgt, tgt), none, causal, None, blank(src), blank(tgt), blank(src)))
    model,fused = Seq2Seq().to(a.device),a.device=='cuda' or None         # on a GPU, with the faster optimizer
    optimizer,criterion,run = torch.optim.Adam(model.parameters(), fused=fused, **ADAM),nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=SMOOTH),compiled(model, a)
    def step(batch):
        src,tgt = batch
        with autocast(a):
            logits = run(src, tgt[:-1])
            optimizer.zero_grad()
            loss = criterion(logits.reshape(-1, logits.shape[-1]), tgt[1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return loss.item()
    return step,[(s.T.contiguous().to(a.device), t.T.contiguous().to(a.device)) for s,t in batches],dict(version=torch.__version__, model=model,
        dropout='embeddings with positions, attention weights, inside the feed-forward network, sublayer outputs', optimizer='Adam, fused' if fused else 'Adam')

def waves(d, n=512):
    "Sines and cosines of positions `[n, d]`"
    import torch
    pos = torch.arange(n, dtype=torch.float64)[:,None] * 10000.**(-torch.arange(0, d, 2, dtype=torch.float64)/d)
    return torch.stack([pos.sin(), pos.cos()], -1).flatten(1).float()

def annotated_system(c, batches, a):
    "Written out from the paper, in the manner of the Annotated Transformer: attention as matrices, a norm of one's own, KL divergence from a distribution built for each batch"
    import torch
    from torch import nn
    d = c['d']
    class Norm(nn.Module):
        def __init__(self): super().__init__(); self.scale,self.shift = nn.Parameter(torch.ones(d)),nn.Parameter(torch.zeros(d))
        def forward(self, x): return self.scale*(x-x.mean(-1, keepdim=True))/(x.std(-1, keepdim=True)+1e-6) + self.shift
    class Attention(nn.Module):
        def __init__(self): super().__init__(); self.q,self.k,self.v,self.o = (nn.Linear(d, d) for _ in range(4)); self.dropout = nn.Dropout(DROP)
        def forward(self, query, key, mask):
            q,k,v = (f(x).view(len(x), -1, c['heads'], d//c['heads']).transpose(1, 2) for f,x in ((self.q, query), (self.k, key), (self.v, key)))
            scores = (q @ k.transpose(-2, -1)/math.sqrt(q.size(-1))).masked_fill(~mask, -1e9)
            return self.o((self.dropout(scores.softmax(-1)) @ v).transpose(1, 2).contiguous().view(len(query), -1, d))
    class Sublayer(nn.Module):
        def __init__(self): super().__init__(); self.norm,self.dropout = Norm(),nn.Dropout(DROP)
        def forward(self, x, f): return x + self.dropout(f(self.norm(x)))
    class Layer(nn.Module):
        def __init__(self, attentions):
            super().__init__()
            self.attention,self.path = nn.ModuleList(Attention() for _ in range(attentions)),nn.ModuleList(Sublayer() for _ in range(attentions+1))
            self.ff = nn.Sequential(nn.Linear(d, c['ff']), nn.ReLU(), nn.Dropout(DROP), nn.Linear(c['ff'], d))
        def forward(self, x, mask, memory=None, memory_mask=None):
            x = self.path[0](x, lambda y: self.attention[0](y, y, mask))
            if memory is not None: x = self.path[1](x, lambda y: self.attention[1](y, memory, memory_mask))
            return self.path[-1](x, self.ff)
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.src,self.tgt,self.dropout = nn.Embedding(c['vocab'], d),nn.Embedding(c['vocab'], d),nn.Dropout(DROP)
            self.register_buffer('positions', waves(d))
            self.encoder,self.decoder = (nn.ModuleList(Layer(k) for _ in range(c['layers'])) for k in (1, 2))
            self.norms,self.generator = nn.ModuleList([Norm(), Norm()]),nn.Linear(d, c['vocab'])
            for p in self.parameters():
                if p.dim()>1: nn.init.xavier_uniform_(p)
            if a.tied: self.generator.weight = self.tgt.weight
        def embed(self, table, ids): return self.dropout(table(ids)*math.sqrt(d) + self.positions[:ids.shape[1]])
        def forward(self, src, tgt, src_mask, tgt_mask):
            x,y = self.embed(self.src, src),self.embed(self.tgt, tgt)
            for layer in self.encoder: x = layer(x, src_mask)
            x = self.norms[0](x)
            for layer in self.decoder: y = layer(y, tgt_mask, x, src_mask)
            return self.generator(self.norms[1](y)).log_softmax(-1)
    model,kl = Model(),nn.KLDivLoss(reduction='sum')
    optimizer = torch.optim.Adam(model.parameters(), **ADAM)
    def smoothed(logp, gold):
        q = torch.full_like(logp, SMOOTH/(c['vocab']-2))
        q.scatter_(1, gold[:,None], 1-SMOOTH)
        q[:,PAD] = 0
        return q.index_fill_(0, (gold==PAD).nonzero()[:,0], 0.)
    def step(batch):
        src,tgt,tokens = batch
        src_mask,given,gold = (src!=PAD)[:,None,None],tgt[:,:-1],tgt[:,1:].reshape(-1)
        tgt_mask = (given!=PAD)[:,None,None] & torch.ones(given.shape[1], given.shape[1], dtype=torch.bool).tril()
        logp = model(src, given, src_mask, tgt_mask).view(-1, c['vocab'])
        loss = kl(logp, smoothed(logp.detach(), gold))/tokens
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()
    return step,[(s, t, int((t[:,1:]!=PAD).sum())) for s,t in batches],dict(version=torch.__version__, model=model,
        dropout='embeddings with positions, attention weights, inside the feed-forward network, sublayer outputs', optimizer='Adam')

def marian_system(c, batches, a, fused=False):
    "Hugging Face's `MarianMTModel` and label smoother, in a loop of one's own, or with the optimizer that its `Trainer` takes by default"
    import torch
    try: import transformers
    except ImportError: raise NotInstalled('transformers') from None
    from transformers import MarianConfig,MarianMTModel
    from transformers.trainer_pt_utils import LabelSmoother
    transformers.logging.set_verbosity_error()
    model = MarianMTModel(MarianConfig(vocab_size=c['vocab'], decoder_vocab_size=c['vocab'], share_encoder_decoder_embeddings=False, tie_word_embeddings=a.tied, d_model=c['d'],
        encoder_layers=c['layers'], decoder_layers=c['layers'], encoder_attention_heads=c['heads'], decoder_attention_heads=c['heads'], encoder_ffn_dim=c['ff'], decoder_ffn_dim=c['ff'],
        activation_function='relu', dropout=DROP, attention_dropout=0., activation_dropout=0., scale_embedding=True, max_position_embeddings=512, use_cache=False,
        pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS, decoder_start_token_id=BOS, forced_eos_token_id=EOS)).train().to(a.device)
    run = compiled(model, a)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0., fused=True, **ADAM) if fused else torch.optim.Adam(model.parameters(), **ADAM)
    smoother = LabelSmoother(epsilon=SMOOTH)
    def step(batch):
        src,seen,given,labels = batch
        with autocast(a): loss = smoother(run(input_ids=src, attention_mask=seen, decoder_input_ids=given), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        model.zero_grad()
        return loss.item()
    return step,[[x.to(a.device) for x in (s, (s!=PAD).long(), t[:,:-1].contiguous(), t[:,1:].masked_fill(t[:,1:]==PAD, -100))] for s,t in batches],dict(version=transformers.__version__, model=model,
        dropout="embeddings with positions, sublayer outputs (its default)", optimizer='AdamW, fused' if fused else 'Adam', attention=model.config._attn_implementation)

def joey_system(c, batches, a):
    "JoeyNMT's model, loss, `Batch`, optimizer and the body of its training step"
    import logging
    from types import SimpleNamespace
    logging.disable(logging.CRITICAL)
    try: import joeynmt
    except ImportError: raise NotInstalled('joeynmt') from None
    import torch
    from importlib.metadata import version
    from joeynmt.batch import Batch
    from joeynmt.builders import build_gradient_clipper,build_optimizer
    from joeynmt.model import build_model
    from joeynmt.vocabulary import Vocabulary
    special = SimpleNamespace(unk_token='<unk>', pad_token='<pad>', bos_token='<s>', eos_token='</s>', sep_token=None, unk_id=0, pad_id=1, bos_id=2, eos_id=3, sep_id=None, lang_tags=[])
    vocab = Vocabulary([f'w{i}' for i in range(4, c['vocab'])], special)
    side = dict(type='transformer', num_layers=c['layers'], num_heads=c['heads'], embeddings=dict(embedding_dim=c['d'], scale=True, dropout=DROP), hidden_size=c['d'], ff_size=c['ff'],
                dropout=DROP, layer_norm='pre', activation='relu')
    copy = lambda: dict(side, embeddings=dict(side['embeddings']))
    config = dict(initializer='xavier_uniform', embed_initializer='xavier_uniform', embed_init_gain=1., init_gain=1., bias_initializer='zeros', tied_embeddings=False, tied_softmax=a.tied,
                  encoder=copy(), decoder=copy())
    model = build_model(config, src_vocab=vocab, trg_vocab=vocab)
    model.loss_function = ('crossentropy', SMOOTH)
    model.train()
    training = dict(optimizer='adam', learning_rate=ADAM['lr'], adam_betas=ADAM['betas'], clip_grad_norm=CLIP, clip_grad_val=None)
    optimizer,clip = build_optimizer(training, model.parameters()),build_gradient_clipper(training)
    its = lambda ids: ids.masked_fill(ids==UNK, 0).masked_fill(ids==PAD, 1)       # its ids of unknown and padding are the other way round
    def step(b):
        src,length,trg = b
        batch = Batch(src=src, src_length=length, src_prompt_mask=None, trg=trg, trg_prompt_mask=None, indices=torch.arange(len(src)), device=torch.device('cpu'),
                      pad_index=1, eos_index=3, is_train=True)
        batch.sort_by_src_length()
        loss,_,_,correct = model(return_type='loss', **vars(batch))
        loss = batch.normalize(loss, normalization='tokens', n_gpu=0, n_accumulation=1)
        loss.backward()
        value = loss.item(); correct.item()
        clip(parameters=model.parameters())
        optimizer.step()
        optimizer.zero_grad()
        return value
    return step,[(its(s), (s!=PAD).sum(1), its(t)) for s,t in batches],dict(version=version('joeynmt'), model=model,
        dropout='embeddings with positions, attention weights, inside the feed-forward network, sublayer outputs', optimizer='Adam')

def gemm_system(c, batches, a):
    "Operations a second of a square matrix product in the precision of the systems: the best of a few, by `torch.mm` and by oneDNN, which on some processors is much the faster"
    import torch
    n,how = a.product,dict(device=a.device, dtype=getattr(torch, a.precision))
    x,y,out = torch.randn(n, n, **how),torch.randn(n, n, **how),torch.empty(n, n, **how)
    wait = torch.cuda.synchronize if a.device=='cuda' else lambda: None
    ways = {'torch.mm': lambda: torch.mm(x, y, out=out)}
    try:
        if a.device!='cpu' or a.precision!='float32': raise RuntimeError
        torch.ops.mkldnn._linear_pointwise(x, y, None, 'none', [], '')
        ways['oneDNN'] = lambda: torch.ops.mkldnn._linear_pointwise(x, y, None, 'none', [], '')
    except (AttributeError, RuntimeError): pass
    def step(_):
        best = {}
        for name,product in ways.items():
            for _ in range(5):
                wait(); start = time.perf_counter()
                product(); wait()
                best[name] = max(best.get(name, 0.), 2*n**3/(time.perf_counter()-start))
        return best
    return step,[None],dict(version=torch.__version__, model=None)

SYSTEMS = {'kotrans': kotrans_system, 'nn.Transformer': tutorial_system, 'annotated': annotated_system, 'Marian': marian_system, 'Marian, fused': partial(marian_system, fused=True), 'JoeyNMT': joey_system, 'gemm': gemm_system}

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('system', choices=SYSTEMS); p.add_argument('batches'); p.add_argument('--size', choices=SIZES, default='small')
    p.add_argument('--threads', type=int, default=1); p.add_argument('--warm', type=int, default=0, help='batches to train on before the first round; 0 takes each of them once')
    p.add_argument('--seed', type=int, default=0); p.add_argument('--tied', action='store_true'); p.add_argument('--without', default='')
    a = p.parse_args()
    a.device,a.precision,a.compile,a.product = 'cpu','float32',False,2048         # bench/gpu.py has others
    say = channel()
    import torch
    torch.set_num_threads(a.threads); torch.manual_seed(a.seed)
    batches = load_batches(a.batches)
    imported = peak_mib()
    try: step,data,about = SYSTEMS[a.system](SIZES[a.size], batches, a)
    except NotInstalled as e: return say(missing=str(e))
    model = about.pop('model')
    order = sorted(range(len(data)), key=lambda i: -(batches[i][1].numel() if data[i] is not None else 0))     # the largest first, so that a short warm-up meets it
    losses = [step(data[i]) for i in order[:a.warm or None]]
    say(**about, parameters=sum(x.numel() for x in model.parameters()) if model else 0, torch=torch.__version__, python=sys.version.split()[0], imported_mib=imported, first=losses[0])
    serve(say, go=lambda: [step(x) for x in data][-1])

if __name__=='__main__': main()
