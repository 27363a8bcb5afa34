"""What an hour of two cores is worth: kotrans and JoeyNMT train on the same text for the same time, and translate the same test set.

    python bench/compare_joey.py runs/joey --train data/train --valid data/valid --test data/test \\
        --minutes 60 --threads 2 --joey-python ../venv-joey/bin/python --json results/joey.json

`--train`, `--valid` and `--test` name pairs of text files, without .ko and .en. What is made on the way stays in the folder (first argument);
what is there already is not made again, so stages can be run one by one with `--only` (prepare, kotrans, translate, joey, score; `translate` is kotrans', with what it trained), each in its own hour.
What the folder was begun with is kept in it (asked.json): with `--only`, it stands for what isn't given again, and whoever asks for something else, be it other minutes, is sent to another folder. Only
JoeyNMT's recipe (`--joey`) may change, where `--only` names its stage.

The same for both: the text (normalised once), the two SentencePiece models of `kotrans-train-tokenizer`, the sizes of the model (those of the kotrans
preset or --config), the number of threads, and the time. The clock starts before the process does, so that imports, reading and encoding count;
it ends at --minutes, in the middle of an epoch. After that each validates once more what it has, keeps what is best on the validation set, and
translates the test set by its own beam search with --beam hypotheses and the same --length-penalty (both know GNMT's), which is timed but not part of the budget.

kotrans runs as `kotrans-train` with the preset; `--set field=value` changes config fields.
JoeyNMT runs its own `train` with what its example configs and its documentation recommend for a Transformer, and what a CPU asks for: token batches, Adam with
inverse-square-root decay after a warmup, dropout also on attention weights and inside the feed-forward network, pre-norm, normalisation by tokens, label smoothing, no CUDA, no loader
processes (they would compete for the cores), greedy validation of 200 sentences some five times (it decodes without a cache, so more would eat the time), best by BLEU. `--joey training.learning_rate=0.0005`
changes any entry of its config. Of its best, its last and the average of its kept checkpoints, the one with the best BLEU on up to 500
sentences of the validation set translates.
Three of its calls are mended, since it was written for older libraries: `ReduceLROnPlateau` no longer takes `verbose`, a checkpoint loads with what it pickled, and
SentencePiece no longer restricts a vocabulary, which changes nothing here, since all pieces are in it.

Its environment: pip install torch joeynmt==2.3.0 importlib_metadata
Scores are sacrebleu's BLEU and chrF, their difference judged by its paired bootstrap (1,000 samples).
"""
import argparse,hashlib,json,os,platform,signal,subprocess,sys,time
from pathlib import Path

STAGES = 'prepare', 'kotrans', 'translate', 'joey', 'score'
ASKED = 'train', 'valid', 'test', 'pairs', 'held_out', 'vocab', 'preset', 'config', 'set', 'seed', 'minutes', 'threads', 'start_seconds', 'beam', 'length_penalty', 'joey'

def write_json(path, record):
    "Write a record, whole or not at all"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f'{path.name}.new')
    new.write_text(json.dumps(record, indent=1, ensure_ascii=False)+'\n', 'utf-8')
    os.replace(new, path)

def read_json(path): return json.loads(Path(path).read_text('utf-8'))

# What follows up to the next line like this runs in JoeyNMT's interpreter, which need not have kotrans.

