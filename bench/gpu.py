"""kotrans on a GPU: training and decoding beside others, and what only a GPU can show to be right.

    python bench/gpu.py --json results/gpu.json                   within nine minutes on an H100 or H200
    python bench/gpu.py --device cpu --tiny                       half a minute: all that has a counterpart on a CPU, with sizes that say nothing about speed
    python bench/gpu.py --only "train base" decode                some of the sections

It needs a clone, PyTorch with CUDA, and a few packages that kotrans imports; kotrans need not be installed. Of what is missing it says so in one line,
and how to carry it to a machine without a network. `transformers` is optional: without it Marian is left out, and named under `missing`.

The work is cut into sections. Each has a limit of time and is on its own: what fails or takes too long is recorded as `failed` or `timed out`, with the
reason, and the rest goes on. A section whose check came out otherwise than it should is `wrong`; what a CPU cannot do is `skipped` there. The record is
written after each section.

Training is in mixed precision (`torch.autocast` with bfloat16, weights and Adam in float32), each system as it is and translated by torch.compile, on
the same batches, which lie on the GPU already: forward, backward, clipping and Adam. kotrans is the trainer of `kotrans-train`; it compiles its layers.
`nn.Transformer` is built as PyTorch's tutorial does, Marian is Hugging Face's model with its label smoother; both have fused Adam here, and are compiled
whole. Shapes repeat: every batch has been trained on before it is timed, so what a system prepares for each new shape is not measured. (cuDNN plans its
attention so, which kotrans's trainer does without; the others have PyTorch's defaults.) In training from text new shapes come all the time.

Decoding is in float32 and with all weights in bfloat16: random weights, so many sentences into exactly so many tokens. A system is a process of
its own; one works at a time, and they take turns within each round. The clock is read when the GPU has nothing left to do. Peak memory is what PyTorch's
allocator held for this system at most (without the half gigabyte of a CUDA context).

Utilisation is the arithmetic that the real tokens need (see bench/train.py: padding counts nothing, causal attention by half, and nothing is computed
twice), over time, over what the card's data sheet promises for dense bfloat16. The share of the matrix product is the same over what the card reached
in the same minutes with nothing but one large matrix product.
"""
import argparse,importlib.util,json,math,os,signal,statistics,subprocess,sys,tempfile,time,traceback
from argparse import Namespace
from contextlib import contextmanager,suppress
from functools import partial
from pathlib import Path
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]                  # a bare clone will do

NEEDS = 'torch numpy fastcore sentencepiece tqdm polib defusedxml'.split()       # to import what is used here of kotrans
PEAKS = {'H200 NVL': 835e12, 'H200': 989e12, 'H100 NVL': 835e12, 'H100 PCIe': 756e12, 'H100': 989e12, 'A100': 312e12}     # dense bfloat16, by NVIDIA's data sheets
SIZE = dict(          # of the whole on a GPU, and of the trial on a CPU
    full=dict(sizes=dict(base='base', big='big'), tokens=25_000, batches=6, rounds=5, pairs=40_000, product=8192,
              decode='base', batch=256, sentences=512, alone=8, length=20, decode_rounds=3,
              check='small', check_tokens=4096, check_pairs=2000, curve='base', curve_tokens=8192, curve_steps=200),
    tiny=dict(sizes=dict(base='tiny', big='tiny'), tokens=400, batches=2, rounds=2, pairs=400, product=256,
              decode='tiny', batch=8, sentences=16, alone=2, length=5, decode_rounds=2,
              check='tiny', check_tokens=400, check_pairs=120, curve='tiny', curve_tokens=300, curve_steps=30))
MODES = ['eager', 'compiled']

def missing_packages():
    "What is needed and not there"
    return [n for n in NEEDS if importlib.util.find_spec(n) is None]

def how_to_carry(names):
    "One line that says what to do about missing packages"
    names = ' '.join(names)
    return (f'missing here: {names}. Where there is a network: python3 -m pip download --no-deps --only-binary=:all: -d wheels {names} (with --python-version and --platform, '
            'if that is another machine); here: python3 -m pip install --no-index --no-deps --target site wheels/*.whl && PYTHONPATH=site python3 bench/gpu.py')

# ---- What a process does. Each job takes the process's state and arguments, and returns what goes into the record

class Wrong(Exception):
    "A check came out otherwise than it should; `found` says what was found"
    def __init__(self, why, **found): super().__init__(why); self.found = found

def wait(device):
    "Return when the GPU has done all that it was asked"
    import torch
    if device=='cuda': torch.cuda.synchronize()

def allocated(device):
    "Bytes that tensors have on the GPU"
    import torch
    return torch.cuda.memory_allocated() if device=='cuda' else 0

def free(device):
    "Give back what PyTorch keeps of the GPU's memory"
    import gc,torch
    gc.collect()
    if device=='cuda': torch.cuda.empty_cache()

@contextmanager
def peak_of(own, device):
    "A list that gets, at the end, the most MiB that tensors had at once, of which `own` bytes are there already; of the process on a CPU"
    import torch
    from turns import peak_mib
    found = []
    if device=='cuda': torch.cuda.reset_peak_memory_stats()
    others = allocated(device)-own
    yield found
    found.append(round((torch.cuda.max_memory_allocated()-others)/2**20) if device=='cuda' else peak_mib())

