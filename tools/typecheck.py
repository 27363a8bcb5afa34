"""Do annotations say what is true? Asked in three ways; any that fails is printed.

    python tools/typecheck.py

1. mypy reads the stubs and tools/typed_use.py, a program that uses the package as readers do: right uses pass, wrong ones are noticed.
2. mypy reads the code, each patched method put into its class: no function returns, and no default is, something else than its
   annotation says. Its other complaints are about what it can't follow, and are not counted.
3. tools/typed_use.py runs: the values are of the types that were asserted.
"""
import os,subprocess,sys,tempfile
from pathlib import Path
from stubs import PACKAGE,merged

root = PACKAGE.parent

def mypy(folder, *args):
    "What mypy says of files in `folder`, line by line, and its status"
    done = subprocess.run([sys.executable, '-m', 'mypy', '--config-file=', '--no-error-summary', *args], cwd=folder,
                          capture_output=True, text=True, env=os.environ | dict(MYPYPATH=str(folder)))
    return [*filter(None, (done.stdout+done.stderr).split('\n'))],done.returncode

def public():
    "What is wrong with the types that others see"
    lines,status = mypy(root, '--cache-dir', str(root/'.mypy_cache'), '--warn-unused-ignores', '--warn-redundant-casts', 'kotrans', 'tools/typed_use.py')
    return lines or (['mypy failed and said nothing'] if status else [])

def bodies(sources=None):
    "Functions that return, and defaults that are, something else than is annotated"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name); (folder/'kotrans').mkdir()
        for m,text in (sources or merged() | {'__init__': ''}).items(): (folder/'kotrans'/f'{m}.py').write_text(text, 'utf-8')
        lines,status = mypy(folder, '--cache-dir', str(root/'.mypy_cache'/'bodies'), '--implicit-optional', '--ignore-missing-imports', '--no-warn-no-return', 'kotrans')
    if status not in (0, 1): return lines
    return [l for l in lines if l.endswith('[return-value]') or 'Incompatible default for' in l]

def running():
    done = subprocess.run([sys.executable, 'tools/typed_use.py'], cwd=root, capture_output=True, text=True, env=os.environ | dict(PYTHONPATH=str(root)))
    return (done.stdout+done.stderr).split('\n') if done.returncode else []

if __name__=='__main__':
    planted = 'def f(x: int="a") -> str:\n    return 3\n'
    found = bodies(dict(__init__='', a=planted))
    if len(found)!=2: sys.exit(f'mypy does not notice {planted!r}: {found}')
    trouble = {f.__name__: f() for f in (public, bodies, running)}
    for name,lines in trouble.items():
        for l in lines: print(f'{name}: {l}')
    print('types: ' + (f'{sum(map(len, trouble.values()))} lines of complaint' if any(trouble.values()) else 'ok'))
    sys.exit(any(trouble.values()))