def drive(folder, minutes, began, beam):
    "Train by JoeyNMT until the time is up, keep the best on the validation set, translate the test set"
    import joeynmt.builders,joeynmt.helpers,joeynmt.training as training,torch
    from importlib.metadata import version
    from joeynmt.config import load_config,parse_global_args,set_validation_args
    from joeynmt.helpers import make_model_dir
    from joeynmt.helpers_for_ddp import get_logger
    from joeynmt.prediction import predict,prepare
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    import sentencepiece
    if not hasattr(sentencepiece.SentencePieceProcessor, 'SetVocabulary'): sentencepiece.SentencePieceProcessor.SetVocabulary = lambda *_: None
    plateau,load = joeynmt.builders.ReduceLROnPlateau,torch.load
    joeynmt.builders.ReduceLROnPlateau = lambda *a, verbose=False, **k: plateau(*a, **k)
    torch.load = lambda *a, **k: load(*a, **(dict(weights_only=False) | k))

    model_dir,seen = folder/'joey',[]
    report = training.TrainManager._add_report
    def timed(self, valid_scores, new_best=False):
        seen.append(dict(minutes=round((time.time()-began)/60, 2), step=self.stats.steps, tokens=self.stats.total_tokens, new_best=new_best, **{k: float(v) for k,v in valid_scores.items() if v==v}))
        report(self, valid_scores=valid_scores, new_best=new_best)
    training.TrainManager._add_report = timed
    make_model_dir(model_dir, overwrite=True)
    get_logger('', log_file=str(model_dir/'train.log'))
    def time_is_up(*_): raise KeyboardInterrupt                 # which it takes for a wish to stop, and saves
    signal.signal(signal.SIGALRM, time_is_up)
    signal.setitimer(signal.ITIMER_REAL, max(1., minutes*60-(time.time()-began)))
    training.train(rank=0, world_size=None, cfg=load_config(folder/'joey.yaml'), skip_test=True)
    signal.setitimer(signal.ITIMER_REAL, 0)
    trained = (time.time()-began)/60

    stats = torch.load(model_dir/'latest.ckpt')['stats_state']
    kept = sorted((p for p in model_dir.glob('*.ckpt') if p.stem.isdigit()), key=lambda p: int(p.stem))
    candidates = {}
    for name in ('best', 'latest'):
        path = model_dir/f'{name}.ckpt'
        if path.is_file(): candidates[f'{name} (step {path.resolve().stem})'] = torch.load(path)['model_state']
    if len(kept)>1:
        states = [torch.load(p)['model_state'] for p in kept]
        mean = {k: torch.stack([s[k].double() for s in states]).mean(0).to(v.dtype) if v.is_floating_point() else v for k,v in states[-1].items()}
        candidates[f'average of {len(kept)} checkpoints'] = mean
    torch.save(dict(model_state=next(iter(candidates.values()))), model_dir/'chosen.ckpt')
    cfg = load_config(folder/'joey.yaml')
    cfg['testing']['load_model'] = str(model_dir/'chosen.ckpt')
    args = parse_global_args(cfg, rank=0, mode='test')
    model,_,dev,test = prepare(args, rank=0, mode='test')
    test.reset_indices(random_subset=-1)
    dev.reset_indices(random_subset=500 if len(dev)>500 else -1)
    def translate(data, options, loss):
        return predict(model=model, data=data, compute_loss=loss, device=args.device, rank=0, n_gpu=0, num_workers=0, normalization=args.train.normalization, args=options, autocast=args.autocast)
    choice = {}
    for name,state in candidates.items():
        model.load_state_dict(state)
        choice[name] = {k: float(v) for k,v in translate(dev, set_validation_args(args.test), True)[0].items() if v==v}
    chosen = max(choice, key=lambda n: choice[n]['bleu'])
    model.load_state_dict(candidates[chosen])
    start = time.time()
    lines = translate(test, args.test._replace(beam_size=beam), False)[2]
    (folder/'joey.out').write_text(''.join(f'{l}\n' for l in lines), 'utf-8')
    write_json(folder/'joey.run.json', dict(version=version('joeynmt'), torch=torch.__version__, python=platform.python_version(), minutes=round(trained, 2), steps=stats['steps'], tokens=int(stats['total_tokens']),
        epochs=stats['epochs'], parameters=sum(p.numel() for p in model.parameters()), validations=seen, choice=choice, chosen=chosen, decode_seconds=round(time.time()-start, 1)))

