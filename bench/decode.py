"""Decoding speed: the same random weights in kotrans and, where they are installed, in transformers and ctranslate2.

Every system translates the same sentences into exactly --length tokens, sorted by length, in batches of --batch. The systems take turns
within each round, so that a busy moment of the machine falls on all of them; the median of --rounds is reported, and the ratios to the
first system mean more than the numbers. One JSON file is written to bench/results/.

    python bench/decode.py --sentences 64                   a minute
    python bench/decode.py --size small --rounds 5          the whole table
"""
import argparse,json,math,multiprocessing,os,platform,resource,statistics,sys,tempfile,time,warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
import torch
from kotrans.config import BOS,EOS,PAD,TransformerConfig
from kotrans.fast_decoding import SearchOptions,pack,search
from kotrans.transformer import Transformer

SIZES = dict(tiny=dict(d_model=128, d_ff=512, num_heads=4, num_encoder_layers=2, num_decoder_layers=2, vocab=4000),
             small=dict(d_model=256, d_ff=1024, num_heads=4, num_encoder_layers=3, num_decoder_layers=3, vocab=8000),
             base=dict(d_model=512, d_ff=2048, num_heads=8, num_encoder_layers=6, num_decoder_layers=6, vocab=16000))

p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
p.add_argument('--sentences', type=int, default=1000)
p.add_argument('--size', choices=SIZES, default='small')
p.add_argument('--batch', type=int, default=64)
p.add_argument('--length', type=int, default=20)
p.add_argument('--rounds', type=int, default=3)
p.add_argument('--beams', type=int, nargs='+', default=[1, 4])
p.add_argument('--cores', type=int, default=min(2, os.cpu_count()))
p.add_argument('--only', nargs='+', default=[], help='systems whose name begins so')
p.add_argument('--skip', nargs='+', default=[], help='systems whose name holds one of these')
p.add_argument('--out', default='')

def make_model(size):
    torch.manual_seed(3)
    c = dict(SIZES[size]); v = c.pop('vocab')
    m = Transformer(TransformerConfig(**c, tie_embeddings=False, max_len=512), v, v).eval()
    with torch.no_grad(): m.output_proj.weight.mul_(3.)          # less evenly distributed than at the start of training
    return m

def make_sources(n, vocab):
    g = torch.Generator().manual_seed(7)
    lengths = (torch.randn(n, generator=g)*.6+2.8).exp().round().clamp(1, 99).int().tolist()
    return sorted((torch.randint(4, vocab, (k,), generator=g).tolist() for k in lengths), key=len, reverse=True)

def batches(a, srcs): return [srcs[i:i+a.batch] for i in range(0, len(srcs), a.batch)]

def padded(rows):
    n = max(map(len, rows))+1
    return torch.tensor([[*r, EOS]+[PAD]*(n-1-len(r)) for r in rows])

def options(a, beam): return SearchOptions(method='beam' if beam>1 else 'greedy', beam_size=beam, max_len_a=0, max_len_b=a.length, min_len_b=a.length, length_penalty=1., penalty='length')

# A system is a function of (a, beam, sources) that gives a function without arguments, which gives the translations in order.

def ours(a, beam, srcs, int8=False, workers=1, packed=True):
    model,o = make_model(a.size),options(a, beam)
    if packed: model = pack(model, int8)
    one = lambda rows: [h[0].tokens for h in search(model, padded(rows), o, scores=False)]
    def go():
        if workers==1: torch.set_num_threads(a.cores); return [y for rows in batches(a, srcs) for y in one(rows)]
        with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1)) as pool: return [y for ys in pool.map(one, batches(a, srcs)) for y in ys]
    return go

_one = None
def _child(size, int8, o):
    global _one
    torch.set_num_threads(1)
    model = pack(make_model(size), int8)
    _one = lambda rows: [h[0].tokens for h in search(model, padded(rows), o, scores=False)]
def _work(rows): return _one(rows)

def ours_processes(a, beam, srcs, int8=False):
    pool = multiprocessing.get_context('spawn').Pool(a.cores, _child, (a.size, int8, options(a, beam)))
    def go(): return [y for ys in pool.imap(_work, batches(a, srcs)) for y in ys]
    go.close = lambda: (pool.terminate(), pool.join())
    return go

def plain(a, beam, srcs):
    from kotrans.decoding import beam_search,greedy_search
    model = make_model(a.size)
    model.output_proj.bias = torch.nn.Parameter(torch.zeros(SIZES[a.size]['vocab']))
    with torch.no_grad(): model.output_proj.bias[EOS] = -1e4          # never ends by itself
    def go():
        torch.set_num_threads(a.cores)
        with torch.inference_mode():
            found = [h for rows in batches(a, srcs) for h in (greedy_search(model, padded(rows), a.length) if beam==1 else [x[0] for x in beam_search(model, padded(rows), beam, 1., a.length)])]
        return [h.tokens for h in found]
    return go

