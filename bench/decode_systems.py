"""One decoder in a process of its own, for bench/decode.py: it loads the weights, waits, and answers with the time and its translations.

Everything is imported where it is used, so that a peer's environment needs NumPy, torch and that peer alone. Weights and sources come from a
file that all systems read; ids are 0 for padding, 1 unknown, 2 begin, 3 end, and words from 4 on.
"""
import argparse,multiprocessing,sys,time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
import torch
from turns import NotInstalled,channel,cpu_seconds,peak_mib,serve

PAD,UNK,BOS,EOS = 0,1,2,3
SIZES = dict(tiny=dict(d_model=128, d_ff=512, num_heads=4, num_encoder_layers=2, num_decoder_layers=2, vocab=4000),
             small=dict(d_model=256, d_ff=1024, num_heads=4, num_encoder_layers=3, num_decoder_layers=3, vocab=8000),
             base=dict(d_model=512, d_ff=2048, num_heads=8, num_encoder_layers=6, num_decoder_layers=6, vocab=16000))

def padded(rows, device='cpu'):
    "Sources as a rectangle, each with its end mark"
    n = max(map(len, rows))+1
    return torch.tensor([[*r, EOS]+[PAD]*(n-1-len(r)) for r in rows], device=device)

def kotrans_model(size):
    "An untrained `Transformer` of one of the sizes"
    from kotrans.config import TransformerConfig
    from kotrans.transformer import Transformer
    c = dict(SIZES[size]); v = c.pop('vocab')
    return Transformer(TransformerConfig(**c, tie_embeddings=False, max_len=512), v, v).eval()

# A system is a function of (weights, arguments) that gives a function from a batch of sources to its translations, and what there is to tell.
# `a.device` and `bf16` are asked of kotrans and of Hugging Face alone, by bench/gpu.py

def kotrans_system(w, a, int8=False, bf16=False):
    "The library's own search"
    import kotrans
    from kotrans.fast_decoding import SearchOptions,search
    from kotrans.packing import pack
    from kotrans.fast_linear import keep_freed_memory
    model = kotrans_model(a.size)
    model.load_state_dict(w)
    model = pack(model.to(a.device), int8, bf16)
    o = SearchOptions(method='beam' if a.beam>1 else 'greedy', beam_size=a.beam, max_len_a=0, max_len_b=a.length, min_len_b=a.length, length_penalty=1., length_norm='length')
    return lambda rows: [h[0].tokens for h in search(model, padded(rows, a.device), o, scores=False)], kotrans.__version__

def plain_system(w, a):
    "The plain search of `kotrans.decoding`, which is for reading"
    import kotrans
    from kotrans.decoding import beam_search,greedy_search
    model = kotrans_model(a.size)
    model.load_state_dict(w)
    model.output_proj.bias = torch.nn.Parameter(torch.zeros(SIZES[a.size]['vocab']))
    with torch.no_grad(): model.output_proj.bias[EOS] = -1e4          # never ends by itself
    @torch.inference_mode()
    def one(rows):
        found = greedy_search(model, padded(rows), a.length) if a.beam==1 else [x[0] for x in beam_search(model, padded(rows), a.beam, 1., a.length)]
        return [h.tokens for h in found]
    return one, kotrans.__version__

def marian_weights(w, c):
    "Weights under the names that Marian has for them in transformers"
    sd,d = {},c['d_model']
    even = [*range(0, d, 2), *range(1, d, 2)]          # we interleave sines and cosines, Marian has the sines first: the same model with its dimensions renumbered
    put = lambda name,w,rows=False,cols=False: sd.__setitem__(name, (w[even] if rows else w)[..., even] if cols else (w[even] if rows else w))
    put('model.encoder.embed_tokens.weight', w['src_embed.weight'], cols=True); put('model.decoder.embed_tokens.weight', w['tgt_embed.weight'], cols=True)
    put('lm_head.weight', w['output_proj.weight'], cols=True); sd['final_logits_bias'] = torch.zeros(1, c['vocab'])
    for side,n in (('encoder', c['num_encoder_layers']), ('decoder', c['num_decoder_layers'])):
        for i in range(n):
            ours,theirs = f'{side}.{i}',f'model.{side}.layers.{i}'
            for x,y in (('self_attn', 'self_attn'), ('cross_attn', 'encoder_attn'))[:2 if side=='decoder' else 1]:
                for p in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
                    for z in ('weight', 'bias'): put(f'{theirs}.{y}.{p}.{z}', w[f'{ours}.{x}.{p}.{z}'], rows=p=='out_proj', cols=p!='out_proj' and z=='weight')
                for z in ('weight', 'bias'): put(f'{theirs}.{y}_layer_norm.{z}', w[f'{ours}.{x}_res.norm.{z}'], rows=True)
            for x,y,rows in (('linear1', 'fc1', False), ('linear2', 'fc2', True)):
                for z in ('weight', 'bias'): put(f'{theirs}.{y}.{z}', w[f'{ours}.ffn.{x}.{z}'], rows=rows, cols=not rows and z=='weight')
            for z in ('weight', 'bias'): put(f'{theirs}.final_layer_norm.{z}', w[f'{ours}.ffn_res.norm.{z}'], rows=True)
    return sd