def job_card(s):
    "Names, versions, and how fast the card multiplies and copies"
    import torch,kotrans
    from kotrans.checkpoint import native_bfloat16
    from train_systems import gemm_system
    a = s['setting']
    out = dict(kotrans=kotrans.__version__, torch=torch.__version__, python=sys.version.split()[0])
    if a.device=='cuda':
        p = torch.cuda.get_device_properties(0)
        out |= dict(card=p.name, memory_gib=round(p.total_memory/2**30, 1), processors=p.multi_processor_count, capability=f'{p.major}.{p.minor}', cuda=torch.version.cuda,
                    cudnn=torch.backends.cudnn.version(), cards=torch.cuda.device_count())
        if not native_bfloat16(torch.device(a.device)): raise Wrong('this card has no bfloat16', **out)
    step,_,_ = gemm_system(None, None, a)
    step(None)
    rates = [max(step(None).values()) for _ in range(3)]
    size = 2**30 if a.device=='cuda' else 2**22
    x = torch.ones(size, dtype=torch.uint8, device=a.device)
    y,times = torch.empty_like(x),[]                                          # of many times the size of the card's cache
    for _ in range(5):
        wait(a.device); start = time.perf_counter()
        y.copy_(x); wait(a.device)
        times.append(time.perf_counter()-start)
    del x,y,step; free(a.device)
    peak = next((v for k,v in PEAKS.items() if k in out.get('card', '')), None)
    return out | dict(peak_tflops=peak and peak/1e12, product_tflops=round(statistics.median(rates)/1e12, 3), copy_gb_per_second=round(2*size/statistics.median(times)/1e9, 1))

def job_arithmetic(s):
    "The operations of a training step by our formula, and as PyTorch counts them"
    import numpy as np,torch
    from torch.utils.flop_counter import FlopCounterMode
    from kotrans.config import TransformerConfig
    from kotrans.label_smoothing import LabelSmoothingLoss
    from kotrans.training import ModelWithLoss
    from kotrans.transformer import Transformer
    from train import useful_flops
    from train_systems import SIZES
    from train_tricks import without
    c,b,source,target = SIZES['tiny'],3,7,5                                     # words; one more of each for the end mark
    model = ModelWithLoss(Transformer(TransformerConfig(d_model=c['d'], d_ff=c['ff'], num_heads=c['heads'], num_encoder_layers=c['layers'], num_decoder_layers=c['layers'], dropout=0.,
                                                        tie_embeddings=False), c['vocab'], c['vocab']), LabelSmoothingLoss())
    src,tgt = torch.full((b, source+1), 4),torch.full((b, target+2), 4)
    with without(['sdpa']), FlopCounterMode(display=False) as counter: model(src, tgt).loss.backward()
    words = [(np.full(source, 4), np.full(target, 4))]*b
    t = target+1
    hidden = 3*c['layers']*b*2*c['d']*t*(t-1)          # of causal attention: computed by the plain form, not counted by the formula
    ours,theirs = useful_flops(words, c)+hidden,counter.get_total_flops()
    found = dict(formula=ours, counted=theirs, of_which_masked=hidden)
    if ours!=theirs: raise Wrong('the formula counts otherwise than PyTorch', **found)
    return found

def job_int8(s):
    "8 bits on a GPU and bfloat16 arithmetic on a CPU are refused in a line"
    import torch
    from kotrans.files import InputError
    from kotrans.packing import pack
    from decode_systems import kotrans_model
    a,told = s['setting'],{}
    model = kotrans_model('tiny')
    tries = {'int8': (a.device, dict(int8=True)), 'bf16': ('cpu', dict(bf16=True))} if a.device=='cuda' else {'int8': ('meta', dict(int8=True)), 'bf16': ('cpu', dict(bf16=True))}
    for name,(device,how) in tries.items():
        try: pack(model.to_empty(device=device) if device=='meta' else model.to(device), **how)
        except InputError as e: told[name] = str(e)
        else: raise Wrong(f'{name} on {device} was not refused', **told)
        if '\n' in told[name] or name not in told[name]: raise Wrong(f'{name}: not a line that names it', **told)
        model = kotrans_model('tiny')
    return told

def trainer(s, size, tokens, pairs, folder, kind=None, seed=0, **values):
    "The trainer of `kotrans-train` for a made-up corpus, its files in `folder`; its weights are drawn from `seed`"
    import torch
    from train import corpus
    from train_systems import BOS,EOS,SIZES,encoded,kotrans_trainer
    class Tokens: model_bytes = b'numbers'
    c = SIZES[size]
    torch.manual_seed(seed)
    rows = encoded([([*x, EOS], [BOS, *y, EOS]) for x,y in corpus(c['vocab'], pairs)])
    return kotrans_trainer(c, rows, kind, (Tokens, Tokens), **dict(batch_tokens=tokens, warmup_steps=400, lr_factor=.5, device=s['setting'].device, checkpoint_dir=f'{folder}/checkpoints',
                                                                   log_dir=f'{folder}/logs') | values)

def check_trainer(s, folder, **more):
    "A small one, for checks"
    a = s['setting']
    return trainer(s, a.check, a.check_tokens, a.check_pairs, folder, **more)