# ----------------------------------------------------------------------------------------------------------------

def config_of(a):
    "The kotrans config: a preset or a file, with the fields that were set"
    from kotrans.files import InputError
    from kotrans.config import load_config,preset
    config,changes = load_config(a.config) if a.config else preset(a.preset),{}
    for item in a.set:
        name,_,text = item.partition('=')
        old = getattr(config, name, None)
        if old is None: raise InputError(f'--set {item}: no such config field')
        changes[name] = text.lower() in ('true', '1', 'yes') if isinstance(old, bool) else type(old)(text)
    folder = a.folder
    return config.replace(**changes).replace(data_dir=str(folder/'data'), vocab_dir=str(folder/'vocab'), encoded_dir=str(folder/'encoded'), checkpoint_dir=str(folder/'checkpoints'), log_dir=str(folder/'logs'),
        src_vocab_size=a.vocab, tgt_vocab_size=a.vocab, device='cpu', seed=a.seed)

def as_toml(config):
    text = {bool: lambda x: str(x).lower(), str: lambda x: json.dumps(x, ensure_ascii=False)}
    return ''.join(f'{k} = {text.get(type(v), repr)(v)}\n' for k,v in config.to_dict().items())

def as_begun(p, a, names, free=()):
    "Keep what the folder is begun with, in asked.json; later, an argument of `names` that differs is an error (but for the `free`), and those that weren't typed are filled in where --only names stages"
    from kotrans.files import InputError
    path,begun = a.folder/'asked.json',(a.folder/'data.json').exists()
    if begun and not path.exists(): return                        # begun before there was such a file
    for k in ('train', 'valid', 'test', 'config'):
        if getattr(a, k, None): setattr(a, k, str(Path(getattr(a, k)).resolve()))
    unset,old = object(),read_json(path) if begun else {}
    typed = {k for k,x in vars(p.parse_args(namespace=argparse.Namespace(**dict.fromkeys(vars(a), unset)))).items() if x is not unset}
    for k in old.keys()&set(names):
        if k not in typed and ('only' in typed or getattr(a, k) is None): setattr(a, k, old[k])
        elif k not in free and old[k]!=getattr(a, k): raise InputError(f"--{k.replace('_', '-')}: {a.folder} was begun with {old[k]}, not {getattr(a, k)}; name another folder")
    write_json(path, {k: getattr(a, k) for k in names})

def prepare(a):
    "Normalised text in one place, and the two vocabularies"
    from kotrans.files import read_lines,write_lines
    from kotrans.tokenizer import load_tokenizers,normalise_text,train_tokenizers
    about = {}
    for part,prefix,most in (('train', a.train, a.pairs), ('validation', a.valid, a.held_out), ('test', a.test, a.held_out)):
        sides = [[normalise_text(l) for l in read_lines(f'{prefix}.{lang}')] for lang in ('ko', 'en')]
        pairs = [p for p in zip(*sides, strict=True) if all(p)][:most or None]
        if part!='train': pairs.sort(key=lambda p: len(p[0]))              # JoeyNMT translates in the order of the file, and much faster when neighbours are alike
        about[part] = dict(pairs=len(pairs), sha256=hashlib.sha256(''.join(f'{k}\t{e}\n' for k,e in pairs).encode()).hexdigest())
        for i,lang in enumerate(('ko', 'en')):
            (a.folder/'data').mkdir(parents=True, exist_ok=True)
            write_lines(a.folder/'data'/f'{part}.{lang}', [p[i] for p in pairs])
    c = config_of(a)
    train_tokenizers(**c.to_dict())
    for lang,t in zip(('ko', 'en'), load_tokenizers(c.vocab_dir)):
        write_lines(a.folder/'vocab'/f'{lang}.pieces', [t.sp.id_to_piece(i) for i in range(4, len(t))])       # JoeyNMT puts its own four special entries in front
    write_json(a.folder/'data.json', about)

