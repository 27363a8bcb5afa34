"""The ladder of an hour: single changes of the recipe of `small`, each trained for some minutes of one core, and judged by the validation set.

    python bench/rungs.py runs/rungs --data data/open --minutes 6 --only 'muon;dropout 0;width 192' --json results/rungs.json
    python bench/rungs.py runs/hours --data data/open --minutes 59.5 --only 'hour;hour, width 192' --score test=data/open/test --json results/rungs_hour.json

`--data` is a folder such as `kotrans-split-data` makes, or a user's own. Without `--only` all of `RUNGS` are trained. As many trainings run side by side as there are cores, each
bound to one, so that what else the machine does takes from all. Encoding is outside the clock, and so is the counting of a lexicon, less than a minute. A rung that is in the folder already is not trained again, so the command goes on
where it was interrupted; with other minutes, text or recipe, or with scores by another search or of other texts, it asks for another folder. `--epochs` in place of `--minutes` gives equal text instead of equal time.

With `--threads 2` each training has two cores, so that one trains at a time on a machine of two; with `--processes 2` it has a process on each, whose batches make one step together.

A rung is its parent's recipe and one change: config fields, or a patch (`PATCHES`) that puts another form in the place of the library's, so that a change that brings nothing needs
no switch there. What is compared is the unsmoothed loss of the target sentences in bits a character, which does not depend on how a vocabulary cuts them. `gain` is how many bits less
than the parent with the same seed, `interval` the half of its 95% over sentences; what another seed makes of it, only other seeds say: `--seeds`.
"""
import argparse,json,math,os,shutil,signal,subprocess,sys,threading
from contextlib import nullcontext
from pathlib import Path

