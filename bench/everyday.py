"""What each choice of the preset `tiny` does for everyday sentences, and what more text would bring: results/everyday.json.

    python bench/everyday.py [--steps 2700] [--threads 1] [--set NAME=FILE.tsv ...] [--json results/everyday.json] [VARIANT ...]

Each variant is `tiny` with one thing changed (see `VARIANTS`; none named: all), trained on the embedded corpus for the whole number of epochs that
comes nearest to so many steps, and scored on the held-out everyday sentences, on unseen combinations of the grammar, on `first_utterances.tsv`
beside this file (`typed first`), and on further files of pairs (`--set`). A step has two batches, as that of the demo's two processes. Steps are the measure since they are the same on a busy machine; the seconds that they took stand beside. `--together 2` runs two at a
time. A variant's result is stored when it ends and replaces an earlier one of that name; a file that holds others of other --steps or --threads is refused.
"""
import argparse,json,os,subprocess,sys,tempfile
from pathlib import Path
from kotrans.files import write_json
from turns import signals_end

VARIANTS = {
    'tiny': {},
    # text: the share of everyday sentences (by the lot that each draws), how many of the grammar's go with them, and how often each
    # of the topic `first` is read in an epoch
    '1/8 of the sentences': dict(share=1/8), '1/4 of the sentences': dict(share=1/4), '1/2 of the sentences': dict(share=1/2),
    'no grammar': dict(grammar=0), 'a third of the grammar': dict(grammar=5000), 'two thirds of the grammar': dict(grammar=10_000),
    'what is typed first, three times': dict(first=3),
    # sizes
    '2+2 layers': dict(num_encoder_layers=2, num_decoder_layers=2), '4+1 layers': dict(num_encoder_layers=4), 'width 192': dict(d_model=192, d_ff=384),
    'inner width 512': dict(d_ff=512), 'vocabularies of 2,000': dict(src_vocab_size=2000, tgt_vocab_size=2000),
    'vocabularies of 8,000 and 4,000': dict(src_vocab_size=8000, tgt_vocab_size=4000),
    # training
    'adam': dict(optimizer='adam'), 'inverse square root': dict(lr_decay='noam'), 'post-norm': dict(norm_first=False), 'dropout 0': dict(dropout=0.), 'dropout 0.1': dict(dropout=.1),
    'dropout 0.2': dict(dropout=.2), 'rate 2.5': dict(lr_factor=2.5), 'label smoothing 0.05': dict(label_smoothing=.05),
    'batches of 2,048 tokens': dict(batch_tokens=2048), 'running average': dict(ema_decay=.999), 'subword sampling': dict(subword_sampling_alpha=.2)}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('variants', nargs='*', metavar='VARIANT'); p.add_argument('--steps', type=int, default=2700); p.add_argument('--threads', type=int, default=1)
    p.add_argument('--together', type=int, default=1); p.add_argument('--set', action='append', default=[]); p.add_argument('--json', default='')
    args = p.parse_args()
    unknown = [v for v in args.variants if v not in VARIANTS]
    if unknown: p.error(f"no variant {', '.join(unknown)}; there are: {', '.join(VARIANTS)}")
    if args.json and Path(args.json).exists(): check_asked(p, args)
    waiting,running = args.variants or [*VARIANTS],[]
    signals_end()
    try:
        while waiting or running:
            while waiting and len(running)<args.together:
                name = waiting.pop(0)
                job = [sys.executable, __file__, '--one', name, str(args.steps), str(args.threads), *args.set]
                running.append((name, subprocess.Popen(job, stdout=subprocess.PIPE, text=True)))
            name,process = running[0]
            out,_ = process.communicate()
            if process.returncode: sys.exit(f'{name}: failed')
            running.pop(0)
            result = json.loads(out.splitlines()[-1])
            print(f"{name:32} " + '  '.join(f"{k} {s['bleu']:.1f} / {s['chrf']:.1f}" for k,s in result['scores'].items()), flush=True)
            if args.json: store(Path(args.json), name, result)
    finally:
        for _,p in running: p.kill()

