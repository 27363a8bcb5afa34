"""Let two processes start, kill, resume and average runs at random in the same folders, and see whether any file of a run is lost to another.

    python bench/folder.py                   an hour, printed
    python bench/folder.py --seconds 60      a minute

Both processes work on the same two folders. Each, over and over, does something that a person might do there: begin a run, begin one with --overwrite, go
on with --resume auto or from a file, average, or copy a checkpoint from one folder to the other. Five in six are killed or asked to stop at a random
moment, if they haven't ended by then. Counted are tries: many of them are refused, and some find nothing to do. A hook sees each file that is about to be
replaced or removed: it must belong to the run that does it (unless --overwrite was given). Another reads each line that is printed: a file that it names
must be there. At the end, every checkpoint must load.
"""
import argparse,collections,json,os,platform,random,re,shutil,signal,sys,tempfile,threading,time,traceback
from pathlib import Path
import torch
import kotrans,kotrans.checkpoint,kotrans.resuming,kotrans.robustness
from kotrans.checkpoint import average,load_checkpoint,look_at,run_files,run_id
from kotrans.cli import run_command
from kotrans.distributed import DistributedTrainer
from kotrans.files import InputError,atomic_write,write_lines
from kotrans.pipeline import prepare
from kotrans.config import preset
from kotrans.runs import log_run
from turns import machine

p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
p.add_argument('--seconds', type=float, default=3600)
p.add_argument('--seed', type=int, default=1)
p.add_argument('--json', default='', help='where to store what was counted')

TINY = dict(preset='tiny', d_model=32, d_ff=64, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, batch_tokens=0, batch_size=12, src_vocab_size=320,
            tgt_vocab_size=320, warmup_steps=100, device='cpu', report=False, save_every=1, save_every_steps=7, keep_checkpoints=2)
RUN_FILE = re.compile(r'(best_model|average_model|checkpoint_(step|epoch)_\d+)\.pt')
acting = threading.local()      # the run whose state is being saved, in this thread
now = dict(run=None, overwrite=False)

def make_corpus():
    "A few sentences and their tokenizers, in the working folder"
    nouns = ('책', 'the book'),('물', 'the water'),('빵', 'the bread'),('밥', 'the rice')
    verbs = ('봐요.', 'I see'),('사요.', 'I buy'),('팔아요.', 'I sell')
    pairs = [(f'{n}을 {v}', f'{e} {f}.') for n,f in nouns for v,e in verbs]
    for part,rows in (('train', pairs*25), ('validation', pairs[:4])):
        for lang,side in zip(('ko', 'en'), zip(*rows)): write_lines(f'data/processed/{part}.{lang}', side)
    prepare(preset('tiny', src_vocab_size=320, tgt_vocab_size=320))

def wrong(log, what):
    "Note something that must not happen"
    with open(log, 'a') as f: f.write(what.replace('\n', ' ')+'\n')

def watch(log):
    "From here on, note each file that is lost to another run, and each message that names what is not there"
    def hook(event, args):
        if event not in ('os.remove', 'os.rename'): return
        path = Path(os.fsdecode(args[0 if event=='os.remove' else 1]))
        if now['overwrite']: return
        if RUN_FILE.fullmatch(path.name): was = look_at(path).run if path.exists() else ''
        elif path.name=='training.csv': was = log_run(path.parent) or ''
        else: return
        mine = getattr(acting, 'run', None) or now['run']
        if was and was!=mine: wrong(log, f'{event} {path}: of run {was}, by run {mine}')
    sys.addaudithook(hook)

    def save(path, state, real=kotrans.checkpoint.save_checkpoint):
        acting.run = run_id(state)
        try: return real(path, state)
        finally: acting.run = None
    for module in (kotrans.checkpoint, kotrans.resuming, kotrans.robustness): module.save_checkpoint = save
    def train(self, real=DistributedTrainer.train):
        now['run'] = self.run_id
        return real(self)
    DistributedTrainer.train = train

    class Watched:
        def __init__(self, file): self.file = file
        def write(self, text):
            named = [] if 'removed' in text else re.findall(r'[\w./-]+\.pt', text)
            for name in named:
                if '/' in name and not Path(name).exists(): wrong(log, f'says: {text}')
            return self.file.write(text)
        def __getattr__(self, name): return getattr(self.file, name)
    sys.stdout,sys.stderr = Watched(sys.stdout),Watched(sys.stderr)