BASE = dict(optimizer='muon', lr_decay='linear', ema_decay=0., dropout=.1, warmup_steps=40, lr_factor=.57)
PRESET = dict(optimizer='adam', lr_decay='noam', ema_decay=.999, dropout=.2, warmup_steps=1000, lr_factor=1.)
RUNGS = {               # name → parent, config fields, patches, where it comes from
    'muon':                 (None, BASE, ['five_rounds'], 'Jordan et al. 2024, with the settings that won ten minutes of bench/compare_hf.py'),
    'preset':               ('muon', PRESET, [], 'preset `small`: the paper, pre-norm'),
    'adam, linear':         ('muon', dict(optimizer='adam', lr_factor=.3), [], 'half the rate'),
    'rate × 2':             ('muon', dict(lr_factor=1.14), [], ''),
    'rate × 0.5':           ('muon', dict(lr_factor=.285), [], ''),
    'batch 1,024':          ('muon', dict(batch_tokens=1024), [], ''),
    'batch 4,096':          ('muon', dict(batch_tokens=4096), [], ''),
    'dropout 0':            ('muon', dict(dropout=0.), [], ''),
    'dropout 0.2':          ('muon', dict(dropout=.2), [], ''),
    'no smoothing':         ('muon', dict(label_smoothing=0.), [], ''),
    'vocabularies 4,000':   ('muon', dict(src_vocab_size=4000, tgt_vocab_size=4000), [], ''),
    'vocabularies 16,000':  ('muon', dict(src_vocab_size=16000, tgt_vocab_size=16000), [], ''),
    'morphemes':            ('muon', dict(morphemes=True), [], 'words cut at morphemes before SentencePiece'),
    'one vocabulary':       ('muon', dict(shared_vocab=True), [], 'tied three ways: Press and Wolf 2017'),
    'subword sampling 0.1': ('muon', dict(subword_sampling_alpha=.1), [], 'Kudo 2018'),
    'layers 6+1':           ('muon', dict(num_encoder_layers=6, num_decoder_layers=1), [], 'Kasai et al. 2021'),
    'layers 2+2':           ('muon', dict(num_encoder_layers=2, num_decoder_layers=2), [], ''),
    'width 192':            ('muon', dict(d_model=192, d_ff=768), [], ''),
    'width 192, layers 2+2':('muon', dict(d_model=192, d_ff=768, num_encoder_layers=2, num_decoder_layers=2), [], ''),
    'width 192, layers 2+2, lexicon': ('width 192, layers 2+2', dict(lexical_init=True), [], 'embeddings begin as a lexicon: Brown et al. 1993'),
    'width 192, layers 2+2, lexicon, sampled': ('width 192, layers 2+2, lexicon', dict(sampled_softmax=800), [], 'a loss that looks at some of the wrong tokens: Jean et al. 2015'),
    'width 192, layers 2+2, lexicon, sampled, vocabularies 16,000': ('width 192, layers 2+2, lexicon, sampled', dict(src_vocab_size=16000, tgt_vocab_size=16000), [], ''),
    'width 192, batch 4,096': ('width 192', dict(batch_tokens=4096), [], ''),
    'width 192, three rounds': ('width 192', {}, ['three_rounds'], 'Muon by three polynomials in place of one five times: Amsel et al. 2025'),
    'width 128':            ('muon', dict(d_model=128, d_ff=512), [], ''),
    'width 384':            ('muon', dict(d_model=384, d_ff=1536, num_heads=6), [], ''),
    'inner width 512':      ('muon', dict(d_ff=512), [], ''),
    'norm after':           ('muon', dict(norm_first=False), [], 'the paper, section 3.1'),
    'weight decay 0.1':     ('muon', dict(weight_decay=.1), [], 'Liu et al. 2025'),
    'beta2 0.999':          ('muon', dict(adam_beta2=.999), [], 'of what Adam moves: embeddings, norms, biases'),
    'ReLU squared':         ('muon', {}, ['relu2'], 'So et al. 2021'),
    'SwiGLU':               ('muon', {}, ['swiglu'], 'Shazeer 2020, with as many parameters'),
    'RMSNorm':              ('muon', {}, ['rmsnorm'], 'Zhang and Sennrich 2019'),
    'rotary positions':     ('muon', {}, ['rotary'], 'Su et al. 2021, in self-attention'),
    'zero at the end':      ('muon', {}, ['zero'], 'the last matrix of each sublayer starts as zeros: Zhang et al. 2019'),
    'embeddings × 3':       ('muon', {}, ['embeddings'], "Adam's parameters move three times as far"),
    'level, then down':     ('muon', {}, ['wsd'], 'the rate stays at its peak until 60% of the run, then falls to zero: Hu et al. 2024'),
    'dropout inside':       ('muon', {}, ['inside'], 'of attention weights and after the ReLU too, a tenth each, as tensor2tensor does it'),
    'R-Drop':               ('muon', {}, ['rdrop'], 'Liang et al. 2021, α = 1: each batch twice, by two dropout masks'),
}
HOURS = {               # the same for --minutes 59.5, by --only: what six minutes can't tell
    'hour':                 (None, BASE | dict(warmup_steps=400, lr_factor=1.8), ['five_rounds'], 'the recipe that won ten minutes of bench/compare_hf.py'),
    'hour, width 192':      ('hour', dict(d_model=192, d_ff=768), [], ''),
    'hour, width 192, dropout 0.2': ('hour, width 192', dict(dropout=.2), [], ''),
    'hour, width 192, layers 6+1': ('hour, width 192', dict(num_encoder_layers=6, num_decoder_layers=1), [], 'Kasai et al. 2021'),
    'hour, width 192, layers 2+2': ('hour, width 192', dict(num_encoder_layers=2, num_decoder_layers=2), [], ''),
    'hour, preset':         ('hour, width 192, layers 2+2', dict(PRESET, d_model=256, d_ff=1024, num_encoder_layers=3, num_decoder_layers=3), [], 'preset `small`: the paper, pre-norm'),
    'hour, width 192, three rounds': ('hour, width 192', {}, ['three_rounds'], 'Amsel et al. 2025'),
    'hour, width 128':      ('hour', dict(d_model=128, d_ff=512), [], ''),
    'hour, width 192, dropout inside': ('hour, width 192', {}, ['inside'], ''),
    'hour, width 192, subword sampling 0.3': ('hour, width 192', dict(subword_sampling_alpha=.3), [], ''),
    'hour, width 192, embeddings × 3': ('hour, width 192', {}, ['embeddings'], ''),
    'hour, width 192, R-Drop': ('hour, width 192', {}, ['rdrop'], ''),
    'hour, mini':           (None, BASE | dict(warmup_steps=400, lr_factor=1.8, d_model=192, d_ff=768, num_encoder_layers=2, num_decoder_layers=2), [], 'the hour with the least loss, but Muon by three polynomials'),
    'hour, mini, lexicon':  ('hour, mini', dict(lexical_init=True), [], 'Brown et al. 1993'),
    'hour, mini, lexicon, sampled, vocabularies 16,000': ('hour, mini, lexicon', dict(sampled_softmax=800, src_vocab_size=16000, tgt_vocab_size=16000), [], 'Jean et al. 2015'),
}
TWO_CORES = {           # hours of two cores: --minutes 59.5 --threads 2; with Muon as the library has it today, by three polynomials, where all above have five rounds
    'two cores':            (None, HOURS['hour, mini'][1], [], 'the hour of one core with the least loss, but Muon by three polynomials'),
    'two cores, lexicon':   ('two cores', dict(lexical_init=True), [], 'embeddings begin as a lexicon: Brown et al. 1993'),
    'two cores, layers 3+3': ('two cores', dict(num_encoder_layers=3, num_decoder_layers=3), [], ''),
    'two cores, dropout 0.2': ('two cores', dict(dropout=.2), [], ''),
    'two cores, growing dropout': ('two cores', {}, ['growing'], 'as curriculum dropout (Morerio et al. 2017) from nothing: three hundredths more with each turn through the text, up to 0.3'),
    'two cores, width 256': ('two cores', dict(d_model=256, d_ff=1024), [], ''),
    'two cores, width 256, layers 3+3': ('two cores, width 256', dict(num_encoder_layers=3, num_decoder_layers=3), [], ''),
    'two cores, width 256, layers 3+3, dropout 0.2': ('two cores, width 256, layers 3+3', dict(dropout=.2), [], 'the sizes and the dropout of preset `small`'),
    'two cores, dropout inside': ('two cores', {}, ['inside'], ''),
    'two cores, R-Drop':    ('two cores', {}, ['rdrop'], ''),
    'two cores, subword sampling 0.3': ('two cores', dict(subword_sampling_alpha=.3), [], ''),
}
ALL = RUNGS | HOURS | TWO_CORES
PATCHES = {}