def job_prefetch(s):
    "Batches that a thread has made and the GPU has fetched from pinned memory, beside the same made one by one"
    import torch
    from kotrans.batching import prefetch_to_device
    a = s['setting']
    with tempfile.TemporaryDirectory() as folder:
        t = check_trainer(s, folder)
        x,seen,equal,where = torch.randn(512, 512, device=t.device),0,0,set()
        for epoch in range(2):
            for (b,),_,tokens in prefetch_to_device(t.train_loader.accumulation_groups(epoch), t.device):
                for _ in range(8): x = torch.tanh(x@x)                         # so that copies meet a GPU at work
                plain = t.train_loader.batch(b.rows.numpy(), epoch)
                equal += torch.equal(b.src.cpu(), plain.src) and torch.equal(b.tgt.cpu(), plain.tgt) and tokens==plain.num_tokens
                seen += 1; where.add(b.src.device.type)
            expected = sum(t.train_loader.num_batches(e) for e in range(epoch+1))
        found = dict(batches=seen, equal=equal, where=sorted(where), pinned=plain.pinned().src.is_pinned() if a.device=='cuda' else None)
    if seen!=expected or equal!=seen or where!={a.device} or found['pinned'] is False: raise Wrong('not the same batches', **found)
    return found

def job_memory(s):
    "A batch that does not fit is cut into halves, and gives the same gradients"
    import torch
    from kotrans.robustness import split_batch
    a = s['setting']
    with tempfile.TemporaryDirectory() as folder:
        t = trainer(s, a.check, 4*a.check_tokens, 4*a.check_pairs, folder, dropout=0.)
        batch,told,t.warn = max(t.train_loader.batches(0), key=lambda b: b.src.numel()+b.tgt.numel()),[],None
        t.warn = told.append
        def gradients(batches):
            "Loss and gradients of a step, and the most memory that it took"
            t.optimizer.zero_grad(); free(a.device)
            if a.device=='cuda': torch.cuda.reset_peak_memory_stats()
            own = t.add_gradients(batches, batch.num_tokens)
            most = torch.cuda.max_memory_allocated() if a.device=='cuda' else 0
            return own['loss'],torch.cat([p.grad.flatten().cpu() for p in t.model.parameters()]),most
        t.model.train()
        gradients([batch])                                                     # libraries take their own memory once
        loss,g,whole = gradients([batch])
        _,_,half = gradients(split_batch(batch))
        with planted(t, batch, (whole+half)/2, a.device): loss_again,again,most = gradients([batch])
        found = dict(sentences=len(batch), warnings=told, mib=dict(whole=round(whole/2**20), halves=round(half/2**20), after=round(most/2**20)), loss_difference=abs(loss_again-loss)/abs(loss),
                     gradient_difference=float((again-g).norm()/g.norm()))
    if not told or found['loss_difference']>1e-5 or found['gradient_difference']>1e-4 or not math.isfinite(found['gradient_difference']): raise Wrong('not the same step', **found)
    return found

@contextmanager
def planted(t, batch, limit, device):
    "Let this process have `limit` bytes of the GPU; on a CPU, act as if the whole batch did not fit"
    import torch
    if device=='cuda':
        t.optimizer.zero_grad(); free(device)
        torch.cuda.set_per_process_memory_fraction(limit/torch.cuda.get_device_properties(0).total_memory)
        try: yield
        finally: torch.cuda.set_per_process_memory_fraction(1.); free(device)
        return
    loss = t.batch_loss
    def too_large(b):
        if len(b)==len(batch): raise torch.cuda.OutOfMemoryError('planted')
        return loss(b)
    t.batch_loss = too_large
    try: yield
    finally: del t.batch_loss

@contextmanager
def deterministic():
    "Only algorithms that give the same bits each time; an error where there is none"
    import torch
    torch.use_deterministic_algorithms(True)
    try: yield
    finally: torch.use_deterministic_algorithms(False)

def job_resume(s):
    "A run that was resumed from a checkpoint in its middle ends with the same bits as one that went through"
    from kotrans.checkpoint import fingerprint
    a = s['setting']
    run = dict(num_epochs=2, keep_checkpoints=0, precision=a.precision)
    ends = lambda t: dict(weights=fingerprint(dict(t.model.state_dict())), optimizer=fingerprint(t.optimizer.state_dict()['state']))
    with tempfile.TemporaryDirectory() as folder, deterministic():
        whole = check_trainer(s, f'{folder}/a', **run)
        middle = whole.planned_steps()*2//3                                    # within the second epoch
        whole.config = whole.config.replace(save_every_steps=middle)
        whole.train()
        other = check_trainer(s, f'{folder}/b', **run, seed=1)                 # other weights, which must all be replaced
        begun = ends(other)
        other.resume(f'{folder}/a/checkpoints/checkpoint_step_{middle}.pt')
        at,loaded = other.step,ends(other)
        other.train()
        found = dict(steps=whole.step, resumed_at=at, precision=a.precision, equal={k: v==ends(other)[k] for k,v in ends(whole).items()})
    if not all(found['equal'].values()) or at!=middle or other.step!=whole.step or begun==loaded or loaded==ends(other): raise Wrong('not the same run', **found)
    return found

