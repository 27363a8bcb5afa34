"""An hour of kotrans and of Hugging Face's MarianMTModel, side by side: each trains on one core of the same machine at the same time, and translates the same test set.

    python bench/compare_hf.py runs/hf --train data/train --valid data/valid --test data/test --hf-python ../venv-hf/bin/python --json results/hf.json

`--train`, `--valid` and `--test` name pairs of text files, without .ko and .en. What is made on the way stays in the folder (first argument), and what is there already is
not made again, so stages can be run one by one with `--only` (prepare, tries, hour, score). What the folder was begun with is kept in it (asked.json): with `--only`, it stands for what isn't given again,
and whoever asks for something else is sent to another folder.

The same for both: the text (normalised once), the two SentencePiece models of `kotrans-train-tokenizer`, the sizes of the model (those of the kotrans preset), one thread on
a core that the other may not use, and the time. The two run at the same time, so that what else the machine does takes from both. The clock starts before each process does:
imports, reading and encoding count. Before that, outside the clock, each tries three settings (`TRIES`) for `--try-minutes`, and takes the one with the lowest perplexity
on the validation pairs; these runs also tell how many steps the time will hold, for schedules that must know. (Translations say nothing after some minutes: a model that
does not read the source yet says one sentence always, and one such sentence has a better chrF than another.)

Hugging Face trains by its own `Seq2SeqTrainer`: `MarianMTModel` from scratch, batches of sentences of like length (`group_by_length`), fused AdamW, label smoothing, gradient
clipping, the learning rate falling linearly to 0 at the end of the time. Its last weights, or the average of its last five checkpoints, whichever has the lower perplexity on the
validation pairs, translate by its own `generate`. kotrans runs as `kotrans-train` and `kotrans-translate`. Both search with --beam hypotheses, scores divided by length (Hugging Face) or GNMT's (5+n)/6 (kotrans).

Its environment: pip install torch transformers accelerate sentencepiece
Scores are sacrebleu's BLEU and chrF, their difference judged by its paired bootstrap (1,000 samples).
"""
import argparse,json,math,os,platform,signal,subprocess,sys,time
from functools import partial
from pathlib import Path
from compare_joey import as_begun,prepare,read_json,write_json

STAGES = 'prepare', 'tries', 'hour', 'score'
ASKED = 'train', 'valid', 'test', 'pairs', 'held_out', 'vocab', 'preset', 'seed', 'minutes', 'try_minutes', 'start_seconds', 'beam'
MUON = dict(optimizer='muon', lr_decay='linear', ema_decay=0., warmup_steps=400, dropout=.1)
TRIES = {                       # what each system tries; the first of each is its preset or what its examples use
    'kotrans': [{}, MUON | dict(lr_factor=1.8), MUON | dict(lr_factor=1.8, batch_tokens=1024)],
    'Hugging Face': [dict(learning_rate=5e-4, batch=32), dict(learning_rate=3e-4, batch=32), dict(learning_rate=5e-4, batch=32, init_std=.0625)]}    # at 1e-3 its encoder collapses
FILES = {'kotrans': 'kotrans', 'Hugging Face': 'hf'}

# What follows up to the next line like this runs in the interpreter that has transformers, which need not have kotrans.

def marian(sizes, init_std=.02):
    "The model, with weights of its own making; `init_std` is their deviation, .02 its default, which is small for a narrow model"
    from transformers import MarianConfig,MarianMTModel
    n = sizes['vocab']
    return MarianMTModel(MarianConfig(vocab_size=n, decoder_vocab_size=n, share_encoder_decoder_embeddings=False, tie_word_embeddings=True, d_model=sizes['d_model'],
        encoder_layers=sizes['encoder_layers'], decoder_layers=sizes['decoder_layers'], encoder_attention_heads=sizes['heads'], decoder_attention_heads=sizes['heads'],
        encoder_ffn_dim=sizes['d_ff'], decoder_ffn_dim=sizes['d_ff'], init_std=init_std, activation_function='relu', dropout=.1, attention_dropout=0., activation_dropout=0.,
        scale_embedding=True, max_position_embeddings=512, pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=2, forced_eos_token_id=3))

