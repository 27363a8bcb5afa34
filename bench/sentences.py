"""Cutting Korean paragraphs into sentences: how well and how fast the libraries do it that are installed.

    python bench/sentences.py                                  all kinds of paragraph, to results/sentences.json
    python bench/sentences.py --file mine.tsv --json ''        sentences of your own (the first column; one sentence a line)

Paragraphs are made of sentences whose borders are known: the phrasebook's and the grammar's, and some written for this test. A border is
found if a system cuts at the same place, white space aside. Precision is the share of its cuts that are borders, recall the share of
borders that it cuts at, and `whole` the share of paragraphs that come apart exactly. The kinds of paragraph:

    plain      sentences with their full stops, a space between
    bare       no full stops at all, as in chats and subtitles
    joined     full stops, and no space behind them
    dots       every sentence ends in …, ..., ?! or !!
    quoted     whole sentences, full stop included, quoted inside a longer one
    awkward    decimals, dates, versions, addresses, file names, initials: full stops that end nothing

`rule` is a regular expression (a full stop and white space); `kotrans` is what `kotrans-translate --split-sentences` does: Kiwi's cuts, with a reservation. Speed is of one thread, one paragraph at a time. Each system is loaded once more in a
process of its own, for the time and the memory that takes (`kotrans` brings torch).
"""
import argparse,importlib.metadata,platform,random,re,subprocess,sys,time
from importlib.util import find_spec
from pathlib import Path

p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
p.add_argument('--file', help='a table whose first column is one Korean sentence', default='')
p.add_argument('--paragraphs', type=int, default=300, help='of each kind')
p.add_argument('--json', default='results/sentences.json')
p.add_argument('--show', type=int, default=0, help='print so many mistakes of each system and kind')
p.add_argument('--load', default='', help=argparse.SUPPRESS)

AWKWARD = '''원주율은 약 3.14입니다.
기온이 어제보다 2.5도 낮아졌다.
회의는 2024. 3. 15. 오후 2시에 시작합니다.
버전 2.10.3에서 고쳐졌습니다.
자세한 내용은 https://example.org/help.html?id=3 에서 보세요.
문의는 help@example.co.kr 로 보내 주세요.
보고서는 C:\\문서\\보고서.v2.docx 파일에 있어요.
설정은 /etc/app.conf 에 적는다.
J. R. 스미스 씨가 강연을 했습니다.
Dr. Lee를 만나러 갔어요.
물가가 1.2% 올랐다고 한다.
No. 5 출구에서 만나요.
값은 1,250.50달러였다.
서울특별시(Seoul)는 한국의 수도이다.
3.1절에는 학교에 안 가요.
그 노래(feat. 김하나)는 정말 좋다.
example.com 에 가입했어요.
점수는 4.5점 만점에 3.8점이었습니다.
A.M. 7시에 일어났다.
표 1.2를 참고하십시오.
파일 이름은 data.tar.gz 입니다.
"안녕!" 하고 아이가 손을 흔들었다.
그는 "왜?"라고 물었다.
오늘의 기온(최고 31.2도, 최저 24.8도)을 알려 드립니다.'''.split('\n')

FRAMES = ['친구가 "{}"라고 말했어요.', '"{}"라는 말을 들었다.', '어머니는 “{}” 하고 웃으셨다.', "동생이 '{}'라고 적었습니다."]

def no_stop(s): return re.sub(r'[.!?…]+$', '', s)

def paragraphs(kind, sentences, n, r):
    "`n` paragraphs of `kind`, each a list of sentences, and what stands between them"
    for _ in range(n):
        s = [r.choice(sentences) for _ in range(r.randint(2, 6))]
        if kind=='bare': s = [no_stop(x) for x in s]
        if kind=='dots': s = [no_stop(x)+r.choice(['…', '...', '?!', '!!']) for x in s]
        if kind=='quoted': s = [r.choice(FRAMES).format(x) if r.random()<.5 else x for x in s]
        if kind=='awkward': s = [r.choice(AWKWARD) if r.random()<.6 else x for x in s]
        yield s,'' if kind=='joined' else ' '

KINDS = ('plain', 'bare', 'joined', 'dots', 'quoted', 'awkward')

def rule():
    border = re.compile(r'(?<=[.!?…])["\'”’)]*\s+')
    def cut(t):
        ends = [m.end() for m in border.finditer(t)]
        return [t[i:j] for i,j in zip([0, *ends], [*ends, len(t)])]
    return cut

def kiwi():
    from kiwipiepy import Kiwi
    k = Kiwi(num_workers=1)
    return lambda t: [s.text for s in k.split_into_sents(t)]

def kotrans():
    from kotrans.sentences import split_sentences
    return split_sentences

def kss(backend):
    import logging
    logging.disable(logging.CRITICAL)
    import kss
    return lambda t: kss.split_sentences(t, backend=backend, num_workers=1)