def _marian(model, size):
    "Weights under the names that Marian has for them in transformers"
    c,sd = SIZES[size],{}
    d = c['d_model']
    even = [*range(0, d, 2), *range(1, d, 2)]          # we interleave sines and cosines, Marian has the sines first: the same model with its dimensions renumbered
    put = lambda name,w,rows=False,cols=False: sd.__setitem__(name, (w[even] if rows else w)[..., even] if cols else (w[even] if rows else w))
    w = {k: v.detach() for k,v in model.state_dict().items()}
    put('model.encoder.embed_tokens.weight', w['src_embed.weight'], cols=True); put('model.decoder.embed_tokens.weight', w['tgt_embed.weight'], cols=True)
    put('lm_head.weight', w['output_proj.weight'], cols=True); sd['final_logits_bias'] = torch.zeros(1, c['vocab'])
    for side,n in (('encoder', c['num_encoder_layers']), ('decoder', c['num_decoder_layers'])):
        for i in range(n):
            for ours_,theirs in (('self_attn', 'self_attn'), ('cross_attn', 'encoder_attn'))[:2 if side=='decoder' else 1]:
                for x,y in (('q_proj', 'q_proj'), ('k_proj', 'k_proj'), ('v_proj', 'v_proj'), ('out_proj', 'out_proj')):
                    for z in ('weight', 'bias'):
                        src = w[f'{side}.{i}.{ours_}.{x}.{z}']
                        put(f'model.{side}.layers.{i}.{theirs}.{y}.{z}', src, rows=x=='out_proj', cols=x!='out_proj' and z=='weight')
                put(f'model.{side}.layers.{i}.{theirs}_layer_norm.weight', w[f'{side}.{i}.{ours_}_res.norm.weight'], rows=True)
                put(f'model.{side}.layers.{i}.{theirs}_layer_norm.bias', w[f'{side}.{i}.{ours_}_res.norm.bias'], rows=True)
            put(f'model.{side}.layers.{i}.fc1.weight', w[f'{side}.{i}.ffn.linear1.weight'], cols=True); put(f'model.{side}.layers.{i}.fc1.bias', w[f'{side}.{i}.ffn.linear1.bias'])
            put(f'model.{side}.layers.{i}.fc2.weight', w[f'{side}.{i}.ffn.linear2.weight'], rows=True); put(f'model.{side}.layers.{i}.fc2.bias', w[f'{side}.{i}.ffn.linear2.bias'], rows=True)
            for z in ('weight', 'bias'): put(f'model.{side}.layers.{i}.final_layer_norm.{z}', w[f'{side}.{i}.ffn_res.norm.{z}'], rows=True)
    return sd

def hugging_face(a, beam, srcs):
    import transformers
    transformers.logging.set_verbosity_error()
    c = SIZES[a.size]; v = c['vocab']
    config = transformers.MarianConfig(vocab_size=v, decoder_vocab_size=v, d_model=c['d_model'], encoder_layers=c['num_encoder_layers'], decoder_layers=c['num_decoder_layers'],
        encoder_attention_heads=c['num_heads'], decoder_attention_heads=c['num_heads'], encoder_ffn_dim=c['d_ff'], decoder_ffn_dim=c['d_ff'], activation_function='relu',
        scale_embedding=True, max_position_embeddings=512, share_encoder_decoder_embeddings=False, tie_word_embeddings=False,
        pad_token_id=PAD, eos_token_id=EOS, bos_token_id=BOS, decoder_start_token_id=BOS, forced_eos_token_id=None)
    m = transformers.MarianMTModel(config).eval()
    missing = m.load_state_dict(_marian(make_model(a.size), a.size), strict=False)
    assert not missing.unexpected_keys and all('embed_positions' in k for k in missing.missing_keys), missing
    def go():
        torch.set_num_threads(a.cores)
        out = []
        with torch.inference_mode():
            for rows in batches(a, srcs):
                x = padded(rows)
                out += m.generate(input_ids=x, attention_mask=(x!=PAD).long(), num_beams=beam, do_sample=False, min_new_tokens=a.length, max_new_tokens=a.length,
                                  length_penalty=1., early_stopping=False)[:, 1:a.length+1].tolist()
        return out
    return go

