"""How much of the translator is left when it is asked through a server, how long an answer takes, and what the server keeps in memory.

    OMP_NUM_THREADS=1 python bench/serve.py kotrans/data/tour_model.pt --json results/serve.json

The server is a process of its own, with one thread for the model; many clients, on connections that stay open, ask it for a sentence or a few at a time.
In turns with them the translator of the same process translates the same sentences alone: as one list, and in lists as long as the server's batches were.
A row's shares of these two are medians of the rounds' ratios: the first is what asking one by one costs in all, the second what the server adds.
Latencies are of all requests of all rounds. Memory is what the process alone holds (RssAnon), with a translator that repeats what it hears, so that it is the server's.
The clients are this process: on a machine with one core they take from the server, on two they don't.
"""
import argparse,asyncio,itertools,json,platform,statistics,sys,time
from kotrans.files import write_json
from turns import Worker,channel,machine
from turns import serve as answer_tasks

ROWS = (1, 1),(1, 16),(1, 64),(8, 16)       # sentences a request, clients

def sentences(n):
    "Korean sentences that the shipped model was not made with"
    from kotrans.corpora import embedded_corpus
    test = embedded_corpus()
    return [*itertools.islice(itertools.cycle([p[0] for p in [*test['test_everyday'], *test['test']]]), n)]

def child(model, n):
    "The server's process"
    say = channel()
    import torch,kotrans
    from kotrans.fast_decoding import SearchOptions
    from kotrans.server import Limits,served
    from kotrans.testing import own_memory
    from kotrans.translator import Candidate,Translator
    class Echo:
        "Repeats what it hears"
        options = SearchOptions()
        def candidates(self, texts, scores=True): return [[Candidate(t, 0., 0.)] for t in texts]
    translator,texts = (Echo(),[]) if model=='echo' else (Translator.from_checkpoint(model, 'cpu'),sentences(n))
    with served(translator, Limits(max_queue=10_000)) as (address,service):
        counted = service.metrics.values
        say(address=address, torch=torch.__version__, kotrans=kotrans.__version__)
        def own(size=n):
            for i in range(0, n, size): translator.translate(texts[i:i+size])
        answer_tasks(say, own=own, memory=own_memory,
                     counts=lambda: [counted[f'kotrans_{what}_total'].get('', 0) for what in ('sentences', 'batches')])

async def client(port, requests, took):
    "Send requests one after the other on one connection"
    reader,writer = await asyncio.open_connection('127.0.0.1', port)
    for body,n in requests:
        start = time.perf_counter()
        writer.write(b'POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b' % (len(body), body))
        head = await reader.readuntil(b'\r\n\r\n')
        length = int(next(l for l in head.lower().split(b'\r\n') if l.startswith(b'content-length:')).split(b':')[1])
        said = json.loads(await reader.readexactly(length))
        if not head.startswith(b'HTTP/1.1 200') or len(said['translatedText'])!=n: sys.exit(f'the server said {head[:30]} {said}')
        took.append(time.perf_counter()-start)
    writer.close()

def load(port, texts, each, clients):
    "Seconds for all texts, and those of each request"
    groups = [texts[i:i+each] for i in range(0, len(texts), each)]
    requests,took = iter([(json.dumps(dict(q=g)).encode(), len(g)) for g in groups]),[]
    async def all_of_them(): await asyncio.gather(*(client(port, requests, took) for _ in range(clients)))
    start = time.perf_counter()
    asyncio.run(all_of_them())
    return time.perf_counter()-start,took

def throughput(a):
    "A row for each way to ask"
    w = Worker('server', 'serve.py', '--serve', a.model, '--sentences', a.sentences)
    port,texts = int(w.about['address'].rpartition(':')[2]),sentences(a.sentences)
    load(port, texts[:64], 1, 16); w.ask('own')                                                     # warm
    rounds,batches,alike = [],{row: [0, 0] for row in ROWS},{row: [] for row in ROWS}
    for _ in range(a.rounds):
        found = dict(own=w.ask('own')['seconds'])
        for row in ROWS:
            before = w.ask('counts')['result']
            found[row] = load(port, texts, *row)
            new = [after-first for after,first in zip(w.ask('counts')['result'], before)]
            batches[row] = [b+n for b,n in zip(batches[row], new)]
            alike[row].append(w.ask(f'own {round(new[0]/new[1])}')['seconds']/found[row][0])
        rounds.append(found)
    w.end()
    def told(row):
        took = sorted(t for r in rounds for t in r[row][1])
        return dict(what='a sentence' if row[0]==1 else f'{row[0]} sentences', clients=row[1], sentences_per_second=round(len(texts)/statistics.median(r[row][0] for r in rounds), 1),
                    share=round(statistics.median(r['own']/r[row][0] for r in rounds), 3), share_alike=round(statistics.median(alike[row]), 3), p50_ms=round(1000*took[len(took)//2], 1), p99_ms=round(1000*took[int(.99*len(took))], 1),
                    batch=round(batches[row][0]/batches[row][1], 1), seconds=[round(r[row][0], 3) for r in rounds])
    return dict(own=round(len(texts)/statistics.median(r['own'] for r in rounds), 1), own_seconds=[round(r['own'], 3) for r in rounds], rows=[*map(told, ROWS)], about=w.about)

def memory(a):
    "MiB of a server without a model, after so many requests"
    w = Worker('echo', 'serve.py', '--serve', 'echo')
    port,tenth,mib = int(w.about['address'].rpartition(':')[2]),a.requests//10,[]
    for i in range(10):
        load(port, [f'문장 {i} {j}' for j in range(tenth)], 1, 32)
        mib.append(round(w.ask('memory')['result'], 2))
    w.end()
    return dict(requests=[tenth*(i+1) for i in range(10)], mib=mib)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('model', nargs='?', default='kotrans/data/tour_model.pt'); p.add_argument('--sentences', type=int, default=600); p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--requests', type=int, default=50_000, help='for memory'); p.add_argument('--json'); p.add_argument('--serve', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.serve: return child(a.serve, a.sentences)
    from pathlib import Path
    found = throughput(a)
    about = found.pop('about')
    record = dict(**machine(), python=platform.python_version(), kotrans=about['kotrans'], torch=about['torch'], model=Path(a.model).name, sentences=a.sentences, rounds=a.rounds, **found, memory=memory(a))
    print(f"alone: {record['own']} sentences/s")
    for r in record['rows']: print(f"{r['what']:12} {r['clients']:3} clients: {r['sentences_per_second']:8} sentences/s, {r['share']:.0%}, in lists as long {r['share_alike']:.0%}; {r['p50_ms']} ms, 99% below {r['p99_ms']} ms; {r['batch']} a batch")
    print('MiB', *record['memory']['mib'])
    if a.json: write_json(a.json, record)

if __name__=='__main__': main()