def job_ranks(s, seconds=60):
    "`torchrun` with one rank: the process group, all-reduce, broadcast and DistributedDataParallel, beside training without them"
    a = s['setting']
    start = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '1', HERE/'gpu.py', '--rank', json.dumps(vars(a))]
    alone = dict(NCCL_SOCKET_IFNAME='lo', GLOO_SOCKET_IFNAME='lo')             # one machine, perhaps without a network
    done = subprocess.run([*map(str, start)], capture_output=True, text=True, timeout=seconds, env=alone | os.environ)
    lines = [l for l in done.stdout.splitlines() if l.startswith('{')]
    if done.returncode or not lines: raise RuntimeError(f'torchrun: status {done.returncode}: {last_line(done.stderr)}')
    found = json.loads(lines[-1])
    if not found['same'] or found['backend']!=('nccl' if a.device=='cuda' else 'gloo') or found['sum']!=[1., 2.]: raise Wrong('not the same run', **found)
    return found

def as_rank(a):
    "What `job_ranks` starts under torchrun. A group of one rank is no group to kotrans; it is told that there are two, and finds itself alone"
    import torch
    import torch.distributed as dist
    from unittest.mock import patch
    from kotrans import distributed
    from kotrans.checkpoint import fingerprint,pick_device
    class Alone(distributed.DistributedTrainer):
        def wrap(self, learner): return distributed.wrap_ddp(super().wrap(learner), 2)
        def all_reduce(self, values): return distributed.all_reduce_sum(values, 2, self.device)
        def broadcast(self, value): return distributed.broadcast_from_rank0(value, 2)
    s,ends = dict(setting=a),[]
    with deterministic():
        for kind in (Alone, None):
            with patch.object(distributed, 'rank_and_size', lambda: (0, 2 if kind else 1)), tempfile.TemporaryDirectory() as folder:
                t = check_trainer(s, folder, kind=kind, precision=a.precision)
                if kind: found = dict(backend=dist.get_backend(), ranks=dist.get_world_size(), sum=distributed.all_reduce_sum([1, 2], 2, t.device), device=str(t.device),
                                      told=distributed.broadcast_from_rank0('a word', 2), wrapped=type(t.learner).__name__)
                else: distributed.destroy_distributed()
                for b in list(t.train_loader.batches(0))[:8]: t.train_step([b])
                ends.append(fingerprint(dict(t.model.state_dict())))
    print(json.dumps(found | dict(steps=8, same=ends[0]==ends[1])), flush=True)

def job_curve(s):
    "The loss of a run in bfloat16 beside that in float32"
    import torch
    from kotrans.batching import prefetch_to_device
    from kotrans.distributed import DistributedTrainer
    a = s['setting']
    class Low(DistributedTrainer):                                            # bfloat16 by autocast on a CPU, which kotrans refuses, since it gains nothing there
        def check_precision(self): pass
        def batch_loss(self, batch):
            with torch.autocast('cpu', torch.bfloat16): return super().batch_loss(batch)
    curves,seconds = {},{}
    for precision in ('float32', 'bfloat16'):
        low = precision=='bfloat16' and a.device=='cpu'
        with tempfile.TemporaryDirectory() as folder:
            t = trainer(s, a.curve, a.curve_tokens, a.pairs, folder, Low if low else None, precision='float32' if low else precision)
            losses,epoch,start = [],0,time.perf_counter()
            while len(losses)<a.curve_steps:
                for batches,_,tokens in prefetch_to_device(t.train_loader.accumulation_groups(epoch), t.device):
                    x = t.train_step(batches, tokens)
                    losses.append(x['loss']/max(x['tokens'], 1))
                    if len(losses)==a.curve_steps: break
                epoch += 1
            wait(a.device)
            seconds[precision] = round(time.perf_counter()-start, 1)
            curves[precision] = [statistics.fmean(losses[i:i+10]) for i in range(0, a.curve_steps, 10)]
            del t; free(a.device)
    worst = max(abs(y-x)/x for x,y in zip(*curves.values()))
    found = dict(steps=a.curve_steps, size=a.curve, batch_tokens=a.curve_tokens, mean_of=10, curves={k: [round(x, 4) for x in v] for k,v in curves.items()}, worst=round(worst, 5), seconds=seconds)
    if not worst<=.01: raise Wrong('bfloat16 and float32 differ by more than 1%', **found)
    if not all(v[-1]<v[0] for v in curves.values()): raise Wrong('nothing was learnt', **found)
    return found

# Training

SYSTEMS = {'kotrans': 'kotrans', 'nn.Transformer': 'nn.Transformer', 'Marian': 'Marian, fused'}         # our name: the one in train_systems

def job_build(s, system, mode, size, path):
    "Build a system for training, and train on every batch twice: what is compiled or chosen at the first sight of a shape is done then"
    import torch
    from train_systems import SIZES,SYSTEMS as MAKE,load_batches
    a = Namespace(**vars(s['setting']) | dict(compile=mode=='compiled'))
    if a.tiny and a.compile: torch.compiler.set_stance('force_eager')         # the way to the compiler is tried, the compiler is not
    torch.manual_seed(0)
    start,before = time.perf_counter(),allocated(a.device)
    step,data,about = MAKE[SYSTEMS[system]](SIZES[size], load_batches(path), a)
    model = about.pop('model')
    order = sorted(data, key=lambda b: -(b.src if hasattr(b, 'src') else b[0]).numel())
    losses = [step(x) for x in order*2]
    wait(a.device)
    s['systems'][f'{system}, {mode}'] = step,data,allocated(a.device)-before
    free(a.device)
    return about | dict(parameters=sum(p.numel() for p in model.parameters()), first_loss=round(losses[0], 4), last_loss=round(losses[-1], 4), ready_after=round(time.perf_counter()-start, 1))