def ctranslate2(a, beam, srcs, compute='float32', workers=1):
    import ctranslate2 as ct
    from ctranslate2.specs import TransformerSpec,common_spec
    c,w = SIZES[a.size],_marian(make_model(a.size), a.size)
    layers,d,v = c['num_encoder_layers'],c['d_model'],c['vocab']
    spec = TransformerSpec.from_config((layers, layers), c['num_heads'], pre_norm=False, activation=common_spec.Activation.RELU)
    def lin(s, *names): s.weight,s.bias = (torch.cat([w[f'{x}.{z}'] for x in names]).numpy() for z in ('weight', 'bias'))
    def norm(s, x): s.gamma,s.beta = w[x+'.weight'].numpy(),w[x+'.bias'].numpy()
    pos = torch.arange(512.)[:, None]*10000**-(torch.arange(d//2)*2/d); pos = torch.cat([pos.sin(), pos.cos()], 1).numpy()
    spec.encoder.embeddings[0].weight,spec.decoder.embeddings.weight = (w[f'model.{x}.embed_tokens.weight'].numpy() for x in ('encoder', 'decoder'))
    spec.decoder.projection.weight,spec.decoder.projection.bias = w['lm_head.weight'].numpy(),torch.zeros(v).numpy()
    for x in (spec.encoder, spec.decoder): x.position_encodings.encodings,x.scale_embeddings = pos,True
    for side,stack in (('encoder', spec.encoder), ('decoder', spec.decoder)):
        for i,l in enumerate(stack.layer):
            n = f'model.{side}.layers.{i}'
            lin(l.self_attention.linear[0], *(f'{n}.self_attn.{x}_proj' for x in 'qkv')); lin(l.self_attention.linear[1], f'{n}.self_attn.out_proj'); norm(l.self_attention.layer_norm, f'{n}.self_attn_layer_norm')
            if side=='decoder':
                e = f'{n}.encoder_attn'
                lin(l.attention.linear[0], e+'.q_proj'); lin(l.attention.linear[1], e+'.k_proj', e+'.v_proj'); lin(l.attention.linear[2], e+'.out_proj'); norm(l.attention.layer_norm, e+'_layer_norm')
            lin(l.ffn.linear_0, n+'.fc1'); lin(l.ffn.linear_1, n+'.fc2'); norm(l.ffn.layer_norm, n+'.final_layer_norm')
    words = ['<blank>', '<unk>', '<s>', '</s>']+[f'w{i}' for i in range(4, v)]
    spec.register_source_vocabulary(words); spec.register_target_vocabulary(words)
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.config.decoder_start_token,spec.config.eos_token,spec.config.unk_token = '<s>','</s>','<unk>'
    spec.validate()
    folder = tempfile.mkdtemp(); spec.save(folder)
    t,number = ct.Translator(folder, device='cpu', compute_type=compute, inter_threads=workers, intra_threads=max(1, a.cores//workers)),{x: i for i,x in enumerate(words)}
    tokens = [[*(words[i] for i in s), '</s>'] for s in srcs]
    def go():
        found = t.translate_batch(tokens, max_batch_size=a.batch, beam_size=beam, min_decoding_length=a.length, max_decoding_length=a.length, length_penalty=1)
        return [[number[x] for x in f.hypotheses[0]] for f in found]
    return go

def systems(a):
    n = a.cores
    out = {'kotrans fp32': ours, f'kotrans fp32, {n} threads': lambda *x: ours(*x, workers=n), f'kotrans fp32, {n} processes': ours_processes,
           'kotrans int8': lambda *x: ours(*x, int8=True), f'kotrans int8, {n} threads': lambda *x: ours(*x, int8=True, workers=n), f'kotrans int8, {n} processes': lambda *x: ours_processes(*x, int8=True),
           'kotrans fp32, not packed': lambda *x: ours(*x, packed=False), 'kotrans plain': plain}
    if find_spec('transformers'): out['transformers'] = hugging_face
    if find_spec('ctranslate2'):
        for kind in ('float32', 'int8'):
            for w in sorted({1, n}): out[f'ctranslate2 {kind}, {w} workers'] = lambda *x,kind=kind,w=w: ctranslate2(*x, kind, w)
    return {k: f for k,f in out.items() if (not a.only or any(k.startswith(o) for o in a.only)) and not any(o in k for o in a.skip)}

def main():
    a = p.parse_args()
    warnings.filterwarnings('ignore')
    srcs,results = make_sources(a.sentences, SIZES[a.size]['vocab']),[]
    for beam in a.beams:
        runs = {k: f(a, beam, srcs) for k,f in systems(a).items()}
        outputs = {k: go() for k,go in runs.items()}                 # warms up too
        first = next(iter(outputs.values()))
        assert all(len(y)==a.length for out in outputs.values() for y in out), {k: sorted({len(y) for y in out}) for k,out in outputs.items()}
        times = {k: [] for k in runs}
        for _ in range(a.rounds):
            for k,go in runs.items():
                start = time.perf_counter(); go()
                times[k].append(time.perf_counter()-start)
        for go in runs.values(): getattr(go, 'close', lambda: None)()
        base = statistics.median(times[next(iter(times))])
        for k,t in times.items():
            m = statistics.median(t)
            results.append(dict(system=k, beam=beam, sentences_per_s=round(a.sentences/m, 1), ratio=round(base/m, 3), seconds=[round(x, 3) for x in t],
                                same=round(sum(x==y for x,y in zip(outputs[k], first))/len(first), 4)))
            print(f"beam {beam}  {k:32} {a.sentences/m:8.1f} sentences/s  {base/m:5.2f}x  same output {results[-1]['same']:.1%}", flush=True)
    versions = {k: getattr(__import__(k), '__version__', '') for k in ('torch', 'transformers', 'ctranslate2') if find_spec(k)}
    record = dict(bench='decode', size=a.size, sentences=a.sentences, length=a.length, batch=a.batch, rounds=a.rounds, cores=a.cores, load=os.getloadavg(), python=platform.python_version(),
                  machine=platform.processor() or platform.machine(), peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024, versions=versions, results=results)
    path = Path(a.out or Path(__file__).parent/'results'/f'decode-{a.size}.json')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1)+'\n')
    print(path)

if __name__=='__main__': main()