def drive(job):
    "Train by Hugging Face's trainer until the time is up, and translate"
    began = job['began']
    import torch,transformers,sentencepiece
    from transformers import Seq2SeqTrainer,Seq2SeqTrainingArguments,TrainerCallback
    torch.set_num_threads(1)
    torch.manual_seed(job['seed'])
    transformers.logging.set_verbosity_error()
    folder,setting = Path(job['folder']),job['setting']
    src,tgt = (sentencepiece.SentencePieceProcessor(model_file=job[k]) for k in ('src_model', 'tgt_model'))
    lines = lambda f: Path(f).read_text('utf-8').split('\n')[:-1]
    def pairs(name):
        sides = [sp.encode(lines(f"{job['data']}/{name}.{lang}"), add_eos=True) for sp,lang in ((src, 'ko'), (tgt, 'en'))]
        return [dict(input_ids=s, labels=t, length=len(s)) for s,t in zip(*sides) if max(len(s), len(t))<=256]
    class Pad:
        "Batches, padded, with what the decoder is given"
        pad_token_id = 0
        def __call__(self, rows):
            def padded(k, fill): return torch.nn.utils.rnn.pad_sequence([torch.tensor(r[k]) for r in rows], batch_first=True, padding_value=fill)
            labels = padded('labels', -100)
            given = torch.cat([torch.full((len(rows), 1), 2), labels[:, :-1].clamp_min(0)], 1)
            source = padded('input_ids', 0)
            return dict(input_ids=source, attention_mask=(source!=0).long(), decoder_input_ids=given, labels=labels)
    class TimeIsUp(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = control.should_training_stop or time.time()-began>job['minutes']*60
    model,train,valid = marian(job['sizes'], setting.get('init_std', .02)),pairs('train'),pairs('validation')
    steps = job['steps']
    args = Seq2SeqTrainingArguments(output_dir=str(folder/'checkpoints'), per_device_train_batch_size=setting['batch'], learning_rate=setting['learning_rate'], max_steps=steps,
        warmup_steps=min(200, steps//2), lr_scheduler_type='linear', label_smoothing_factor=.1, optim='adamw_torch_fused', adam_beta2=.98, weight_decay=0., max_grad_norm=1.,
        save_strategy='steps', save_steps=max(1, steps//12), save_total_limit=5, save_only_model=True, eval_strategy='no', logging_steps=100, report_to=[], disable_tqdm=True,
        use_cpu=True, seed=job['seed'], remove_unused_columns=False, dataloader_num_workers=0, train_sampling_strategy='group_by_length', length_column_name='length')
    trainer = Seq2SeqTrainer(model=model, args=args, train_dataset=train, data_collator=Pad(), callbacks=[TimeIsUp()])
    started = time.time()
    trainer.train()
    trained = (time.time()-began)/60
    def translate(texts, beams):
        model.eval()
        out,order = [None]*len(texts),sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for rows in (order[i:i+32] for i in range(0, len(order), 32)):
            ids = [torch.tensor(src.encode(texts[i], add_eos=True)) for i in rows]
            batch = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
            with torch.inference_mode():
                found = model.generate(input_ids=batch, attention_mask=(batch!=0).long(), num_beams=beams, max_new_tokens=100, do_sample=False, length_penalty=1.)
            for i,o in zip(rows, found.tolist()): out[i] = tgt.decode([t for t in o if t>3])
        return out
    def perplexity():
        model.eval()
        total,count = 0.,0
        for i in range(0, len(valid), 32):
            b = Pad()(valid[i:i+32])
            labels = b.pop('labels')
            with torch.inference_mode(): logits = model(**b).logits
            total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction='sum').item()
            count += (labels!=-100).sum().item()
        return math.exp(total/count)
    kept = sorted((folder/'checkpoints').glob('checkpoint-*'), key=lambda p: int(p.name.rpartition('-')[2]))[-5:]
    candidates = {'last': {k: v.clone() for k,v in model.state_dict().items()}}
    if len(kept)>1:
        from safetensors.torch import load_file
        states = [load_file(p/'model.safetensors') for p in kept]
        candidates[f'average of {len(kept)} checkpoints'] = {k: sum(s[k].double() for s in states).div(len(states)).float() for k in states[0]}
    choice = {}
    for name,state in candidates.items():
        model.load_state_dict(state, strict=False); model.tie_weights()
        choice[name] = round(perplexity(), 2)
    chosen = min(choice, key=choice.get)
    model.load_state_dict(candidates[chosen], strict=False); model.tie_weights()
    start = time.time()
    if job['test']: (folder/'test.out').write_text(''.join(f'{l}\n' for l in translate(lines(f"{job['data']}/test.ko"), job['beam'])), 'utf-8')
    done = trainer.state.global_step
    write_json(folder/'run.json', dict(version=transformers.__version__, torch=torch.__version__, python=platform.python_version(), minutes=round(trained, 2), steps=done, planned=steps,
        steps_per_minute=done/((time.time()-started)/60 if not trained else max(1e-9, trained-(started-began)/60)), epochs=round(trainer.state.epoch or 0, 2),
        parameters=sum(p.numel() for p in model.parameters()), valid_ppl=choice[chosen], choice=choice, chosen=chosen,
        decode_seconds=round(time.time()-start, 1) if job['test'] else None))

# ----------------------------------------------------------------------------------------------------------------

def config_of(a, setting, folder):
    "The kotrans config of a run"
    from kotrans.config import preset
    return preset(a.preset).replace(**setting).replace(data_dir=str(a.folder/'data'), vocab_dir=str(a.folder/'vocab'), encoded_dir=str(folder/'encoded'),
        checkpoint_dir=str(folder/'checkpoints'), log_dir=str(folder/'logs'), src_vocab_size=a.vocab, tgt_vocab_size=a.vocab, device='cpu', seed=a.seed, num_epochs=10_000)

def drive_kotrans(job):
    "Train by kotrans' commands until the time is up, and translate"
    from kotrans.analysis import read_log
    from kotrans.checkpoint import load_checkpoint
    from kotrans.files import read_lines,write_lines
    import kotrans,torch
    folder = Path(job['folder'])
    def command(module, name, *args):
        subprocess.run([sys.executable, '-P', '-c', f'import sys; from kotrans.cli import {module}; sys.exit({module}.{name}())', *map(str, args)], check=True)
    c = json.loads((folder/'config.json').read_text('utf-8'))
    command('encoding', 'encode_data', *(x for k in ('data_dir', 'vocab_dir', 'encoded_dir', 'max_len') for x in (f'--{k}', c[k])))
    left = job['minutes']-(time.time()-job['began'])/60-job['start_seconds']/60
    command('pipeline', 'train', '--config', folder/'config.toml', '--no-report', '--max-minutes', f'{left:.3f}')
    trained = (time.time()-job['began'])/60
    best = folder/'checkpoints'/'best_model.pt'
    state,rows = load_checkpoint(best),read_log(folder/'logs')
    start = time.time()
    if job['test']:
        write_lines(folder/'test.ko', read_lines(f"{job['data']}/test.ko"))
        command('terminal', 'translate', '--file', folder/'test.ko', '--output', folder/'test.out', '--checkpoint', best, '--device', 'cpu', '--beam-size', job['beam'])
    seconds = sum(r['seconds'] for r in rows)
    write_json(folder/'run.json', dict(version=kotrans.__version__, torch=str(torch.__version__), python=platform.python_version(), minutes=round(trained, 2), steps=state['step'],
        tokens=round(sum(r['tokens_per_second']*r['seconds'] for r in rows)), epochs=rows[-1]['epoch'], train_seconds=round(seconds, 1), valid_ppl=min(r['valid_ppl'] for r in rows if 'valid_ppl' in r),
        parameters=sum({v.data_ptr(): v.numel() for v in state['weights'].values()}.values()), decode_seconds=round(time.time()-start, 1) if job['test'] else None))

def start(a, system, setting, name, minutes, steps, test, core):
    "Start the run of a system on a core"
    folder = a.folder/f'{FILES[system]}-{name}'
    if (folder/'run.json').exists(): return None
    subprocess.run(['rm', '-rf', folder], check=True); folder.mkdir(parents=True)
    job = dict(folder=str(folder), data=str(a.folder/'data'), setting=setting, minutes=minutes, steps=steps, test=test, beam=a.beam, seed=a.seed, start_seconds=a.start_seconds,
               src_model=str(a.folder/'vocab'/'ko_spm.model'), tgt_model=str(a.folder/'vocab'/'en_spm.model'))
    python,call = a.hf_python,'drive'
    c = config_of(a, setting if system=='kotrans' else {}, folder)
    if system=='kotrans':
        from compare_joey import as_toml
        python,call = sys.executable,'drive_kotrans'
        (folder/'config.toml').write_text(as_toml(c), 'utf-8'); write_json(folder/'config.json', c.to_dict())
    else: job['sizes'] = dict(vocab=a.vocab, d_model=c.d_model, d_ff=c.d_ff, heads=c.num_heads, encoder_layers=c.num_encoder_layers, decoder_layers=c.num_decoder_layers)
    log = open(folder/'console', 'w')
    write_json(folder/'job.json', job | dict(began=time.time()))
    return subprocess.Popen([python, __file__, '--drive', call, str(folder/'job.json')], stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                            env=os.environ | dict(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false'), preexec_fn=partial(os.sched_setaffinity, 0, {core}))

def side_by_side(a, settings, name, minutes, steps, test=False):
    "Both systems at the same time; what each did"
    cores = sorted(os.sched_getaffinity(0))
    if len(cores)<2: sys.exit('two cores are needed')
    running = {}
    try:
        for (s,setting),core in zip(settings.items(), cores): running[s] = start(a, s, setting, name, minutes, steps, test, core)
        for s,process in running.items():
            if process and process.wait():
                sys.exit(f"{s}: {(a.folder/f'{FILES[s]}-{name}'/'console').read_text('utf-8').strip().splitlines()[-1]}")
    finally:                                                      # Ctrl-C, or one of them failed: the other does not go on
        for p in filter(None, running.values()):
            if p.poll() is None: os.killpg(p.pid, signal.SIGKILL); p.wait()         # with the processes that it has started
    return {s: read_json(a.folder/f'{FILES[s]}-{name}'/'run.json') for s in settings}

def tries(a):
    "What each system's three settings give on the validation sentences in a few minutes"
    found = {s: [] for s in TRIES}
    last = side_by_side(a, {s: t[0] for s,t in TRIES.items()}, 'warm', a.try_minutes/2, 10_000)['Hugging Face']     # ended by the clock: tells how fast it is
    batch = TRIES['Hugging Face'][0]['batch']
    for i in range(3):
        rate = last['steps_per_minute']*batch                        # sentences a minute, as the run before had them
        batch = TRIES['Hugging Face'][i]['batch']
        done = side_by_side(a, {s: t[i] for s,t in TRIES.items()}, f'try{i}', a.try_minutes, max(1, int(.97*rate/batch*(a.try_minutes-.3))))
        last = done['Hugging Face']
        for s,r in done.items():
            found[s].append(dict(setting=TRIES[s][i], **{k: r[k] for k in ('valid_ppl', 'steps', 'epochs', 'minutes')}, **(dict(steps_per_minute=r['steps_per_minute']) if 'steps_per_minute' in r else {})))
            print(f"{s:13} {TRIES[s][i]}: perplexity {r['valid_ppl']:.1f} after {r['steps']:,} steps", flush=True)
    write_json(a.folder/'tries.json', found)

def hour(a):
    "The time itself, with the best settings"
    found = read_json(a.folder/'tries.json')
    best = {s: min(t, key=lambda r: r['valid_ppl']) for s,t in found.items()}
    steps = int(.98*best['Hugging Face']['steps_per_minute']*(a.minutes-.3))
    write_json(a.folder/'hour.json', side_by_side(a, {s: b['setting'] for s,b in best.items()}, 'hour', a.minutes, steps, True))

def score(a):
    "BLEU and chrF of both, and whether they differ"
    from kotrans.files import read_lines
    from scores import paired_scores
    from turns import machine
    references,found = read_lines(a.folder/'data'/'test.en'),read_json(a.folder/'tries.json')
    names = ['Hugging Face', 'kotrans']
    scores,signatures = paired_scores({n: read_lines(a.folder/f'{FILES[n]}-hour'/'test.out') for n in names}, references)
    systems = {n: r | dict(tries=found[n], setting=min(found[n], key=lambda t: t['valid_ppl'])['setting']) for n,r in read_json(a.folder/'hour.json').items()}
    record = dict(minutes=a.minutes, try_minutes=a.try_minutes, threads=1, **machine(), preset=a.preset, seed=a.seed, vocabularies=a.vocab, beam=a.beam,
                  data=read_json(a.folder/'data.json'), scores=scores, signatures=signatures, systems=systems)
    for m,s in scores.items():
        print(f"{m:5} kotrans {s['kotrans']['score']:6.2f} ± {s['kotrans']['ci']:.2f}   Hugging Face {s['Hugging Face']['score']:6.2f} ± {s['Hugging Face']['ci']:.2f}   p = {s['kotrans']['p']}")
    if a.json: write_json(a.json, record)

def main():
    if sys.argv[1:2]==['--drive']: return dict(drive=drive, drive_kotrans=drive_kotrans)[sys.argv[2]](read_json(sys.argv[3]))
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('folder', type=Path, help='where everything is made')
    for part in ('train', 'valid', 'test'): p.add_argument(f'--{part}', help='path of two text files, without .ko and .en')
    p.add_argument('--minutes', type=float, default=60.); p.add_argument('--try-minutes', type=float, default=10.); p.add_argument('--seed', type=int, default=42)
    p.add_argument('--preset', default='small'); p.add_argument('--vocab', type=int, default=8000, help='entries of each of the two vocabularies'); p.add_argument('--beam', type=int, default=5)
    p.add_argument('--start-seconds', type=float, default=4., help='what importing and building takes kotrans before its own clock starts')
    p.add_argument('--hf-python', default=sys.executable); p.add_argument('--json')
    p.add_argument('--pairs', type=int, default=0, help='train on the first so many pairs'); p.add_argument('--held-out', type=int, default=0, help='validate and test on the first so many')
    p.add_argument('--only', nargs='+', choices=STAGES, default=STAGES)
    a = p.parse_args()
    from kotrans.files import InputError
    from turns import signals_end
    signals_end()
    a.folder = a.folder.resolve()
    try: as_begun(p, a, ASKED)
    except InputError as e: sys.exit(f'compare_hf: error: {e}')
    a.config,a.set = '',[]
    made = dict(prepare='data.json', tries='tries.json', hour='hour.json')
    for stage in STAGES:
        if stage not in a.only or stage in made and (a.folder/made[stage]).exists(): continue
        if stage=='prepare' and not (a.train and a.valid and a.test): sys.exit('prepare: needs --train, --valid and --test')
        dict(prepare=prepare, tries=tries, hour=hour, score=score)[stage](a)

if __name__=='__main__': main()