def lineage(name): # Config fields and patches of a rung, its ancestors' included
    parent,fields,patches,_ = ALL[name]
    if parent is None: return dict(fields),list(patches)
    f,p = lineage(parent)
    return f|fields,p+patches

def patch(f):
    PATCHES[f.__name__] = f
    return f

@patch
def relu2():
    from kotrans import layers
    layers.FeedForward.forward = lambda self, x: self.linear2(layers.F.relu(self.linear1(x)).square())

@patch
def swiglu():
    from kotrans import layers,training
    training.check_model = lambda *args: None                    # the library's checks know no gate
    nn,F = layers.nn,layers.F
    def init(self, d_model, d_ff):
        nn.Module.__init__(self)
        inner = d_ff*2//3//16*16
        self.linear1,self.gate,self.linear2 = nn.Linear(d_model, inner), nn.Linear(d_model, inner), nn.Linear(inner, d_model)
    layers.FeedForward.__init__ = init
    layers.FeedForward.forward = lambda self, x: self.linear2(F.silu(self.gate(x))*self.linear1(x))

@patch
def rmsnorm():
    import torch
    torch.nn.LayerNorm = torch.nn.RMSNorm

@patch
def rotary():
    import torch
    from kotrans.attention import MultiHeadAttention
    from kotrans.layers import PositionalEncoding
    PositionalEncoding.forward = lambda self, x, start=0: x
    def turned(x): # [batch, heads, len, head_dim]
        half = x.size(-1)//2
        angle = torch.arange(x.size(2))[:,None]*10000.**(-torch.arange(half)/half)        # [len, half]
        a,b = x.split(half, -1)
        return torch.cat([a*angle.cos()-b*angle.sin(), a*angle.sin()+b*angle.cos()], -1)
    plain = MultiHeadAttention.forward
    def forward(self, query, key=None, value=None, mask=None, need_weights=False):
        if key is not None: return plain(self, query, key, value, mask, need_weights)
        kv,F = self.project_kv(query),torch.nn.functional
        out = F.scaled_dot_product_attention(turned(self.split_heads(self.q_proj(query))), turned(kv.keys), kv.values, mask)
        return self.out_proj(self.merge_heads(out))
    MultiHeadAttention.forward = forward

