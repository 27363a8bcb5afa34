"""Facts that stand in several files say the same, and importing kotrans is quick.

    python tools/metadata.py           settings.ini beside pyproject.toml, constraints.txt, CITATION.cff, CHANGELOG.md, the package
    python tools/metadata.py --built   also what `pip` knows of the installed package
    python tools/metadata.py --packed DIST      what is in the sdist and the wheel that lie there
"""
import re,subprocess,sys,tomllib
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
NBDEV3_ONLY = {'allowed_out_metadata_keys'}     # nbdev 2 has no such setting
SECONDS = .2        # within which `import kotrans` is done
WHEEL = 4_000_000     # bytes, within which it stays
trouble = []

def need(good, what):
    if not good: trouble.append(what)

def read(name): return (root/name).read_text('utf-8')

ini = ConfigParser(delimiters=['=']); ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

def pyproject():
    "What nbdev 3 and build tools read is what settings.ini says"
    d = tomllib.loads(read('pyproject.toml')); project,nb = d['project'],d['tool']['nbdev']
    need(project['name']==cfg['lib_name'], f'pyproject.toml: name is {project["name"]!r}, settings.ini: lib_name is {cfg["lib_name"]!r}')
    own = {'name', 'license-files', 'dynamic'}      # setup.py cannot give the first two
    need(set(project)==own, f'pyproject.toml: [project] has {sorted(set(project)^own)} too much or too little; what settings.ini says is dynamic')
    for key,value in nb.items():
        if key in NBDEV3_ONLY: continue
        said = cfg.get(key); value = str(value)
        need(said is not None, f'pyproject.toml: [tool.nbdev] {key} is not in settings.ini')
        need(said is None or said==value, f'pyproject.toml: [tool.nbdev] {key} is {value!r}, settings.ini: {said!r}')

def versions():
    "One version, in the package and the citation; pinned versions are within the ranges of settings.ini"
    from packaging.requirements import Requirement
    need(f'__version__ = "{cfg["version"]}"' in read('kotrans/__init__.py'), f'kotrans/__init__.py: another version than settings.ini: {cfg["version"]}')
    cite = read('CITATION.cff'); said = lambda key: (re.search(rf'^{key}: *"?([^"\n]+)"?$', cite, re.M) or [None, None])[1]
    need(said('version')==cfg['version'], f'CITATION.cff: version {said("version")}, settings.ini: {cfg["version"]}')
    need(said('repository-code')==cfg['git_url'], f'CITATION.cff: repository-code {said("repository-code")}, settings.ini: {cfg["git_url"]}')
    need(said('url')==cfg['doc_host']+cfg['doc_baseurl'], f'CITATION.cff: url {said("url")}')
    need(re.search(rf'^## \[{re.escape(cfg["version"])}\]', read('CHANGELOG.md'), re.M), f'CHANGELOG.md: no section [{cfg["version"]}]')
    need(read('constraints.txt').isascii(), 'constraints.txt: not ASCII throughout; before version 25 pip reads it in the encoding of the system')
    pins = dict(re.findall(r'^([\w.-]+)==(\S+)$', read('constraints.txt'), re.M))
    for key,value in cfg.items():
        if key!='requirements' and not key.endswith('_requirements'): continue
        for r in map(Requirement, value.split()):
            if r.name==cfg['lib_name']: continue          # another list of this file
            if r.name not in pins: need(False, f'constraints.txt: no version of {r.name} ({key})')
            else: need(r.specifier.contains(pins[r.name]), f'constraints.txt: {r.name}=={pins[r.name]}, settings.ini {key}: {r}')

def commands():
    "Each command of settings.ini is a function of a module"
    for line in cfg['console_scripts'].split():
        name,where = line.split('='); inside,called = where.split(':')
        module,function = called.split('.') if '.' in called else (inside.removeprefix('kotrans.'), called)   # of a chapter, or of the module itself
        f = root/f'kotrans/{module}.py'
        need(f.exists() and re.search(rf'^def {function}\(', f.read_text('utf-8'), re.M), f'settings.ini: {name} is {where}, and kotrans/{module}.py has no function {function}')