def environment(a): return os.environ | dict(OMP_NUM_THREADS=str(a.threads), MKL_NUM_THREADS=str(a.threads))

def command(a, module, name, *args):
    "Run a kotrans command in its own process"
    subprocess.run([sys.executable, '-P', '-c', f'import sys; from kotrans.cli import {module}; sys.exit({module}.{name}())', *args], check=True, env=environment(a))

def run_kotrans(a):
    "Train for the time there is"
    import kotrans,torch
    from kotrans.analysis import read_log
    from kotrans.checkpoint import load_checkpoint
    for name in ('encoded', 'checkpoints', 'logs', 'kotrans.out'): subprocess.run(['rm', '-rf', a.folder/name], check=True)
    c,config = config_of(a).replace(num_epochs=10_000),a.folder/'kotrans.toml'
    config.write_text(as_toml(c), 'utf-8')
    load,began = os.getloadavg()[0],time.time()
    command(a, 'encoding', 'encode_data', *(x for k in ('data_dir', 'vocab_dir', 'encoded_dir', 'max_len') for x in (f'--{k}', str(getattr(c, k)))))
    command(a, 'pipeline', 'train', '--config', str(config), '--no-report', '--max-minutes', f'{a.minutes-(time.time()-began)/60-a.start_seconds/60:.3f}')
    trained = (time.time()-began)/60
    state = load_checkpoint(a.folder/'checkpoints'/'best_model.pt')
    rows = read_log(a.folder/'logs')
    fields = {k: v for k,v in state['config'].items() if not k.endswith('_dir')}
    write_json(a.folder/'kotrans.run.json', dict(version=kotrans.__version__, torch=torch.__version__, python=platform.python_version(), load=round(load, 2), minutes=round(trained, 2), steps=int(rows[-1]['step']),
        tokens=round(sum(r['tokens_per_second']*r['seconds'] for r in rows)), epochs=rows[-1]['epoch'], parameters=sum({v.data_ptr(): v.numel() for v in state['weights'].values()}.values()), validations=rows, config=fields))

def translate_kotrans(a):
    "Translate the test set with the best model"
    start = time.time()
    command(a, 'terminal', 'translate', '--file', str(a.folder/'data'/'test.ko'), '--output', str(a.folder/'kotrans.out'), '--checkpoint', str(a.folder/'checkpoints'/'best_model.pt'),
         '--beam-size', str(a.beam), '--length-penalty', str(a.length_penalty), '--device', 'cpu')
    path = a.folder/'kotrans.run.json'
    write_json(path, read_json(path) | dict(decode_seconds=round(time.time()-start, 1)))