@patch
def zero():
    import torch
    from kotrans import attention,layers,transformer
    plain = transformer.init_weights
    def init_weights(model):
        plain(model)
        with torch.no_grad():
            for m in model.modules():
                if isinstance(m, layers.FeedForward): m.linear2.weight.zero_()
                if isinstance(m, attention.MultiHeadAttention): m.out_proj.weight.zero_()
    transformer.init_weights = init_weights

@patch
def embeddings():
    from kotrans.since_2017 import Muon
    plain = Muon.step
    def step(self, closure=None):
        rest = self.param_groups[:-1]
        for g in rest: g['lr'] *= 3
        loss = plain(self, closure)
        for g in rest: g['lr'] /= 3
        return loss
    Muon.step = step

@patch
def five_rounds():
    import torch
    from kotrans import since_2017
    def orthogonalize(matrices):
        if matrices.size(-2)>matrices.size(-1): return orthogonalize(matrices.mT).mT
        x = matrices/(torch.linalg.matrix_norm(matrices, keepdim=True)+1e-7)
        for _ in range(5):
            gram = x@x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
        return x
    orthogonalize.three = since_2017.orthogonalize
    since_2017.orthogonalize = orthogonalize

@patch
def three_rounds():
    from kotrans import since_2017
    since_2017.orthogonalize = since_2017.orthogonalize.three

@patch
def wsd():
    from kotrans.noam import LinearDecayLR,noam_rate
    def get_lr(self): # `line` itself stays: the end of the run is aimed at by it
        step,peak = self.last_epoch+1,noam_rate(self.warmup_steps, self.d_model, self.warmup_steps, self.factor)
        return [peak*min(1, step/self.warmup_steps, self.line(step)/.4) for _ in self.optimizer.param_groups]
    LinearDecayLR.get_lr = get_lr

@patch
def inside():
    from kotrans import attention,layers
    F,plain = layers.F,attention.MultiHeadAttention.__init__
    attention.MultiHeadAttention.__init__ = lambda self, d_model, num_heads, dropout=0., bias=True: plain(self, d_model, num_heads, .1, bias)
    layers.FeedForward.forward = lambda self, x: self.linear2(F.dropout(F.relu(self.linear1(x)), .1, self.training))

@patch
def growing():
    from torch import nn
    from kotrans.training import Trainer
    plain = Trainer.train_step
    def train_step(self, *args, **kwargs):
        turns = self.run.epoch + self.run.position/self.train_loader.num_batches(self.run.epoch)      # how often the text was seen
        for m in self.model.modules():
            if isinstance(m, nn.Dropout): m.p = min(.03*turns, .3)
        return plain(self, *args, **kwargs)
    Trainer.train_step = train_step