def job_train(s, name):
    "One pass over the batches, timed; one before it, since the memory was given back"
    from turns import cpu_seconds
    device = s['setting'].device
    step,data,own = s['systems'][name]
    for x in data if device=='cuda' else data[:1]: step(x)
    with peak_of(own, device) as peak:
        wait(device); cpu,start = cpu_seconds(),time.perf_counter()
        losses = [step(x) for x in data]
        wait(device); seconds = time.perf_counter()-start
    free(device)
    return dict(seconds=seconds, used=cpu_seconds()-cpu, peak_mib=peak[0], result=losses[-1])

def job_product(s):
    "The best of a few large matrix products"
    from turns import cpu_seconds,peak_mib
    from train_systems import gemm_system
    if 'gemm' not in s: s['gemm'] = gemm_system(None, None, s['setting'])[0]
    cpu,start = cpu_seconds(),time.perf_counter()
    best = s['gemm'](None)
    return dict(seconds=time.perf_counter()-start, used=cpu_seconds()-cpu, peak_mib=peak_mib(), result=best)

def job_drop(s):
    "Forget all systems"
    s['systems'].clear(); free(s['setting'].device)
    if dynamo := sys.modules.get('torch._dynamo'): dynamo.reset()  # else many compiled systems fill its cache, and the next runs eager

# Decoding

def job_load(s, system, beam, bf16, path):
    "Build a system for decoding, and translate a batch and a sentence"
    import torch
    from decode_systems import SYSTEMS as MAKE
    a = s['setting']
    given = torch.load(path)
    before = allocated(a.device)
    one,version = MAKE[system](given['weights'], Namespace(size=a.decode, beam=beam, length=a.length, device=a.device), **dict(bf16=True) if bf16 else {})
    own = allocated(a.device)-before
    batches = [given['sources'][i:i+a.batch] for i in range(0, len(given['sources']), a.batch)]
    alone = [[x] for x in given['shuffled'][:a.alone]]
    first = {a.batch: [y for rows in batches for y in one(rows)], 1: [y for rows in alone for y in one(rows)]}
    if any(len(y)!=a.length for found in first.values() for y in found): raise Wrong(f'{system}: translations that are not {a.length} tokens long')
    s['systems'][f'{system}, {beam}, {bf16}'] = one,{a.batch: batches, 1: alone},own
    free(a.device)
    return dict(version=version, first=first)

def job_decode(s, system, beam, bf16, batch):
    "Seconds of each call"
    from turns import cpu_seconds
    device = s['setting'].device
    one,batches,own = s['systems'][f'{system}, {beam}, {bf16}']
    one(batches[batch][0])
    times,begun = [],cpu_seconds()
    with peak_of(own, device) as peak:
        for rows in batches[batch]:
            wait(device); start = time.perf_counter()
            one(rows); wait(device)
            times.append(time.perf_counter()-start)
    free(device)
    return dict(seconds=sum(times), used=cpu_seconds()-begun, peak_mib=peak[0], times=times)

JOBS = {name.removeprefix('job_'): f for name,f in globals().items() if name.startswith('job_')}

def last_line(text): return (text.strip().splitlines() or ['(no message)'])[-1][:500]

def serve(a):
    "Be a process that does the jobs it is sent, one a line"
    from turns import channel
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')               # asked for by algorithms that give the same bits each time
    say = channel()
    import torch
    torch.set_num_threads(a.threads)
    state = dict(setting=a, systems={})
    say(ready=True)
    for line in sys.stdin:
        job = json.loads(line)
        before = time.perf_counter()
        try: answer = dict(found=JOBS[job.pop('job')](state, **job))
        except Wrong as e: answer = dict(wrong=str(e), found=e.found)
        except Exception as e:
            traceback.print_exc()
            where = traceback.extract_tb(e.__traceback__)[-1]
            answer = dict(failed=f'{type(e).__name__}: {last_line(str(e))} ({Path(where.filename).name}, line {where.lineno})')
            e.__traceback__ = None
            with suppress(Exception): free(a.device)
        found = answer.get('found') or {}
        say(**answer, cpu=found.pop('used', 0.), took=time.perf_counter()-before)

# ---- The process that asks

class Failed(Exception): pass
class TimedOut(Exception): pass