def transformers_system(w, a, bf16=False):
    "`generate` of Hugging Face's `MarianMTModel`"
    try: import transformers
    except ImportError: raise NotInstalled('transformers') from None
    transformers.logging.set_verbosity_error()
    c = SIZES[a.size]; v = c['vocab']
    m = transformers.MarianMTModel(transformers.MarianConfig(vocab_size=v, decoder_vocab_size=v, d_model=c['d_model'], encoder_layers=c['num_encoder_layers'], decoder_layers=c['num_decoder_layers'],
        encoder_attention_heads=c['num_heads'], decoder_attention_heads=c['num_heads'], encoder_ffn_dim=c['d_ff'], decoder_ffn_dim=c['d_ff'], activation_function='relu',
        scale_embedding=True, max_position_embeddings=512, share_encoder_decoder_embeddings=False, tie_word_embeddings=False,
        pad_token_id=PAD, eos_token_id=EOS, bos_token_id=BOS, decoder_start_token_id=BOS, forced_eos_token_id=None)).eval()
    missing = m.load_state_dict(marian_weights(w, c), strict=False)
    assert not missing.unexpected_keys and all('embed_positions' in k for k in missing.missing_keys), missing
    m = m.to(a.device, torch.bfloat16 if bf16 else torch.float32)
    @torch.inference_mode()
    def one(rows):
        x = padded(rows, a.device)
        return m.generate(input_ids=x, attention_mask=(x!=PAD).long(), num_beams=a.beam, do_sample=False, min_new_tokens=a.length, max_new_tokens=a.length,
                          length_penalty=1., early_stopping=False)[:, 1:a.length+1].tolist()
    return one, transformers.__version__

def joey_system(w, a):
    "JoeyNMT's search"
    import logging
    from types import SimpleNamespace
    logging.disable(logging.CRITICAL)
    try: from joeynmt import search
    except ImportError: raise NotInstalled('joeynmt') from None
    from importlib.metadata import version
    from joeynmt.model import build_model
    from joeynmt.vocabulary import Vocabulary
    c = SIZES[a.size]
    special = SimpleNamespace(unk_token='<unk>', pad_token='<pad>', bos_token='<s>', eos_token='</s>', sep_token=None, unk_id=0, pad_id=1, bos_id=2, eos_id=3, sep_id=None, lang_tags=[])
    vocab = Vocabulary([f'w{i}' for i in range(4, c['vocab'])], special)
    side = lambda n: dict(type='transformer', num_layers=n, num_heads=c['num_heads'], embeddings=dict(embedding_dim=c['d_model'], scale=True, dropout=0.), hidden_size=c['d_model'], ff_size=c['d_ff'],
                          dropout=0., layer_norm='post', activation='relu')
    m = build_model(dict(initializer='xavier_uniform', embed_initializer='xavier_uniform', embed_init_gain=1., init_gain=1., bias_initializer='zeros', tied_embeddings=False, tied_softmax=False,
                         encoder=side(c['num_encoder_layers']), decoder=side(c['num_decoder_layers'])), src_vocab=vocab, trg_vocab=vocab).eval()
    swap = lambda table: table[[1, 0, *range(2, len(table))]]             # its ids of unknown and padding are the other way round
    sd = {'src_embed.lut.weight': swap(w['src_embed.weight']), 'trg_embed.lut.weight': swap(w['tgt_embed.weight']), 'decoder.output_layer.weight': swap(w['output_proj.weight'])}
    for side_,attentions,norms in (('encoder', dict(self_attn='src_src_att'), dict(self_attn='layer_norm')),
                                   ('decoder', dict(self_attn='trg_trg_att', cross_attn='src_trg_att'), dict(self_attn='x_layer_norm', cross_attn='dec_layer_norm'))):
        for i in range(c[f'num_{side_}_layers']):
            ours,theirs = f'{side_}.{i}',f'{side_}.layers.{i}'
            for z in ('weight', 'bias'):
                for x,y in attentions.items():
                    for p,q in (('q_proj', 'q_layer'), ('k_proj', 'k_layer'), ('v_proj', 'v_layer'), ('out_proj', 'output_layer')): sd[f'{theirs}.{y}.{q}.{z}'] = w[f'{ours}.{x}.{p}.{z}']
                    sd[f'{theirs}.{norms[x]}.{z}'] = w[f'{ours}.{x}_res.norm.{z}']
                for x,y in (('linear1', 0), ('linear2', 3)): sd[f'{theirs}.feed_forward.pwff_layer.{y}.{z}'] = w[f'{ours}.ffn.{x}.{z}']
                sd[f'{theirs}.feed_forward.layer_norm.{z}'] = w[f'{ours}.ffn_res.norm.{z}']
    missing = m.load_state_dict(sd, strict=False)
    assert not missing.unexpected_keys and all(k.endswith('.pe') for k in missing.missing_keys), missing
    its = lambda ids: torch.where(ids==PAD, 1, torch.where(ids==UNK, 0, ids))
    @torch.inference_mode()
    def one(rows):
        x = its(padded(rows))
        mask = (x!=1)[:, None]
        memory,hidden,_,_ = m(return_type='encode', src=x, src_length=(x!=1).sum(1), src_mask=mask)
        given = dict(model=m, max_output_length=a.length, min_output_length=a.length, src_mask=mask, encoder_output=memory, encoder_hidden=hidden, generate_unk=True, return_attention=False, return_prob='none')
        found = search.greedy(**given)[0] if a.beam==1 else search.beam_search(beam_size=a.beam, alpha=1., n_best=1, **given)[0]
        return [[{1: PAD, 0: UNK}.get(y, y) for y in row[:a.length]] for row in found.tolist()]
    return one, version('joeynmt')

