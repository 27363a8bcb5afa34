"""The book's order, read from numbers and titles of the notebooks and from the package's own imports.

`--check`: are sidebar, chapter heads, numbers and imports in order?  `--write`: make sidebar and heads anew.
`--parts`: the list of parts as Markdown."""
import argparse,ast,hashlib,json,re,sys
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

root = Path(__file__).resolve().parent.parent
parts = {0: 'Before you begin', 10: 'I The model', 20: 'II The data', 30: 'III Training', 40: 'IV Translating', 49: 'V Judging',
         60: 'VI Out of the door', 70: None, 90: 'Appendices'} # first number of each part; `None` is for numbers that have none
mark = '<!-- head: made by tools/book.py -->'

@dataclass
class Chapter:
    "A notebook with its number, its title and the module it exports"
    path:Path # `nbs/NN_name.ipynb`
    nb:dict # Its JSON
    def __post_init__(self):
        m = re.match(r'(\d\d)_[a-z][a-z0-9_]*$', self.path.stem)
        self.number = m and int(m[1])
        code = [''.join(c['source']) for c in self.nb['cells'] if c['cell_type']=='code']
        self.module = next((m[1] for s in code if (m := re.search(r'^#\| *default_exp +(\S+)', s, re.M))), None)
        first = ''.join(self.nb['cells'][0]['source']) if self.nb['cells'] else ''
        title,line = re.match(r'# +(.+)', first), re.search(r'^> +(.+)', first, re.M)
        self.title,self.line = title and title[1].strip(), line and line[1].strip()
    @property
    def number2(self): return f'{self.number:02d}'
    @property
    def part(self): return parts[max(n for n in parts if n<=self.number)]
    @property
    def code(self):
        "Its Python: the module's file, or all its cells where it exports nothing"
        if self.module: return f.read_text('utf-8') if (f := root/lib/f'{self.module}.py').exists() else ''
        cells = (''.join(c['source']) for c in self.nb['cells'] if c['cell_type']=='code')
        return '\n'.join(re.sub(r'^([ \t]*)[%!].*', r'\1pass', s, flags=re.M) for s in cells)
    @cached_property
    def imports(self): return imports(self.code)
    def link(self, numbered=False): return f"[{self.number2+' ' if numbered else ''}{self.title}]({self.path.name})"

def settings():
    ini = ConfigParser(delimiters=['='], interpolation=None); ini.read(root/'settings.ini', 'utf-8')
    res = dict(ini['DEFAULT'])
    return {k: re.sub(r'%\((\w+)\)s', lambda m: res[m[1]], v) for k,v in res.items()}

cfg = settings(); lib = cfg['lib_path']

def imports(source):
    "Modules of the package that a source imports, wherever in it"
    found = set()
    for n in ast.walk(ast.parse(source)):
        if isinstance(n, ast.Import): found |= {a.name.split('.')[1] for a in n.names if a.name.startswith(lib+'.')}
        elif isinstance(n, ast.ImportFrom) and (n.level or (n.module or '').split('.')[0]==lib):
            names = (n.module or '').split('.')[0 if n.level else 1:]
            found |= {names[0]} if names and names[0] else {a.name for a in n.names if not a.name.startswith('__')}
    return found

def notebooks():
    "All notebooks, in the order of their names; `index` and those without number too"
    return [Chapter(f, json.loads(f.read_text('utf-8'))) for f in sorted((root/cfg['nbs_path']).glob('[!_]*.ipynb'))]

def chapters(): return [c for c in notebooks() if c.number is not None]

def needed(c, book):
    "Chapters whose modules `c` imports, less those that another of them needs anyway"
    by = {o.module: o for o in book if o.module}
    def direct(o): return {by[m].module for m in o.imports if m in by and by[m] is not o}
    def closure(m, seen):
        for o in direct(by[m])-seen: seen.add(o); closure(o, seen)
        return seen
    own = direct(c)
    implied = set().union(*(closure(m, set()) for m in own))
    return [by[m] for m in sorted(own-implied, key=lambda m: by[m].number)]

def head(c, book):
    "The line at a chapter's head: part, what it needs, what comes next, its module"
    later = [o for o in book if o.number>c.number]
    res = [f'**{c.part}**', f'chapter {c.number2}']
    if c.number and (need := needed(c, book)): res.append('needs ' + ', '.join(o.link() for o in need))
    if later: res.append('next ' + later[0].link())
    if c.module: res.append(f"module [{lib}.{c.module}]({cfg['doc_host']}{cfg['doc_baseurl']}/{c.module}.html)")
    return ' · '.join(res) + ' ' + mark

# The first cell of code: on Colab, where a notebook comes alone, it fetches the rest. The package is found through the path,
# since what `-e` installs is seen only by a Python that starts later
colab = f"""#| hide
#| eval: false
import sys
if 'google.colab' in sys.modules:
    !git clone -q --depth 1 {cfg['git_url']} /content/{lib}
    %cd -q /content/{lib}/{cfg['nbs_path']}
    %pip install -q -e ..[book]
    sys.path.insert(0, '..')"""

def new_cell(kind, name):
    "An empty cell with an id of its own"
    cell = dict(cell_type=kind, id=hashlib.sha256(name.encode()).hexdigest()[:8], metadata={})
    return cell if kind=='markdown' else cell | dict(execution_count=None, outputs=[])