def check_asked(p, args):
    "Refuse to put results beside some that were asked for with other arguments"
    beside = {name: r for name,r in json.loads(Path(args.json).read_text('utf-8'))['variants'].items() if name not in (args.variants or VARIANTS)}
    for flag,key in dict(steps='asked_steps', threads='threads').items():            # earlier results don't tell the steps that were asked for
        now = getattr(args, flag)
        other = {name: r[key] for name,r in beside.items() if r.get(key, now)!=now}
        if other: p.error(f"--{flag} {now}: {args.json} has {', '.join(f'{name} with {n}' for name,n in other.items())}; name another file")

def store(path, name, result):
    "Add a result to the file of all"
    record = json.loads(path.read_text('utf-8')) if path.exists() else dict(command='python bench/everyday.py', variants={})
    record['variants'][name] = result
    record['variants'] = {k: record['variants'][k] for k in VARIANTS if k in record['variants']}
    write_json(path, record)

def one(name, steps, threads, *sets):
    "Train and score one variant; the last line printed is its result"
    os.environ['OMP_NUM_THREADS'] = threads
    import torch
    torch.set_num_threads(int(threads))
    import kotrans
    from turns import machine
    from kotrans.analysis import read_log
    from kotrans.checkpoint import load_checkpoint
    from kotrans.config import preset
    from kotrans.corpora import embedded_corpus,everyday,everyday_splits
    from kotrans.files import stable_share,write_lines
    from kotrans.formats import read_tsv
    from kotrans.pipeline import corpus_scores,make_trainer
    from kotrans.tokenizer import train_tokenizers
    from kotrans.translator import Translator
    change = dict(VARIANTS[name])
    share,first,corpus = change.pop('share', 1),change.pop('first', 1),embedded_corpus(change.pop('grammar', 15_000))
    written,tests = sorted(everyday_splits()['train'], key=lambda pair: stable_share(pair[0])),{k: corpus[k] for k in ('test_everyday', 'test')}
    out = set(written[round(len(written)*share):])
    corpus['train'] = [pair for pair in corpus['train'] if pair not in out]
    often = {(p.ko, p.en) for p in everyday() if p.topic=='first'}
    corpus['train'] += [pair for pair in corpus['train'] if pair in often]*(first-1)
    for s in ('typed first='+os.path.join(os.path.dirname(__file__), 'first_utterances.tsv'), *sets):
        label,file = s.split('=', 1)
        tests[label] = list(read_tsv(Path(file).resolve()))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for part in ('train', 'validation'):
            for side,lang in enumerate(('ko', 'en')): write_lines(Path('data/processed')/f'{part}.{lang}', [pair[side] for pair in corpus[part]])
        config = preset('tiny', **(dict(max_minutes=0., accumulation_steps=2, save_every=0, eval_every=4, device='cpu') | change))
        train_tokenizers(**config.to_dict())
        epoch = make_trainer(config, progress=False).train_loader.num_batches(0)/config.accumulation_steps
        make_trainer(config.replace(num_epochs=max(1, round(int(steps)/epoch))), progress=False).train()
        translator = Translator.from_checkpoint('checkpoints/best_model.pt', 'cpu')
        state = load_checkpoint('checkpoints/best_model.pt')
        scores = {k: corpus_scores(translator.translate([ko for ko,*_ in pairs]), [en for _,en,*_ in pairs]) for k,pairs in tests.items()}
        rest = dict(change=VARIANTS[name], pairs=len(corpus['train']), threads=int(threads), asked_steps=int(steps), steps=state['step'], epochs=state['epoch'],
            seconds=round(sum(row['seconds'] for row in read_log('logs'))), seed=42,
            parameters=sum(p.numel() for p in translator.model.parameters()), kotrans=kotrans.__version__, torch=str(torch.__version__), **machine(), valid=state['valid'].get('valid_loss'), scores=scores)
    print(json.dumps(rest))

if __name__=='__main__':
    if sys.argv[1:2]==['--one']: one(*sys.argv[2:])
    else: main()