def ctranslate2_system(w, a, compute='float32'):
    "CTranslate2, which divides a list into batches and among its workers by itself"
    try: import ctranslate2 as ct
    except ImportError: raise NotInstalled('ctranslate2') from None
    import tempfile
    from kotrans.export_ctranslate2 import transformer_spec
    model = kotrans_model(a.size)
    model.load_state_dict(w)
    spec = transformer_spec(model, 512)
    words = ['<blank>', '<unk>', '<s>', '</s>']+[f'w{i}' for i in range(4, SIZES[a.size]['vocab'])]
    spec.register_source_vocabulary(words); spec.register_target_vocabulary(words)
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.config.decoder_start_token,spec.config.eos_token,spec.config.unk_token = '<s>','</s>','<unk>'
    spec.validate()
    folder = tempfile.mkdtemp(); spec.save(folder)
    t,number = ct.Translator(folder, device='cpu', compute_type=compute, inter_threads=a.workers, intra_threads=a.threads),{x: i for i,x in enumerate(words)}
    def some(rows):
        found = t.translate_batch([[*(words[i] for i in s), '</s>'] for s in rows], max_batch_size=a.batch, beam_size=a.beam, min_decoding_length=a.length, max_decoding_length=a.length, length_penalty=1)
        return [[number[x] for x in f.hypotheses[0]] for f in found]
    return some, ct.__version__

SYSTEMS = {'kotrans': kotrans_system, 'kotrans int8': partial(kotrans_system, int8=True), 'kotrans, plain beam': plain_system, 'Hugging Face': transformers_system, 'JoeyNMT': joey_system,
           'CTranslate2': ctranslate2_system, 'CTranslate2 int8': partial(ctranslate2_system, compute='int8')}

# Several workers: threads or processes, each with one thread of its own and every batch to the next who is free

_one = None
def _begin(weights, a):
    global _one
    torch.set_num_threads(a.threads)
    _one = SYSTEMS[a.system](torch.load(weights)['weights'], a)[0]
def _work(rows): return _one(rows)
def _use(_): time.sleep(.1); return cpu_seconds(),peak_mib()

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('system', choices=SYSTEMS); p.add_argument('weights'); p.add_argument('--size', choices=SIZES); p.add_argument('--beam', type=int); p.add_argument('--batch', type=int); p.add_argument('--length', type=int)
    p.add_argument('--workers', type=int, default=1); p.add_argument('--threads', type=int, default=1, help='of each worker'); p.add_argument('--processes', action='store_true'); p.add_argument('--alone', type=int, default=0); p.add_argument('--every', type=int, default=1)
    a = p.parse_args()
    a.device = 'cpu'
    say,given = channel(),torch.load(a.weights)
    sources,alone,cpu,peak = given['sources'],given['shuffled'][:a.alone],cpu_seconds,peak_mib
    batches = [sources[i:i+a.batch] for i in range(0, len(sources), a.batch*a.every)]
    torch.set_num_threads(a.threads)
    try: one,version = SYSTEMS[a.system](given['weights'], a)
    except NotInstalled as e: return say(missing=str(e))
    if a.system.startswith('CTranslate2'): every = lambda: one(sources)
    elif a.workers==1: every = lambda: [y for rows in batches for y in one(rows)]
    elif a.processes:
        del one
        pool = multiprocessing.get_context('spawn').Pool(a.workers, _begin, (a.weights, a))
        uses = lambda: pool.map(_use, range(a.workers), 1)
        every = lambda: [y for ys in pool.imap(_work, batches) for y in ys]
        cpu,peak = lambda: cpu_seconds()+sum(c for c,_ in uses()),lambda: sum(m for _,m in uses())
    else:
        pool = ThreadPoolExecutor(a.workers, initializer=lambda: torch.set_num_threads(1))
        every = lambda: [y for ys in pool.map(one, batches) for y in ys]
    def each():
        times = []
        for s in alone:
            start = time.perf_counter(); one([s])
            times.append(time.perf_counter()-start)
        return times
    first = each() if a.alone else every()
    say(version=version, torch=torch.__version__, python=sys.version.split()[0], first=None if a.alone else first)
    serve(say, cpu, peak, go=lambda: every() and None, each=each)
    if a.processes: pool.terminate(); pool.join()

if __name__=='__main__': main()