class Host:
    "A process for jobs, started when it is first needed and anew after it was killed"
    all = []
    def __init__(self, name, a): self.name,self.a,self.worker,self.sent = name,a,None,0; Host.all.append(self)

    def start(self):
        from turns import Worker
        if self.worker is None: self.worker,self.sent = Worker(self.name, 'gpu.py', '--serve', json.dumps(vars(self.a)), threads=self.a.threads, wait=False, group=True),1

    def send(self, job, **more):
        "Send a job without waiting for it"
        self.start()
        with suppress(BrokenPipeError): print(json.dumps(dict(job=job) | more), file=self.worker.process.stdin, flush=True)
        self.sent += 1

    def receive(self, limit):
        "The answer to the oldest job, within `limit` seconds"
        from turns import NoAnswer
        until = time.monotonic()+limit
        while True:
            begun = time.monotonic()
            try: answer = self.worker.answer(max(.1, until-begun))
            except NoAnswer as e:
                late = time.monotonic()>=until
                self.lose()
                raise (TimedOut if late else Failed)(str(e)) from None
            self.sent -= 1
            if 'ready' not in answer: return answer

    def do(self, job, limit, **more):
        "Do a job: what it found, or an error that says why not"
        self.send(job, **more)
        return result_of(self.receive(limit))

    def timed(self, job, limit, **more):
        "The same for what is measured, with how many cores others kept busy meanwhile"
        from turns import busy
        before,start = busy(),time.perf_counter()
        self.send(job, **more)
        answer = self.receive(limit)
        return result_of(answer) | dict(cpu=answer['cpu'], others=max(0., (busy()-before-answer['cpu'])/(time.perf_counter()-start)))

    def lose(self):
        "Kill the process and all that it has started"
        if self.worker is None: return
        with suppress(ProcessLookupError): self.worker.kill()
        self.worker = None

def result_of(answer):
    if 'failed' in answer: raise Failed(answer['failed'])
    if 'wrong' in answer: raise Wrong(answer['wrong'], **answer['found'])
    return answer.get('found')