def with_head(c, book):
    "The notebook of `c` as text, its head in place, and behind it what Colab needs"
    nb = json.loads(json.dumps(c.nb))
    def taken(sign):
        found = [o for o in nb['cells'] if sign in ''.join(o['source'])]
        nb['cells'] = [o for o in nb['cells'] if o not in found]
        return found
    top = (taken(mark) or [new_cell('markdown', c.path.stem)])[0], (taken("'google.colab'") or [new_cell('code', c.path.stem+' colab')])[0]
    for cell,text in zip(top, (head(c, book), colab)): cell['source'] = text.splitlines(True)
    nb['cells'][1:1] = top
    return json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False)+'\n'

def quoted(s): return json.dumps(s, ensure_ascii=False)   # a JSON string is a YAML string

def sidebar(book):
    "The site's sidebar: a section for each part that has chapters"
    out = ['# Made by tools/book.py from the numbers and titles of the notebooks.',
           'website:', '  sidebar:', '    contents:', '      - text: "Contents"', '        href: index.ipynb']
    for part in filter(None, parts.values()):
        own = [c for c in book if c.part==part]
        if not own: continue
        out += [f'      - section: {quoted(part)}', '        contents:']
        for c in own: out += [f"          - text: {quoted(c.number2+' '+c.title)}", f'            href: {c.path.name}']
    return '\n'.join(out)+'\n'

def llms(book):
    "The chapters for a program that reads the site: a line each with the page and the notebook that is its source"
    raw = cfg['git_url'].replace('github.com', 'raw.githubusercontent.com')
    site,source = cfg['doc_host']+cfg['doc_baseurl'], f"{raw}/{cfg['branch']}/{cfg['nbs_path']}"
    out = [f"# {cfg['lib_name']}", '', f"> {cfg['description']}", '',
           'Each chapter is a Jupyter notebook; the package is exported from them.']
    for part in filter(None, parts.values()):
        own = [c for c in book if c.part==part]
        if own: out += ['', f'## {part}', '']
        out += [f'- [{c.number2} {c.title}]({site}/{c.path.stem[3:]}.html): {c.line} '
                f'([notebook]({source}/{c.path.name}))' for c in own]
    return '\n'.join(out)+'\n'

def parts_md(book, prefix=''):
    "One line for each part, with links to its chapters"
    out = []
    for part in filter(None, parts.values()):
        own = [c for c in book if c.part==part]
        links = ' · '.join(f'[{c.number2} {c.title}]({prefix}{c.path.name})' for c in own)
        if own: out.append(f'- **{part}**: {links}')
    return '\n'.join(out)

def faults(book):
    "What is out of order, a line each"
    out,numbers = [],{}
    by = {o.module: o for o in notebooks() if o.module}
    for c in notebooks():
        if c.title is None or c.line is None:
            out.append(f'{c.path.name}: the first cell must be `# title` and `> one line`')
        if c.number is None:
            if re.match(r'\d', c.path.stem): out.append(f'{c.path.name}: a chapter is called NN_name, with two digits')
            continue
        if c.part is None: out.append(f'{c.path.name}: there is no part for the number {c.number}')
        if c.number in numbers: out.append(f'{c.path.name}: {numbers[c.number]} has the same number')
        numbers[c.number] = c.path.name
        if c.module and not c.code: out.append(f'{lib}/{c.module}.py: not there; run nbdev_export')
        if c.module and c.module!=c.path.stem[3:]:
            out.append(f'{c.path.name}: exports {c.module}, and not {c.path.stem[3:]}')
    for c in by.values():   # whatever exports: 00 and others that export nothing may import anything
        below = c.number if c.number is not None else -1   # helpers without number stand below all chapters
        for m in sorted(c.imports):
            if m not in by: out.append(f'{lib}/{c.module}.py: imports {lib}.{m}, which no notebook exports'); continue
            n = by[m].number
            if n is not None and n>=below and m!=c.module and c.module!='testing':
                out.append(f'{lib}/{c.module}.py: imports {lib}.{m} from {by[m].path.name}, which comes later')
            if m=='testing': out.append(f'{lib}/{c.module}.py: imports {lib}.testing, which is for tests')
    return out

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    g = p.add_mutually_exclusive_group(required=True)
    for k in 'check','write','parts': g.add_argument('--'+k, action='store_true')
    p.add_argument('--prefix', default='', help='what stands before the names of notebooks in `--parts`')
    args = p.parse_args()
    book = chapters()
    if args.parts: print(parts_md(book, args.prefix)); return 0
    out = faults(book)
    told,nbs = [c for c in book if c.title and c.line and c.part], root/cfg['nbs_path']
    want = {c.path: with_head(c, told) for c in told} | {nbs/'sidebar.yml': sidebar(told), nbs/'llms.txt': llms(told)}
    stale = [f for f,t in want.items() if not f.exists() or f.read_text('utf-8')!=t]
    if args.write:
        for f in stale: f.write_text(want[f], 'utf-8'); print('wrote', f.relative_to(root))
    else: out += [f'{f.relative_to(root)}: not what `python tools/book.py --write` makes' for f in stale]
    for o in out: print(o)
    n = len({c.part for c in book})
    if not out: print(f'{len(book)} chapters in {n} parts: heads, sidebar and imports are in order')
    return bool(out)

if __name__=='__main__': sys.exit(main())