@patch
def rdrop():
    import torch
    from kotrans.fused_loss import FusedModelWithLoss
    from kotrans.label_smoothing import LossSums
    plain,F = FusedModelWithLoss.forward,torch.nn.functional
    def forward(self, src, tgt):
        if not self.training: return plain(self, src, tgt)
        logits = self.model(src.repeat(2, 1), tgt[:, :-1].repeat(2, 1))
        wanted = tgt[:, 1:]
        sums = self.criterion(logits, wanted.repeat(2, 1))
        a,b = logits.log_softmax(-1).chunk(2)
        real = (wanted!=0)[...,None]
        apart = ((a.exp()-b.exp())*(a-b)*real).sum()/2            # both directions of the divergence, half each
        return LossSums(sums.loss/2+apart/2, sums.nll/2, sums.num_tokens//2)
    FusedModelWithLoss.forward = forward

def trial_of(name, seed):
    from kotrans.comparison import Trial
    return Trial(name, seed, fields=lineage(name)[0])

def rung_config(a, name, seed): # Vocabularies and encoded text are made, if they are missing
    from kotrans import preset
    from kotrans.comparison import trial_config
    return trial_config(trial_of(name, seed), preset('small', data_dir=a.data, device='cpu', num_epochs=a.epochs or 1000, max_minutes=0 if a.epochs else a.minutes), a.folder)

def record(folder, name, seed): return Path(folder)/'trials'/trial_of(name, seed).name/'rung.json'

def scored(a): # Name → path of what is translated
    return dict(text.partition('=')[::2] for text in a.score)

EARLIER = dict(num_epochs=0, processes=1, threads=1)         # what records of before there were such settings were trained with

def differing(old, now): # Names of the settings `now` that a record has otherwise
    return [k for k in now if old.get(k, EARLIER.get(k))!=now[k]]

def scoring(a): # What scores that are there already must have been made with: the search, and checksums of the texts
    from kotrans.files import file_sha256
    return dict(beam=a.beam, length_penalty=a.length_penalty, score_text={name: {lang: file_sha256(f'{path}.{lang}') for lang in ('ko', 'en')} for name,path in scored(a).items()})

def settings(a, name): # What a rung that is there already must have been trained with
    from kotrans.files import file_sha256
    fields,patches = lineage(name)
    text = {f'{part}.{lang}': file_sha256(Path(a.data, f'{part}.{lang}')) for part in ('train', 'validation') for lang in ('ko', 'en')}
    return dict(minutes=0 if a.epochs else a.minutes, num_epochs=a.epochs, processes=a.processes, threads=a.threads, fields=fields, patches=patches, text=text)

def fit(**given): # What each process does: the trainer and its history
    a = argparse.Namespace(**given)
    first = int(os.environ.get('RANK', 0))*a.threads
    os.sched_setaffinity(0, a.cores[first:first+a.threads])
    import torch
    torch.set_num_threads(a.threads)
    for p in lineage(a.only)[1]: PATCHES[p]()
    from kotrans.pipeline import make_trainer
    trainer = make_trainer(rung_config(a, a.only, int(a.seeds)), progress=False)
    return trainer,trainer.train()

def train(a):
    "The one rung of --only with the one seed of --seeds, on the cores --cores"
    a.cores = [int(c) for c in a.cores.split(',')]
    from kotrans.distributed import local_ranks
    with local_ranks(a.processes, 'rungs', 'fit', vars(a)) if a.processes>1 else nullcontext(): trainer,history = fit(**vars(a))
    import kotrans,numpy as np,torch
    from kotrans.checkpoint import load_checkpoint
    from kotrans.evaluation import sentence_losses
    from kotrans.files import read_lines
    from kotrans.pipeline import machine_info
    os.sched_setaffinity(0, a.cores)
    torch.set_num_threads(len(a.cores))
    patches,seed = lineage(a.only)[1],int(a.seeds)
    c = rung_config(a, a.only, seed)
    trainer.model.load_state_dict(load_checkpoint(Path(c.checkpoint_dir)/'best_model.pt')['weights'])
    losses = sentence_losses(trainer.model.eval(), trainer.valid_loader.corpus)
    lines = read_lines(Path(a.data, 'validation.en'))
    nats,tokens = losses.sum(0)
    characters = sum(len(l)+1 for l in lines)
    scores = {}
    if a.score and 'rotary' not in patches:           # whose decoding with a cache isn't patched
        from kotrans.comparison import scores_with_intervals
        from kotrans.tokenizer import load_tokenizers
        from kotrans.translator import Translator
        tokenizers = load_tokenizers(c.vocab_dir, c.shared_vocab)
        translator = Translator(trainer.model, *tokenizers, method='beam', beam_size=a.beam, length_penalty=a.length_penalty)
        for label,path in scored(a).items():
            ko,en = (read_lines(f'{path}.{lang}') for lang in ('ko', 'en'))
            scores[label] = scores_with_intervals(translator.translate(ko), en)
    np.save(record(a.folder, a.only, seed).with_name('losses.npy'), losses[:,0])
    seconds = sum(r['seconds'] for r in history)
    return dict(name=a.only, seed=seed, **settings(a, a.only), kotrans=kotrans.__version__, torch=torch.__version__, python=sys.version.split()[0], **machine_info(),
        parameters=sum(p.numel() for p in trainer.model.parameters()), steps=trainer.step, epochs=len(history), tokens=round(sum(r['tokens_per_second']*r['seconds'] for r in history)),
        seconds=seconds, train_ppl=history[-1]['train_ppl'], valid_ppl=math.exp(nats/tokens), bits=nats/math.log(2)/characters, characters=characters,
        validations=[{k: r[k] for k in ('epoch', 'step', 'train_ppl', 'valid_ppl')} for r in history if 'valid_ppl' in r],
        **(dict(scores=scores, **scoring(a)) if scores else {}))

def compared(folder, rows):
    "The rows, each with what it gains over its parent with the same seed, text, time and cores"
    import numpy as np
    done = {(r['name'], r['seed']): r for r in rows}
    nats = lambda r: np.load(record(folder, r['name'], r['seed']).with_name('losses.npy'))
    for r in rows:
        parent,_,_,source = ALL[r['name']]
        r |= dict(parent=parent, source=source)
        if (parent, r['seed']) not in done: continue
        if other := differing(done[parent, r['seed']], {k: r.get(k, EARLIER.get(k)) for k in ('minutes', 'num_epochs', 'processes', 'threads', 'text')}):
            print(f"{r['name']}, seed {r['seed']}: not compared with {parent}, which was trained with another {', '.join(other)}")
            continue
        less = (nats(done[parent, r['seed']])-nats(r))/math.log(2)
        r |= dict(gain=float(less.sum()/r['characters']), interval=float(1.96*less.std(ddof=1)*len(less)**.5/r['characters']))
    return rows

def gained(r): return f"{r['gain']:+.4f} ± {r['interval']:.4f}" if 'gain' in r else ''

def check(a, folder, wanted):
    "Say what is wrong before anything is trained, and make vocabularies and encoded text"
    from kotrans.encoding import open_corpus
    from kotrans.files import nearest,read_lines
    for n,_ in wanted:
        if n not in ALL: sys.exit(f'--only {n}: no such rung{nearest(n, ALL)}')
    if len(scored(a))<len(a.score): sys.exit('--score: NAME=PATH, each name once')
    for label,path in scored(a).items():
        lacking = [f'{path}.{lang}' for lang in ('ko', 'en') if not Path(f'{path}.{lang}').is_file()]
        if not path or lacking: sys.exit(f'--score {label}={path}: ' + (f'no file {lacking[0]}' if path else 'NAME=PATH, where PATH.ko and PATH.en are'))
        ko,en = (len(read_lines(f'{path}.{lang}')) for lang in ('ko', 'en'))
        if ko!=en: sys.exit(f'--score {label}={path}: {path}.ko has {ko:,} lines, {path}.en {en:,}')
    search = scoring(a)
    texts = search.pop('score_text')
    for n,s in wanted:
        there = record(folder, n, s)
        if there.exists():
            old = json.loads(there.read_text('utf-8'))
            if differs := differing(old, settings(a, n)): sys.exit(f"{there}: trained with another {', '.join(differs)}; name another folder")
            missing = set() if 'rotary' in old['patches'] else scored(a).keys()-old.get('scores', {}).keys()
            if a.score and 'scores' in old:                       # earlier records don't tell the texts of theirs
                differs = differing(old, search) + [f'text {name}' for name,text in texts.items() if old.get('score_text', {}).get(name, text)!=text]
                if differs: sys.exit(f"{there}: scored with another {', '.join(differs)}; name another folder")
            if missing: sys.exit(f"{there}: has no scores of {', '.join(missing)}; remove it to train it again")
        c = rung_config(a, n, s)
        if skipped := open_corpus(Path(c.encoded_dir)/'validation').num_skipped:
            sys.exit(f'{a.data}/validation: {skipped} pairs are longer than {c.max_len} tokens; leave them out')

def run(a):
    from kotrans.files import write_json
    from turns import signals_end
    folder = Path(a.folder)
    wanted = [(n, int(s)) for s in a.seeds.split(',') for n in (a.only.split(';') if a.only else RUNGS)]
    check(a, folder, wanted)
    queue,lock,running,failed = [w for w in wanted if not record(folder, *w).exists()],threading.Lock(),{},[]
    def work(cores):
        while True:
            with lock:
                if not queue: return
                n,s = queue.pop(0)
                own = record(folder, n, s).parent
                shutil.rmtree(own, ignore_errors=True)            # interrupted
                own.mkdir(parents=True)
                command = [sys.executable, __file__, *sys.argv[1:], '--only', n, '--seeds', str(s), '--cores', ','.join(map(str, cores))]
                with open(own/'log.txt', 'w') as log: running[cores] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            wrong = running[cores].wait()
            if wrong: failed.append(f"{n}, seed {s}: failed, see {own/'log.txt'}")
            print(failed[-1] if wrong else f"{n}, seed {s}: {json.loads((own/'rung.json').read_text('utf-8'))['bits']:.4f}", flush=True)
    cores = sorted(os.sched_getaffinity(0))
    each = a.processes*a.threads
    if len(cores)<each: sys.exit(f'--processes {a.processes}, --threads {a.threads}: there are {len(cores)} cores here')
    workers = [threading.Thread(target=work, args=(tuple(cores[i:i+each]),)) for i in range(0, len(cores)//each*each, each)]
    signals_end()
    for w in workers: w.start()
    try:
        for w in workers: w.join()
    except BaseException:                                         # Ctrl-C: nothing else is begun
        with lock: queue.clear()
        for p in running.values():
            if p.poll() is None: os.killpg(p.pid, signal.SIGKILL)     # and the processes that it has started
        raise
    rows = compared(folder, [r for p in sorted(folder.glob('trials/*/rung.json')) if (r := json.loads(p.read_text('utf-8')))['name'] in ALL])
    for r in sorted(rows, key=lambda r: r['bits']):
        print(f"{r['name']:24} {r['seed']} {r['bits']:.4f} {gained(r):16} ppl {r['valid_ppl']:.1f} {r['steps']} steps {r['tokens']:,} tokens")
    if a.json: write_json(a.json, rows)
    if failed: sys.exit('\n'.join(failed))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder')
    p.add_argument('--data', required=True, help='folder with train, validation, test')
    p.add_argument('--minutes', type=float, default=6)
    p.add_argument('--epochs', type=int, default=0, help='so many epochs in place of minutes')
    p.add_argument('--seeds', default='1')
    p.add_argument('--only', default='', help='names of rungs, with ; between')
    p.add_argument('--score', action='append', default=[], help='NAME=PATH: translate PATH.ko afterwards, and compare it with PATH.en; may be given again')
    p.add_argument('--beam', type=int, default=5)
    p.add_argument('--length-penalty', type=float, default=1)
    p.add_argument('--json')
    p.add_argument('--threads', type=int, default=1, help='cores of each process')
    p.add_argument('--processes', type=int, default=1, help='processes of each training')
    p.add_argument('--cores', help=argparse.SUPPRESS)
    a = p.parse_args()
    if min(a.threads, a.processes)<1: p.error('--threads, --processes: from 1 on')
    from kotrans.files import InputError,write_json
    if not a.cores:
        try: return run(a)
        except InputError as e: sys.exit(f'rungs: error: {e}')
    write_json(record(a.folder, a.only, int(a.seeds)), train(a))

if __name__=='__main__': main()