class Bench:
    "All sections, in their order, with their limits in seconds"
    limits = {'card': 60, 'arithmetic': 40, 'int8': 30, 'prefetch': 40, 'memory': 40, 'resume': 60, 'ranks': 70, 'curve': 80, 'train base': 170, 'train big': 190, 'decode': 150}

    def __init__(self, a, folder):
        self.a,self.folder,self.peak = a,folder,None
        self.checks,self.hosts = Host('checks', a),{n: Host(n, a) for n in SYSTEMS if n not in a.missing}
        self.paths,self.work,self.building = {},{},set()

    def begin(self, only):
        "Start all processes at once"
        for h in (self.checks, *(self.hosts.values() if any(n.startswith(('train', 'decode')) for n in only) else ())): h.start()

    def card(self, until):
        out = self.checks.do('card', until())
        self.peak = (out['peak_tflops'] or 0)*1e12
        return out

    def check(self, name, until): return self.checks.do(name, until())
    def ranks(self, until): return self.checks.do('ranks', until(), seconds=until()-2)

    def batches(self, size):
        "The file of the batches of a size; made once"
        import numpy as np
        from train import BOS,EOS,PAD,SIZES,corpus,make_batches,rectangle,useful_flops
        if size not in self.paths:
            a,c = self.a,SIZES[size]
            rows = make_batches(corpus(c['vocab'], a.pairs), a.batches, a.tokens)
            arrays = {f'src{i}': rectangle([[*s, EOS] for s,_ in b]) for i,b in enumerate(rows)} | {f'tgt{i}': rectangle([[BOS, *t, EOS] for _,t in b]) for i,b in enumerate(rows)}
            self.paths[size] = f'{self.folder}/{size}.npz'
            np.savez(self.paths[size], **arrays)
            real = lambda side,less: round(float(sum((x!=PAD).sum()-less*len(x) for n,x in arrays.items() if n.startswith(side))/sum(len(x)*(x.shape[1]-less) for n,x in arrays.items() if n.startswith(side))), 3)
            self.work[size] = dict(target_tokens=sum(len(t)+1 for b in rows for _,t in b), flops=sum(useful_flops(b, c) for b in rows), target_fill=real('tgt', 1), source_fill=real('src', 0))
        return self.paths[size]

    def send_builds(self, size):
        "Let all systems be built at the same time"
        for system,h in self.hosts.items():
            for mode in MODES: h.send('build', system=system, mode=mode, size=self.a.sizes[size], path=self.batches(self.a.sizes[size]))
        self.building.add(size)

    def receive_builds(self, size, until):
        "What there is to tell of the systems that are ready, and why others are not"
        about,lost,again = {},{},[]
        for system,h in self.hosts.items():
            for mode in MODES:
                name = f'{system}, {mode}'
                if h.worker is None: lost[name] = f'the process of {system} was lost'; continue
                try: about[name] = result_of(h.receive(until()))
                except (Failed, TimedOut, Wrong) as e:
                    lost[name] = str(e)
                    if 'out of memory' in str(e) and h.worker: again.append((system, mode))
        for system,h in self.hosts.items():                                    # what one way of a system has spoilt is built anew without it
            if h.worker is None and f'{system}, {MODES[0]}' not in again: again.append((system, MODES[0]))
        self.building.discard(size)
        for system,mode in again:                                              # one by one, now that there is room
            if until()<20: break
            name = f'{system}, {mode}'
            about.pop(name, None)
            try: about[name] = self.hosts[system].do('build', until(), system=system, mode=mode, size=self.a.sizes[size], path=self.batches(self.a.sizes[size])); lost.pop(name, None)
            except (Failed, TimedOut, Wrong) as e: lost[name] = str(e)
        return about,lost

    def take_turns(self, tasks, rounds, until):
        "Rounds in which all tasks take turns, as many as there is time for; tasks that failed, with the reason, are in none of them"
        done,lost,longest = [],{},0.
        for _ in range(rounds):
            start,answers = time.monotonic(),{}
            if done and until()<1.5*longest: break
            for name,(host,job,more) in tasks.items():
                if name in lost: continue
                try: answers[name] = host.timed(job, until(), **more)
                except (Failed, TimedOut, Wrong) as e: lost[name] = f'in round {len(done)+1}: {e}'
            done.append(answers); longest = max(longest, time.monotonic()-start)
        return [{n: r[n] for n in r if n not in lost} for r in done],lost

    def train(self, size, until):
        "Speed, utilisation and memory of training"
        from train import summarize
        if size not in self.building: self.send_builds(size)
        whole = until()
        about,lost = self.receive_builds(size, lambda: max(.1, until()-.35*whole))          # the rest is for the rounds
        tasks = {n: (self.hosts[n.split(', ')[0]], 'train', dict(name=n)) for n in about}
        rounds,failed = self.take_turns(tasks | {'gemm': (self.checks, 'product', {})}, self.a.rounds, until)
        for h in self.hosts.values():
            if h.worker and not h.sent:
                try: h.do('drop', 20)
                except (Failed, TimedOut, Wrong): h.lose()
        lost |= failed
        if 'gemm' in lost: raise Failed(f"the matrix product: {lost['gemm']}")
        if not tasks.keys()-lost.keys(): raise Failed(f'no system could be measured: {lost}')
        work = self.work[self.a.sizes[size]]
        out = dict(size=self.a.sizes[size], batches=self.a.batches, batch_tokens=self.a.tokens, **work, about=about, lost=lost, rounds=len(rounds)) | summarize(rounds, work['target_tokens'], work['flops'])
        for x in out['systems'].values(): x['utilisation'] = round(x['gflops']*1e9/self.peak, 3) if self.peak else None
        out['same_way'] = {mode: ratio for mode in MODES if (ratio := against_peers(out['systems'], mode))}
        return out

    def decode(self, until):
        "Sentences a second and milliseconds a sentence"
        import torch
        import decode_systems
        from decode import make_sources,make_weights
        a,lost,first,tasks,about = self.a,{},{},{},{}
        sources,path = make_sources(a.sentences, decode_systems.SIZES[a.decode]['vocab']),f'{self.folder}/weights.pt'
        torch.save(dict(weights=make_weights(a.decode), sources=sorted(sources, key=len, reverse=True), shuffled=sources), path)
        systems = {name: h for name,h in (('kotrans', self.hosts['kotrans']), ('Hugging Face', self.hosts.get('Marian'))) if h}
        kinds = [(beam, bf16) for beam in (1, 4) for bf16 in ((False, True) if a.device=='cuda' else (False,))]
        for beam,bf16 in kinds:
            for system,h in systems.items(): h.send('load', system=system, beam=beam, bf16=bf16, path=path)
            for system,h in systems.items():
                name = f"{system}, {'beam '+str(beam) if beam>1 else 'greedy'}, {'bfloat16' if bf16 else 'float32'}"
                if h.worker is None: lost[name] = f'the process of {system} was lost'; continue
                try: found = result_of(h.receive(until()))
                except (Failed, TimedOut, Wrong) as e: lost[name] = str(e); continue
                first[name],about[system] = found['first'],found['version']
                for batch in (a.batch, 1): tasks[f'{name}, batch {batch}'] = h,'decode',dict(system=system, beam=beam, bf16=bf16, batch=batch)
        rounds,failed = self.take_turns(tasks, a.decode_rounds, until)
        lost |= failed
        if not rounds or not rounds[0]: raise Failed(f'no system could be measured: {lost}')
        rows = [row_of(n, rounds, first, tasks[n][2]) for n in rounds[0]]
        return dict(size=a.decode, sentences=a.sentences, alone=a.alone, length=a.length, batch=a.batch, rounds=len(rounds), versions=about, lost=lost, rows=rows, ratios=decode_ratios(rounds))

def against_peers(systems, mode):
    "How many times as fast kotrans is as the fastest peer of the same way, and which that is"
    here = {n.split(', ')[0]: x['seconds'] for n,x in systems.items() if n.endswith(f', {mode}')}
    own,peers = here.pop('kotrans', None),here
    if not own or not peers: return None
    return dict(ratio=round(statistics.median(min(p[i] for p in peers.values())/s for i,s in enumerate(own)), 3), fastest_peer=min(peers, key=lambda n: statistics.median(peers[n])))

def row_of(name, rounds, first, how):
    "A row of the table of decoding: medians and the range over the rounds"
    system,method,precision,_ = name.split(', ')
    batch,found = how['batch'],first[name.rsplit(', ', 1)[0]]
    own = first.get(f'kotrans, {method}, {precision}', {})
    sentences = len(found[str(batch)])
    speeds = [sentences/r[name]['seconds'] for r in rounds]
    same = [x==y for x,y in zip(found[str(batch)], own.get(str(batch), []))]
    row = dict(system=system, method=method, precision=precision, batch=batch, sentences_per_second=round(statistics.median(speeds), 2), low=round(min(speeds), 2), high=round(max(speeds), 2),
               peak_mib=max(r[name]['peak_mib'] for r in rounds), same=round(sum(same)/len(same), 4) if same else None)
    if batch==1: row['median_ms'] = round(1000*statistics.median(t for r in rounds for t in r[name]['times']), 2)
    return row