TRIAL = '''
import sys,time
start = time.perf_counter(); import kotrans; seconds = time.perf_counter()-start
heavy = {'torch', 'numpy', 'matplotlib', 'sentencepiece', 'fastcore'} & set(sys.modules)
assert not heavy, f'import kotrans loads {sorted(heavy)}'
assert {*kotrans.__all__}<={*dir(kotrans)}
from kotrans import preset,load_config,TransformerConfig,InputError
assert 'torch' not in sys.modules, 'a config loads torch'
assert preset('tiny').d_model and issubclass(InputError, Exception) and preset is kotrans.preset
try: kotrans.nothing
except AttributeError as e: assert 'nothing' in str(e)
else: raise AssertionError('kotrans.nothing')
from kotrans import config,masking      # modules are still found
from kotrans import Translator,Trainer,Transformer
from kotrans.translator import Translator as T
assert Translator is T and kotrans.Translator is T and 'torch' in sys.modules
print(seconds)
'''

def importing():
    "`from kotrans import Translator` works, and `import kotrans` alone loads nothing heavy"
    best = float('inf')
    for _ in range(3):      # the quickest of three: what else the machine does is no fault of ours
        done = subprocess.run([sys.executable, '-c', TRIAL], cwd=root, capture_output=True, text=True)
        if done.returncode: need(False, 'importing: '+done.stderr.strip().splitlines()[-1]); return
        best = min(best, float(done.stdout))
        if best<SECONDS: break
    need(best<SECONDS, f'import kotrans takes {best:.2f} s, more than {SECONDS} s')
    print(f'import kotrans: {best:.3f} s')

def built():
    "The installed metadata is what settings.ini says"
    import importlib.metadata as m
    from packaging.requirements import Requirement
    d = m.metadata(cfg['lib_name'])
    need(d['Version']==cfg['version'] and d['Summary']==cfg['description'], f'installed: {d["Version"]}, {d["Summary"]}')
    need(d['Requires-Python']=='>='+cfg['min_python'], f'installed: Requires-Python {d["Requires-Python"]}')
    wanted = {str(Requirement(r)) for r in cfg['requirements'].split()}
    got = {str(Requirement(r)) for r in m.requires(cfg['lib_name']) if 'extra ==' not in r}
    need(wanted==got, f'installed: requires {sorted(wanted^got)} in one of the two only')
    scripts = {f'{e.name}={e.value}' for e in m.entry_points(group='console_scripts') if e.name.split('-')[0]=='kotrans'}
    need(scripts==set(cfg['console_scripts'].split()), f'installed: commands {sorted(scripts^set(cfg["console_scripts"].split()))} in one of the two only')
    for word in ('Natural Language :: Korean', 'Typing :: Typed', *(f'Programming Language :: Python :: {v}' for v in cfg['python_versions'].split())):
        need(word in d.get_all('Classifier'), f'installed: no classifier {word}')
    relative = re.findall(r'\]\((?!https?://|#|mailto:)[^)]*\)', d.get_payload() or '')
    need(not relative, f'installed: relative links in the description, dead on PyPI: {relative[:3]}')

def packed(folder):
    "The built sdist and wheel hold the package, its data, stubs and licences; the sdist the notebooks, too"
    import tarfile,zipfile
    with tarfile.open(next(folder.glob('*.tar.gz'))) as f: source = {n.split('/', 1)[-1] for n in f.getnames()}
    with zipfile.ZipFile(next(folder.glob('*.whl'))) as f: wheel = set(f.namelist())
    here = lambda *patterns: {p.relative_to(root).as_posix() for x in patterns for p in root.glob(x) if p.is_file()}
    both = here('kotrans/*.py', 'kotrans/*.pyi', 'kotrans/py.typed', 'kotrans/data/**/*')
    need(not (lost := both-wheel), f'the wheel lacks {sorted(lost)}')
    wanted = both | here('nbs/*.ipynb', 'LICENSE', 'README.md', 'CHANGELOG.md', 'settings.ini', 'pyproject.toml', 'setup.py')
    need(not (lost := wanted-source), f'the sdist lacks {sorted(lost)}')
    need(not (more := {n for n in wheel if not n.startswith(('kotrans/', 'kotrans-'))}), f'the wheel holds more than the package: {sorted(more)}')
    size = sum(f.stat().st_size for f in folder.glob('*.whl'))
    need(size<WHEEL, f'the wheel has {size:,} bytes, and may have {WHEEL:,}')
    need(sum('.dist-info/licenses/' in n for n in wheel)==2, 'the wheel does not hold both licences')
    print(f'{len(wheel)} files and {size:,} bytes in the wheel, {len(source)} in the sdist')

if __name__=='__main__':
    if '--packed' in sys.argv: packed(Path(sys.argv[-1]).resolve())
    else:
        for f in (pyproject, versions, commands, importing)+((built,) if '--built' in sys.argv else ()): f()
    for t in trouble: print(t)
    print(f'{len(trouble)} disagreements' if trouble else 'one source for each fact: all agree')
    sys.exit(bool(trouble))