def joey_config(a):
    "JoeyNMT's config for the same sizes"
    c,f = config_of(a),a.folder
    often = max(10, round(a.minutes*12, -1))              # steps between validations: some five in the time
    text = lambda lang: dict(lang=lang, level='bpe', lowercase=False, normalize=False, max_length=100, voc_file=str(f/'vocab'/f'{lang}.pieces'),
                             tokenizer_type='sentencepiece', tokenizer_cfg=dict(model_file=str(f/'vocab'/f'{lang}_spm.model'), pretokenizer='none'))
    side = lambda layers: dict(type='transformer', num_layers=layers, num_heads=c.num_heads, embeddings=dict(embedding_dim=c.d_model, scale=True, dropout=.1), hidden_size=c.d_model, ff_size=c.d_ff,
                               dropout=.1, layer_norm='pre', activation='relu')
    config = dict(name='compare', joeynmt_version='2.3.0', model_dir=str(f/'joey'), use_cuda=False, fp16=False, random_seed=a.seed, num_workers=0,
        data=dict(train=str(f/'data'/'train'), dev=str(f/'data'/'validation'), test=str(f/'data'/'test'), dataset_type='plain', sample_dev_subset=-1, src=text('ko'), trg=text('en'),
                  special_symbols=dict(unk_token='<unk>', unk_id=0, pad_token='<pad>', pad_id=1, bos_token='<s>', bos_id=2, eos_token='</s>', eos_id=3)),
        testing=dict(batch_size=64, batch_type='sentence', max_output_length=100, eval_metrics=['bleu', 'chrf'], beam_size=a.beam, beam_alpha=a.length_penalty, sacrebleu_cfg=dict(tokenize='13a')),
        training=dict(loss='crossentropy', normalization='tokens', label_smoothing=.1, optimizer='adam', adam_betas=[.9, .98], clip_grad_norm=1.0, learning_rate=.001, learning_rate_min=.0001*.01, learning_rate_warmup=1000,
                      scheduling='warmupinversesquareroot', batch_size=2048, batch_type='token', batch_multiplier=1, epochs=1000, validation_freq=often, logging_freq=max(1, often//10), early_stopping_metric='bleu',
                      keep_best_ckpts=5, shuffle=True, overwrite=True, print_valid_sents=[0, 1]),
        model=dict(initializer='xavier_uniform', init_gain=1.0, bias_initializer='zeros', embed_initializer='xavier_uniform', embed_init_gain=1.0, tied_embeddings=False, tied_softmax=c.tie_embeddings,
                   encoder=side(c.num_encoder_layers), decoder=side(c.num_decoder_layers)))
    lines = sum(1 for _ in open(f/'data'/'validation.ko', 'rb'))
    if lines>200: config['data']['sample_dev_subset'] = 200
    for item in a.joey:
        path,_,text_ = item.partition('=')
        *parents,last = path.split('.')
        at = config
        for p in parents: at = at[p]
        try: at[last] = json.loads(text_)
        except json.JSONDecodeError: at[last] = text_
    return config

def as_yaml(x, depth=0):
    "The few kinds of values that the config holds, as YAML"
    if isinstance(x, dict): return ''.join(f'\n{"  "*depth}{k}:{as_yaml(v, depth+1)}' for k,v in x.items())
    if isinstance(x, float): return f' {x:.12f}'
    return ' '+json.dumps(x, ensure_ascii=False)

def run_joey(a):
    "Train JoeyNMT for the time there is, and let it translate the test set"
    config = joey_config(a)
    (a.folder/'joey.yaml').write_text(as_yaml(config).lstrip()+'\n', 'utf-8')
    subprocess.run(['rm', '-rf', a.folder/'joey'], check=True)
    load,began = os.getloadavg()[0],time.time()
    with open(a.folder/'joey.console', 'w') as log:
        done = subprocess.run([a.joey_python, __file__, str(a.folder), '--drive', str(began), '--minutes', str(a.minutes), '--beam', str(a.beam)], env=environment(a), stdout=log, stderr=subprocess.STDOUT)
    if done.returncode: sys.exit(f"JoeyNMT: {(a.folder/'joey.console').read_text('utf-8').strip().splitlines()[-1]}")
    for place in (config, *config['data'].values()):                   # folders of this machine are not part of the result
        if isinstance(place, dict): [place.pop(k, None) for k in ('model_dir', 'voc_file', 'train', 'dev', 'test')]
    for side in ('src', 'trg'): config['data'][side]['tokenizer_cfg'].pop('model_file')
    for k in ('train', 'dev', 'test'): config['data'].pop(k, None)
    write_json(a.folder/'joey.run.json', read_json(a.folder/'joey.run.json') | dict(load=round(load, 2), config=config))

def score(a):
    "BLEU and chrF of both, and whether they differ"
    from kotrans.files import read_lines
    from scores import paired_scores
    from turns import machine
    references = read_lines(a.folder/'data'/'test.en')
    names = ['JoeyNMT', 'kotrans']
    outputs = {n: read_lines(a.folder/f'{f}.out') for n,f in zip(names, ('joey', 'kotrans'))}
    for n,lines in outputs.items():
        if len(lines)!=len(references): sys.exit(f'{n}: {len(lines)} translations of {len(references)} sentences; run its stage again')
    scores,signatures = paired_scores(outputs, references)
    systems = dict(kotrans=read_json(a.folder/'kotrans.run.json'), JoeyNMT=read_json(a.folder/'joey.run.json'))
    record = dict(minutes=a.minutes, threads=a.threads, **machine(), seed=a.seed, vocabularies=a.vocab, beam=a.beam, length_penalty=a.length_penalty, data=read_json(a.folder/'data.json'),
                  scores=scores, signatures=signatures, systems=systems)
    for m,s in scores.items():
        print(f"{m:5} kotrans {s['kotrans']['score']:6.2f} ± {s['kotrans']['ci']:.2f}   JoeyNMT {s['JoeyNMT']['score']:6.2f} ± {s['JoeyNMT']['ci']:.2f}   p = {s['kotrans']['p']:.4f}")
    for n,s in systems.items(): print(f"{n:8} {s['minutes']:.1f} minutes, {s['steps']:,} steps, {s['tokens']:,} target tokens, epoch {s['epochs']}, {s['parameters']:,} parameters; test set translated in {s['decode_seconds']:.0f} s")
    print(f"JoeyNMT translates with: {systems['JoeyNMT']['chosen']}")
    if a.json: write_json(a.json, record)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('folder', type=Path, help='where everything is made')
    for part in ('train', 'valid', 'test'): p.add_argument(f'--{part}', help='path of two text files, without .ko and .en')
    p.add_argument('--minutes', type=float, default=60.); p.add_argument('--threads', type=int, default=os.cpu_count()); p.add_argument('--seed', type=int, default=42)
    p.add_argument('--preset', default='small'); p.add_argument('--config', help='a kotrans config file, instead of the preset'); p.add_argument('--set', nargs='*', default=[], metavar='FIELD=VALUE')
    p.add_argument('--vocab', type=int, default=8000, help='entries of each of the two vocabularies'); p.add_argument('--beam', type=int, default=5); p.add_argument('--length-penalty', type=float, default=1., help="α of GNMT's length penalty, for both")
    p.add_argument('--start-seconds', type=float, default=4., help="what importing and building takes kotrans before its own clock starts")
    p.add_argument('--joey-python', default=sys.executable); p.add_argument('--joey', nargs='*', default=[], metavar='PATH=VALUE')
    p.add_argument('--pairs', type=int, default=0, help='train on the first so many pairs'); p.add_argument('--held-out', type=int, default=0, help='validate and test on the first so many')
    p.add_argument('--only', nargs='+', choices=STAGES, default=STAGES); p.add_argument('--json'); p.add_argument('--drive', type=float, help=argparse.SUPPRESS)
    a = p.parse_args()
    a.folder = a.folder.resolve()
    if a.drive: return drive(a.folder, a.minutes, a.drive, a.beam)
    from kotrans.files import InputError
    from turns import signals_end
    signals_end()
    made = dict(prepare='data.json', kotrans='kotrans.run.json', translate='kotrans.out', joey='joey.run.json')
    try:
        as_begun(p, a, ASKED, {'joey'} if a.only is not STAGES and 'joey' in a.only else ())
        for stage in STAGES:
            if stage not in a.only: continue
            if stage in made and (a.folder/made[stage]).exists() and a.only is STAGES: continue
            if stage=='prepare' and not (a.train and a.valid and a.test): raise InputError('prepare: needs --train, --valid and --test')
            dict(prepare=prepare, kotrans=run_kotrans, translate=translate_kotrans, joey=run_joey, score=score)[stage](a)
    except InputError as e: sys.exit(f'compare_joey: error: {e}')
    except subprocess.CalledProcessError as e: sys.exit(f'compare_joey: error: a command of kotrans ended with status {e.returncode}')

if __name__=='__main__': main()