def decode_ratios(rounds):
    "How many times as fast kotrans is as Hugging Face, each by the rounds' median"
    return {n.removeprefix('kotrans, '): round(statistics.median(r[peer]['seconds']/r[n]['seconds'] for r in rounds), 3)
            for n in rounds[0] if n.startswith('kotrans, ') and (peer := n.replace('kotrans', 'Hugging Face', 1)) in rounds[0]}

def write_record(record, path):
    "The record as a file, whole or not at all"
    from kotrans.files import write_json
    if path: Path(path).parent.mkdir(parents=True, exist_ok=True); write_json(path, record)

def run_section(record, name, function, limit, deadline):
    "Do one section, and put into the record what came of it"
    begun = time.monotonic()
    end = min(begun+limit, deadline)
    until = lambda: max(.1, end-time.monotonic())
    result = dict(status='ok', limit=round(end-begun))
    if end-begun<5: result = dict(status='skipped', why='no time was left', limit=0)
    else:
        try: result |= function(until)
        except Wrong as e: result |= dict(status='wrong', why=str(e)) | e.found
        except TimedOut as e: result |= dict(status='timed out', why=str(e))
        except Failed as e: result |= dict(status='failed', why=str(e))
        except Exception as e: traceback.print_exc(); result |= dict(status='failed', why=f'{type(e).__name__}: {last_line(str(e))}')
    record['sections'][name] = result | dict(seconds=round(time.monotonic()-begun, 1))

def show(name, x):
    "A section in a few lines"
    print(f"{name:12} {x['status']}{': '+x['why'] if 'why' in x else ''}   ({x['seconds']} s)", flush=True)
    for n,y in x.get('systems', {}).items():
        used = '' if y['utilisation'] is None else f"utilisation {y['utilisation']:.3f}, "
        print(f"    {n:26} {y['tokens_per_second']:>9,} tokens/s   {used}{y['share_of_gemm']:.3f} of the matrix product   {y['peak_mib']:>7,} MiB", flush=True)
    for y in x.get('rows', []): print(f"    {y['system']:13} {y['method']:7} {y['precision']:9} batch {y['batch']:<4} {y['sentences_per_second']:>9,} sentences/s   {y['peak_mib']:>7,} MiB   {y['same'] or 0:.0%} the same", flush=True)
    for n,why in x.get('lost', {}).items(): print(f'    {n:26} lost: {why}', flush=True)
    for k in ('ratio', 'same_way', 'ratios', 'card', 'product_tflops', 'worst', 'gradient_difference', 'equal'):
        if x.get(k): print(f'    {k} {x[k]}', flush=True)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--device', choices=['cuda', 'cpu'], default='cuda'); p.add_argument('--tiny', action='store_true', help='sizes for a trial, without torch.compile')
    p.add_argument('--only', nargs='+', default=[*Bench.limits], choices=Bench.limits, metavar='SECTION', help=', '.join(Bench.limits))
    p.add_argument('--minutes', type=float, default=8.5, help='what is not begun by then is skipped, what has begun is cut off'); p.add_argument('--json', help='file for the record')
    p.add_argument('--serve', help=argparse.SUPPRESS); p.add_argument('--rank', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.serve: return serve(Namespace(**json.loads(a.serve)))
    if a.rank: return as_rank(Namespace(**json.loads(a.rank)))
    deadline = time.monotonic()+60*a.minutes
    if names := missing_packages(): sys.exit(how_to_carry(names))
    import torch
    from turns import machine
    if a.device=='cuda' and not torch.cuda.is_available(): sys.exit('no CUDA GPU is here; try the script itself with --device cpu --tiny')
    missing = {} if importlib.util.find_spec('transformers') else {'Marian': 'transformers'}
    settings = Namespace(**SIZE['tiny' if a.tiny else 'full'], device=a.device, tiny=a.tiny, precision='bfloat16' if a.device=='cuda' else 'float32', tied=False, without='', compile=False,
                         threads=1 if a.device=='cpu' else 4, missing=missing)
    record = dict(setting=vars(settings) | dict(minutes=a.minutes) | machine(), sections={})
    with tempfile.TemporaryDirectory() as folder:
        bench,patience = Bench(settings, folder),10 if a.tiny else 1           # the trial may meet a busy machine
        sections = {n: getattr(bench, n, None) or partial(bench.check, n) for n in Bench.limits} | {f'train {size}': partial(bench.train, size) for size in settings.sizes}
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))                # so that no process stays behind
        try:
            bench.begin(a.only)
            for name in a.only:
                run_section(record, name, sections[name], patience*Bench.limits[name], deadline)
                show(name, record['sections'][name])
                write_record(record, a.json)
                if name=='card' and 'train base' in a.only and record['sections'][name]['status']=='ok': bench.send_builds('base')     # they compile while checks run
        finally:
            for h in Host.all: h.lose()
    bad = [n for n,x in record['sections'].items() if x['status'] in ('failed', 'wrong', 'timed out')]
    for n,why in missing.items(): print(f'{n} was left out: {why} is not installed')
    if bad: sys.exit(f"not as it should be: {', '.join(bad)}")

if __name__=='__main__': main()
