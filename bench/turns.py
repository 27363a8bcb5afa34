"""Systems that work in turns, each in a process of its own: both ends of the line between bench/train.py or bench/decode.py and the systems.

A process builds what it is to measure, says so in a line of JSON, and then answers each line it is sent with how long that took. One works at
a time, and they take turns within each round, so that whatever else the machine does meets all of them.
"""
import json,os,resource,select,signal,subprocess,sys,tempfile,time
from pathlib import Path

HERE = Path(__file__).resolve().parent

class NotInstalled(Exception): pass
class NoAnswer(SystemExit): pass          # ends a script that does not care why, with the reason

def busy():
    "Seconds that the processors worked for anybody since the machine started, if it says so"
    try: v = [int(x) for x in open('/proc/stat').readline().split()[1:9]]
    except OSError: return float('nan')
    return (sum(v)-v[3]-v[4])/os.sysconf('SC_CLK_TCK')

def signals_end():
    "Let SIGTERM and SIGHUP end the script by an exception, as Ctrl-C does, so that it can end what it has started; what is ignored (`nohup`) stays so"
    for s in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(s) is not signal.SIG_IGN: signal.signal(s, lambda number, _: sys.exit(128+number))

def machine():
    "What a measurement was made on, without naming anybody's computer"
    from kotrans.pipeline import machine_info          # not needed at the other end
    return machine_info()

class Worker:
    "A system in its own process, and with `group` in a process group of its own; without `wait`, its first answer is read later, by `answer`"
    def __init__(self, name, script, *arguments, python=sys.executable, threads=1, wait=True, group=False):
        self.name,self.log = name,tempfile.TemporaryFile('w+')
        self.process = subprocess.Popen([python, HERE/script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=os.environ | dict(OMP_NUM_THREADS=str(threads)),
                                        process_group=0 if group else None)
        self.group,self.read = group,b''
        self.about = self.answer() if wait else None

    def answer(self, limit=None):
        "What the system says, within `limit` seconds if that is given; else it is killed"
        out,until = self.process.stdout.fileno(),None if limit is None else time.monotonic()+limit
        while b'\n' not in self.read:
            if until is not None and not select.select([out], [], [], max(0., until-time.monotonic()))[0]:
                self.kill()
                raise NoAnswer(f'{self.name}: no answer within {limit:.3g} s')
            if not (more := os.read(out, 2**16)): break
            self.read += more
        line,end,self.read = self.read.partition(b'\n')
        if end: return json.loads(line)
        self.log.seek(0)
        raise NoAnswer(f"{self.name}: ended without an answer: {(self.log.read().strip().splitlines() or ['(no message)'])[-1]}")

    def ask(self, what='go', limit=None):
        "What the system answers, with how many cores others kept busy meanwhile"
        before,start = busy(),time.perf_counter()
        try: print(what, file=self.process.stdin, flush=True)
        except BrokenPipeError: pass                           # `answer` tells what it said before it ended
        r = self.answer(limit)
        return r | dict(others=max(0., (busy()-before-r['cpu'])/(time.perf_counter()-start)))

    def end(self):
        self.process.stdin.close(); self.process.wait()

    def kill(self):
        "End the system, and with `group` all that it has started"
        if self.group: os.killpg(self.process.pid, signal.SIGKILL)
        else: self.process.kill()
        self.process.wait()

def measure(workers, rounds, what='go'):
    "Rounds in which all take turns: a list of `{name: answer}`"
    return [{name: w.ask(what) for name,w in workers.items()} for _ in range(rounds)]

# The other end

def peak_mib():
    "The most memory this process had so far"
    try: return round(next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))/1024)
    except (OSError, StopIteration): return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(2**20 if sys.platform=='darwin' else 1024))

def cpu_seconds():
    "Processor time of this process"
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime+r.ru_stime

def channel():
    "A function that sends a dict to the other end; what a library prints does not reach it from now on"
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    return lambda **x: print(json.dumps(x), file=answers, flush=True)

def serve(say, cpu=cpu_seconds, peak=peak_mib, **tasks):
    "Do what comes in by its name, with the numbers behind it, until nothing comes"
    for line in sys.stdin:
        name,*numbers = line.split()
        before,start = cpu(),time.perf_counter()
        result = tasks[name](*map(int, numbers))
        say(seconds=time.perf_counter()-start, cpu=cpu()-before, result=result, peak_mib=peak())