def pysbd(language):
    import pysbd
    return pysbd.Segmenter(language=language, clean=False).segment

SYSTEMS = {'rule': (rule, ()), 'kiwipiepy': (kiwi, ()), 'kotrans': (kotrans, ()), 'kss pecab': (kss, ('pecab',)), 'kss fast': (kss, ('fast',)), 'pysbd en': (pysbd, ('en',)), 'pysbd ja': (pysbd, ('ja',))}

def cuts(parts):
    "Where `parts` end, in characters that are not white space, the last end left out"
    places,n = set(),0
    for q in parts[:-1]: n += len(''.join(q.split())); places.add(n)
    return places-{0, len(''.join(''.join(parts).split()))}

def measure(make, args, data, show):
    run,out = make(*args),{}
    run('시작합니다. 시작해요!')
    for kind,paras in data.items():
        right = found = true = whole = count = 0
        texts,t,shown = [between.join(s) for s,between in paras],time.perf_counter(),0
        got = [run(x) for x in texts]
        seconds = time.perf_counter()-t
        for (s,_),x,g in zip(paras, texts, got):
            a,b = cuts(s),cuts(g)
            right,found,true,whole,count = right+len(a&b),found+len(b),true+len(a),whole+(a==b),count+len(s)
            if a!=b and shown<show: shown += 1; print(f'  {kind}: {" | ".join(map(str.strip, g))}')
        precision,recall = right/max(1, found),right/max(1, true)
        out[kind] = dict(precision=precision, recall=recall, f1=2*right/max(1, found+true), whole=whole/len(paras), sentences_per_second=count/seconds)
    return out

def loaded(name):
    "Seconds and MB that it takes to have the system ready"
    code = [sys.executable, __file__, '--load', name]
    seconds,mb = map(float, subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()[-2:])
    return dict(load_seconds=seconds, load_mb=mb)

def resident(): return next(int(l.split()[1])/1024 for l in open('/proc/self/status') if l.startswith('VmRSS'))

def packages(name):
    "MB on the disk of the package and of all that it needs, without what kotrans has anyway"
    seen,todo = {},[name]
    while todo:
        n = re.split(r'[\s<>=!~;\[(]', todo.pop())[0].lower().replace('_', '-')
        if n in seen or n in ('numpy', 'tqdm', 'packaging'): continue
        try: d = importlib.metadata.distribution(n)
        except importlib.metadata.PackageNotFoundError: continue
        seen[n] = sum(f.locate().stat().st_size for f in d.files or [] if f.locate().is_file())/1e6
        todo += [r for r in d.requires or [] if 'extra ==' not in r]
    return dict(packages=len(seen), disk_mb=sum(seen.values()))

def main():
    a = p.parse_args()
    if a.load:
        make,args = SYSTEMS[a.load]
        before,t = resident(),time.perf_counter()
        make(*args)('시작합니다. 시작해요!')
        return print(time.perf_counter()-t, resident()-before)
    if a.file: sentences = [l.split('\t')[0].strip() for l in Path(a.file).read_text('utf-8').split('\n') if l.strip()]
    else:
        from kotrans.corpora import phrasebook
        from kotrans.grammar import generate_examples as generate
        sentences = [o.ko for o in phrasebook()]+[e.ko for e in generate(1500, seed=3)]
    # what holds a full stop inside may be two sentences, so its borders are not known
    sentences = [s for s in sentences if not re.search(r'[.!?…]["\'”’)]*\s', s)]
    r = random.Random(1)
    data = {kind: [*paragraphs(kind, sentences, a.paragraphs, r)] for kind in KINDS}
    report = dict(machine=f'{platform.machine()}, one thread', python=platform.python_version(), sentences=len(sentences), paragraphs=a.paragraphs, systems={})
    for name,(make,args) in SYSTEMS.items():
        package = {'kiwi': 'kiwipiepy', 'kotrans': 'kiwipiepy'}.get(make.__name__, make.__name__)
        if make is not rule and not find_spec(package): print(f'{name}: not installed'); continue
        kinds = measure(make, args, data, a.show)
        row = report['systems'][name] = dict(version='' if make is rule else importlib.metadata.version(package), kinds=kinds, **({} if make is rule else packages(package)|loaded(name)))
        print(f'{name:10}', '  '.join(f"{k} {v['f1']:.3f}/{v['whole']:.2f}" for k,v in kinds.items()), f"  {kinds['plain']['sentences_per_second']:,.0f}/s", {k: round(v, 1) for k,v in row.items() if isinstance(v, float|int)})
    if a.json:
        from kotrans.files import write_json
        def short(o): return {k: short(v) for k,v in o.items()} if isinstance(o, dict) else float(f'{o:.4g}') if isinstance(o, float) else o
        write_json(a.json, short(report))

if __name__=='__main__': main()