def copy_one(r, a, b):
    "Copy a checkpoint to the other folder, as a person might, if there is none of that name"
    files = run_files(a)
    if not files: return
    path = r.choice(files).path
    if (b/path.name).exists(): return
    b.mkdir(exist_ok=True)
    tmp = b/f'.copy.{os.getpid()}'
    try: shutil.copy(path, tmp); os.link(tmp, b/path.name)
    except (FileNotFoundError, FileExistsError): pass
    finally: tmp.unlink(missing_ok=True)

def act(what, r, folders):
    "Do one thing; the exit status"
    a,b = r.sample(folders, 2)
    where,flag = dict(checkpoint_dir=str(a), log_dir=str(a)),lambda **kw: [x for k,v in kw.items() for x in _typed(k, v)]
    train = lambda **kw: run_command('kotrans.pipeline', 'train', flag(**(TINY | where | dict(num_epochs=r.randrange(1, 6)) | kw)))
    if what=='begin': return train(seed=r.randrange(100))
    if what=='overwrite':
        now['overwrite'] = True
        return train(seed=r.randrange(100), overwrite=True)
    if what=='auto': return train(resume='auto', resume_anyway='config', num_epochs=r.randrange(1, 12))
    if what=='file':
        files = [f for f in run_files(a) if f.resumable]
        if not files: return 2
        return train(resume=str(r.choice(files).path), resume_anyway='config', num_epochs=r.randrange(1, 12))
    if what=='average': return run_command('kotrans.checkpoint', 'average', [str(a), '--last', str(r.randrange(1, 4))])
    copy_one(r, a, b)
    return 0

def _typed(name, value):
    name = '--'+name.replace('_', '-')
    if isinstance(value, bool): return [name if value else '--no-'+name[2:]]
    return [name, str(value)]

def work(d, number, seed, end):
    "Act until the time is up; counts of what was tried go to a file"
    r,counts,log = random.Random(f'{seed} {number}'),collections.Counter(),d/f'wrong{number}'
    folders = [Path('one'), Path('two')]
    while time.time()<end:
        what = r.choice('begin auto auto auto file average average overwrite copy'.split())
        stop,after = r.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, 0)),r.uniform(.2, 3)
        number_of_child = r.randrange(2**30)
        if not (pid := os.fork()):
            with open(d/f'said{number}', 'w') as f: os.dup2(f.fileno(), 1); os.dup2(f.fileno(), 2)
            sys.stdout,sys.stderr = (open(os.dup(fd), 'w', buffering=1) for fd in (1, 2))
            code = 99
            try:
                watch(log)
                code = act(what, random.Random(number_of_child), folders)
            except SystemExit as e: code = e.code
            except KeyboardInterrupt: code = 130                 # before the command began
            except BaseException: wrong(log, traceback.format_exc())
            finally: os._exit(code or 0)
        begun,sent = time.time(),False
        while os.waitpid(pid, os.WNOHANG)==(0, 0):
            if stop and not sent and time.time()-begun>after: os.kill(pid, stop); sent = True
            time.sleep(.02)
        counts[what] += 1; counts['stopped'] += sent
        said = (d/f'said{number}').read_text(errors='replace')
        counts['refused'] += ' error: ' in said
        if 'Traceback' in said: wrong(log, said[-2000:])
    (d/f'counts{number}').write_text(json.dumps(counts))

def main(a):
    torch.set_num_threads(1)
    here,start = os.getcwd(),time.time()
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        d = Path(d)
        make_corpus()
        children = []
        for number in (1, 2):
            if not (pid := os.fork()):
                code = 1
                try:
                    work(d, number, a.seed, start+a.seconds)
                    code = 0
                except BaseException: wrong(d/f'wrong{number}', traceback.format_exc())
                finally: os._exit(code)
            children.append(pid)
        for pid in children: os.waitpid(pid, 0)
        found = [line for f in d.glob('wrong*') for line in f.read_text().splitlines()]
        for f in [*Path('one').glob('*.pt'), *Path('two').glob('*.pt')]:
            try: load_checkpoint(f)
            except InputError as e: found.append(str(e))
        counted = [collections.Counter(json.loads(f.read_text())) for f in d.glob('counts*')]
        if len(counted)<2: found.append('a process ended early')
        counts = sum(counted, collections.Counter())
        os.chdir(here)
    result = dict(seconds=a.seconds, seed=a.seed, **counts, wrong=found, kotrans=kotrans.__version__, torch=torch.__version__, python=platform.python_version(),
                  **machine())
    print(json.dumps(result, indent=1))
    if a.json:
        with atomic_write(a.json) as f: f.write(json.dumps(result, indent=1).encode())
    return 1 if found else 0

if __name__=='__main__': raise SystemExit(main(p.parse_args()))
