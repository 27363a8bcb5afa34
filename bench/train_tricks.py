"""The tricks that make kotrans train fast, each with the plain form that it replaces, for the ladder of bench/train.py.

A trick is switched off by putting its plain form in the place of the library's function, so that the library needs no switch. The order is
that of the ladder: from all off, one after the other is switched on. What a trick needs of those before it stands in its plain form.

    python bench/train_tricks.py        trains a few steps without each trick, and fails where losses or gradients differ from those with all
"""
from contextlib import ExitStack,contextmanager
from unittest.mock import patch
import torch
import torch.nn.functional as F
from kotrans import attention,fast_linear,fused_loss,label_smoothing,training
from kotrans.distributed import DistributedTrainer

TRICKS = {}         # name -> (what it does in a few words, context manager that undoes it)
VARIANTS = {}       # the same for what others do and kotrans does not: name -> (words, context manager that does it)

def trick(name, says, table=TRICKS):
    "Note a function that gives the replacements `(owner, attribute, plain form)` which undo a trick"
    def note(f):
        @contextmanager
        def off():
            with ExitStack() as stack:
                for owner,attribute,plain in f(): stack.enter_context(patch.object(owner, attribute, plain))
                yield
        table[name] = says,off
        return f
    return note

@trick('pages', 'freed memory stays with the process')
def _(): return [(fast_linear, 'keep_freed_memory', lambda: False)]

@trick('adam', 'Adam in one kernel')
def _():
    def plain(model, c, device): return torch.optim.Adam(model.parameters(), lr=0., betas=(c.adam_beta1, c.adam_beta2), eps=c.adam_eps)
    return [(training, 'make_optimizer', plain)]

@trick('bits', 'dropout from raw random bits, added in one pass')
def _():
    def forward(self, x): return F.dropout(x, self.p, self.training)
    def add(self, x, y): return x + F.dropout(y, self.p, self.training)
    return [(fast_linear.FastDropout, 'forward', forward), (fast_linear.FastDropout, 'add', add)]

@trick('sdpa', "attention by PyTorch's own kernel")
def _(): return [(attention.F, 'scaled_dot_product_attention', lambda q, k, v, mask=None, p=0.: attention.scaled_dot_product_attention(q, k, v, mask, p)[0])]

@trick('loss', 'loss in closed form, without the target distribution')
def _():
    def forward(self, logits, target):
        vocab,target = logits.size(-1),target.reshape(-1)
        logp = logits.reshape(-1, vocab).log_softmax(-1)
        with torch.no_grad():
            q = torch.full_like(logp, self.smoothing/(vocab-2)).scatter_(1, target[:,None], 1-self.smoothing)
            q[:,self.pad] = 0
            real = target!=self.pad
            q *= real[:,None]
            nll = -logp.gather(1, target[:,None])[:,0].where(real, 0.)
        return label_smoothing.LossSums(F.kl_div(logp, q, reduction='sum'), nll.sum(), real.sum())
    return [(label_smoothing.LabelSmoothingLoss, 'forward', forward)]

@trick('states', 'output layer and loss in one, in chunks, without padding')
def _(): return [(fused_loss, '_can_fuse', lambda model, criterion: False)]

@trick('onednn', 'products by the faster library')
def _(): return [(fast_linear, 'use_onednn', lambda: False)]

@trick('qkv', 'one product for query, key and value', VARIANTS)
def _():
    forward = attention.MultiHeadAttention.forward
    def joined(self, query, key=None, value=None, mask=None, need_weights=False):
        if need_weights or (key is not None and key is not query): return forward(self, query, key, value, mask, need_weights)
        maps = self.q_proj,self.k_proj,self.v_proj
        y = fast_linear.linear(query, torch.cat([m.weight for m in maps]), torch.cat([m.bias for m in maps]))
        q,k,v = (self.split_heads(x) for x in y.chunk(3, -1))
        return self.out_proj(self.merge_heads(attention.F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.)))
    return [(attention.MultiHeadAttention, 'forward', joined)]

@trick('compile', 'layers compiled by torch.compile', VARIANTS)
def _():
    init = training.Trainer.__init__
    def compiled(self, model, config, *args, **kw): init(self, model, config.replace(compile=True), *args, **kw)
    return [(training.Trainer, '__init__', compiled)]

@contextmanager
def without(
    names, # Names of tricks, or of variants
): # The tricks are undone within, the variants done
    "Do without some tricks"
    with ExitStack() as stack:
        for n in names: stack.enter_context((TRICKS | VARIANTS)[n][1]())
        yield

def check(tolerance=1e-4):
    "Losses and gradient norms of six steps without dropout, without each trick and without all, against those with all"
    import numpy as np
    from kotrans.batching import Batch
    from kotrans.config import TransformerConfig
    from kotrans.encoding import EncodedCorpus
    from kotrans.transformer import Transformer
    from train import BOS,EOS,corpus,make_batches,rectangle
    rows = make_batches(corpus(500, 400), 2, 200)
    batches = [Batch(torch.from_numpy(rectangle([[*s, EOS] for s,_ in b])), torch.from_numpy(rectangle([[BOS, *t, EOS] for _,t in b])), torch.arange(len(b))) for b in rows]
    none = EncodedCorpus(np.arange(2), np.array([0, 2]), np.arange(2), np.array([0, 2]), np.arange(1))
    config = TransformerConfig(d_model=64, d_ff=128, num_heads=4, num_encoder_layers=2, num_decoder_layers=2, src_vocab_size=500, tgt_vocab_size=500, dropout=0., warmup_steps=10, device='cpu')
    def numbers(off):
        torch.manual_seed(0)
        with without(off):
            model = fast_linear.use_fast_linear(Transformer(config, 500, 500))
            trainer,out = DistributedTrainer(model, config, none, none, progress=False, with_loss=fused_loss.FusedModelWithLoss),[]
            for b in batches*3:
                s = trainer.train_step([b])
                out += [s['loss']/s['tokens'], s['nll']/s['tokens'], trainer.last_norm]
        return np.array(out)
    whole = numbers([])
    found = {name: float(abs(numbers(off)-whole).max()) for name,off in [*((n, [n]) for n in [*TRICKS, 'qkv']), ('all', [*TRICKS])]}
    for name,x in found.items(): print(f"{'with' if name in VARIANTS else 'without'} {name:8} differs by at most {x:.1e}   {(TRICKS | VARIANTS).get(name, [''])[0]}")
    return max(found.values())<tolerance

if __name__=='__main__': raise SystemExit(not check())
