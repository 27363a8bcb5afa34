"""Kill a training run a hundred times, and see whether its weights are those of a run that was left in peace.

    python bench/kills.py                       100 kills, half of them aimed at a save, to results/kills.json
    python bench/kills.py --kills 5 --json ''   a few, only printed

A run of a model whose checkpoints take some megabytes saves after every step. Each run is a process, forked from one that has loaded
PyTorch, and ends by SIGKILL: every other one at a random moment, the others at a random moment after a half-written file has appeared. The
next run goes on from the newest checkpoint. A kill counts as one during a save if it left a half-written file behind. At the end, what is
left to do is done in peace, and weights, optimizer and running average are compared with those of a run that was never killed.
"""
import argparse,json,os,platform,random,signal,tempfile,time
from pathlib import Path
import numpy as np,torch
import kotrans
from kotrans.checkpoint import fingerprint,newest_checkpoint
from kotrans.distributed import DistributedTrainer
from kotrans.files import atomic_write
from kotrans.config import TransformerConfig
from kotrans.special_ids import BOS,EOS
from kotrans.encoding import EncodedCorpus
from kotrans.transformer import Transformer
from turns import machine

p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
p.add_argument('--kills', type=int, default=100)
p.add_argument('--epochs', type=int, default=25, help='of 40 steps each; must be too many for the run to end by itself')
p.add_argument('--seed', type=int, default=1, help='of the moments')
p.add_argument('--json', default='results/kills.json')

def reversal(n, seed, vocab=2000, length=6):
    "Pairs of a random sentence and its reversal"
    words = np.random.default_rng(seed).integers(4, vocab, (n, length))
    src,tgt = np.insert(words, length, EOS, 1),np.insert(np.insert(words[:,::-1], length, EOS, 1), 0, BOS, 1)
    return EncodedCorpus(src.ravel(), np.arange(n+1)*(length+1), tgt.ravel(), np.arange(n+1)*(length+2), np.arange(n))

def trainer(folder, epochs, every):
    "A trainer that goes on from the newest checkpoint in `folder`"
    c = TransformerConfig(d_model=128, d_ff=512, num_heads=4, num_encoder_layers=2, num_decoder_layers=2, src_vocab_size=2000, tgt_vocab_size=2000, batch_size=10,
                          num_epochs=epochs, warmup_steps=100, ema_decay=.9, save_every=0, save_every_steps=every, device='cpu', checkpoint_dir=folder, log_dir=folder)
    torch.manual_seed(c.seed)
    t = DistributedTrainer(Transformer(c, 2000, 2000), c, reversal(400, 1), reversal(20, 2), progress=False)
    newest = newest_checkpoint(folder)
    if newest: t.resume(newest)
    t.say(f'from step {t.step}')
    return t

def finish(folder, epochs):
    "Go on to the end in this process; a fingerprint of all that was learned, and the steps"
    t = trainer(folder, epochs, 0)
    t.train()
    return fingerprint([t.model.state_dict(), t.optimizer.state_dict(), t.average]),t.step

def run(folder, epochs, log):
    "In a new process: train, and write what is said to `log`"
    fd = os.open(log, os.O_WRONLY|os.O_CREAT|os.O_TRUNC)
    os.dup2(fd, 1); os.dup2(fd, 2)
    trainer(folder, epochs, 1).train()

def kill(folder, epochs, log, r, aimed):
    "Start a run, kill it; where it began, and whether a save was cut short"
    pid = os.fork()
    if not pid:
        try: run(folder, epochs, log)
        finally: os._exit(1)        # never reached by a run that is killed; nor is `finally` itself
    while 'from step' not in (log.read_text() if log.exists() else ''): time.sleep(.005)
    time.sleep(r.uniform(0, .5))
    deadline = time.monotonic()+10
    while aimed and not any(folder.glob('.*.tmp')) and time.monotonic()<deadline: pass
    if aimed: time.sleep(r.uniform(0, .03))
    os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = log.read_text()
    assert code==-signal.SIGKILL, f'the run ended by itself:\n{said}'
    begun = int(said.split('from step ')[1].split()[0])
    log.unlink()
    return begun,any(folder.glob('.*.tmp'))

def main(a):
    torch.set_num_threads(1)
    r,start = random.Random(a.seed),time.time()
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        (d/'killed').mkdir()
        ends = []
        for i in range(a.kills):
            ends.append(kill(d/'killed', a.epochs, d/'log', r, i%2))
            print(f'kill {i+1}: began at step {ends[-1][0]}{", cut a save short" if ends[-1][1] else ""}', flush=True)
        size = newest_checkpoint(d/'killed').stat().st_size
        killed,steps = finish(d/'killed', a.epochs)
        calm,_ = finish(d/'calm', a.epochs)
    begun = [b for b,_ in ends]
    result = dict(kills=a.kills, during_a_save=sum(cut for _,cut in ends), went_on_from=begun, never_backwards=begun==sorted(begun), steps=steps, checkpoint_bytes=size, equal=killed==calm, fingerprint=calm,
                  minutes=round((time.time()-start)/60, 2), seed=a.seed, kotrans=kotrans.__version__, torch=torch.__version__, python=platform.python_version(), **machine())
    print({k: v for k,v in result.items() if k!='went_on_from'})
    if a.json:
        with atomic_write(a.json) as f: f.write(json.dumps(result, indent=1).encode())
    return 0 if killed==calm else 1

if __name__=='__main__': raise SystemExit(main(p.parse_args()))
