"""The rules of the house that a program can check: order of imports, width of lines, figures, documentation, names.

    python tools/houserules.py                         all rules; status 1 if one is broken
    python tools/houserules.py --only import-order     one of them (give it several times for several)

What breaks a rule is one line: the notebook, the id of the cell, and what is wrong there.
"""
import argparse,ast,io,json,re,statistics,sys,tokenize
from dataclasses import dataclass,field
from functools import cached_property
from pathlib import Path

WIDTH = 120         # characters of an exported line
DISTANCE = 300      # exported lines that a reader of `masking` may have to know
LARGE = 40          # lines of a cell that is worth a second look
# Words that stand in backticks for many things; as public names they would turn each of those into a link
PLAIN = set('''a about after again all also always and any are as ask at base be because been before begin beginning being
    both but by can come could day did do does done each end ending enough every few first for from get give go had halves
    has have he her here him his how i if in into is it its just keep know last less let like luck made make many may me
    mean means might more most much must my never next no not now of off often on once one only or other our out over own
    person place plan quite same say see shall share she should so some such take tell than that the their them then there
    these they thing this those time to told too under until up upon us very want was way we were what when where which
    while who whole whom whose why will with word work worth would yes you your'''.split())

@dataclass
class Cell:
    notebook:str                # `31_training.ipynb`
    id:str                      # The cell's id, as in the comment above its export
    line:int                    # Line of the module, or number of the cell in the notebook, from which it starts
    source:str                  # What it says
    directives:dict = field(default_factory=dict)   # `#|` lines of a notebook's cell: name -> value
    kind:str = 'code'
    images:int = 0              # Pictures among its outputs

    @property
    def where(self): return f'nbs/{self.notebook} cell {self.id}'

@dataclass
class Module:
    name:str                    # `training`
    home:str                    # The notebook named in its header
    tree:ast.Module
    cells:list                  # In the order of the file
    public:list                 # `__all__`
    comments:dict               # line -> comment, for all lines that have one
    lines:list

    @cached_property
    def defines(self):
        "Name -> the notebook whose cell defines it"
        found = {}
        for n in self.tree.body:
            targets = [n] if hasattr(n, 'name') else getattr(n, 'targets', None) or [getattr(n, 'target', None)]
            names = [n.name] if hasattr(n, 'name') else [t.id for x in targets if x for t in ast.walk(x) if isinstance(t, ast.Name)]
            for name in names: found.setdefault(name, self.cell(n.lineno).notebook)
        return found

    def cell(self, line):
        "The cell that a line of the module belongs to"
        return next((c for c in reversed(self.cells) if c.line<=line), Cell(self.home, '-', 0, ''))

def number(notebook):
    "What a chapter is sorted by: its number, letters included, then its name; `None` for a notebook without one"
    m = re.match(r'(\d+[a-z]*)_', notebook)
    return (m[1], notebook) if m else None

def read_module(path):
    text = path.read_text('utf-8'); tree = ast.parse(text); lines = text.split('\n')
    home = re.search(r'File to edit: \S*?([^/\s]+\.ipynb)', text)
    starts = [(i, m[1], m[2]) for i,l in enumerate(lines, 1) if (m := re.match(r'# %% \S*?([^/\s]+\.ipynb) #(\S+)$', l))]
    ends = [s[0]-1 for s in starts[1:]]+[len(lines)]
    cells = [Cell(nb, id, line, '\n'.join(lines[line:end]).strip('\n')) for (line,nb,id),end in zip(starts, ends)]
    public = next((ast.literal_eval(n.value) for n in tree.body
                   if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '')=='__all__'), [])
    found = {t.start[0]: t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type==tokenize.COMMENT}
    return Module(path.stem, home[1] if home else '', tree, cells, public, found, lines)

def read_notebook(path):
    def read(i, c):
        source = ''.join(c['source'])
        found = dict(re.findall(r'^#\| *([\w-]+):? *(.*)$', source, re.M)) if c['cell_type']=='code' else {}
        images = sum(k in ('image/png', 'image/svg+xml') for o in c.get('outputs', []) for k in o.get('data', {}))
        return Cell(path.name, c.get('id', str(i)), i, source, found, c['cell_type'], images)
    return [read(i, c) for i,c in enumerate(json.loads(path.read_text('utf-8'))['cells'])]

class House:
    "A package and its notebooks, read once"
    def __init__(self, root, package='kotrans'):
        self.root,self.package = Path(root),package
        files = [f for f in sorted((self.root/package).glob('*.py')) if not f.name.startswith('_')]
        self.modules = {f.stem: read_module(f) for f in files}
        self.notebooks = {f.name: read_notebook(f) for f in sorted((self.root/'nbs').glob('*.ipynb')) if not f.name.startswith(('_', '.'))}

    def home_of(self, module, name=None):
        "The notebook that exports a name of a module, or begins the module"
        m = self.modules[module]
        return m.defines.get(name, m.home)

    def imports(self, tree):
        "Each use of a module of the package: `(node, module, name or None)`, also inside functions and as a string in a call"
        p = self.package
        for n in ast.walk(tree):
            if isinstance(n, ast.ImportFrom):
                full = (p if n.level else '')+('.' if n.level and n.module else '')+(n.module or '')
                if full==p: found = [(a.name, None) for a in n.names]
                elif full.startswith(p+'.'): found = [(full.split('.')[1], a.name) for a in n.names]
                else: found = []
            elif isinstance(n, ast.Import): found = [(a.name.split('.')[1], None) for a in n.names if a.name.startswith(p+'.')]
            elif isinstance(n, ast.Call):
                said = [a.value for a in [*n.args, *(k.value for k in n.keywords)] if isinstance(a, ast.Constant)]
                found = [(m[1], None) for s in said if isinstance(s, str) and (m := re.fullmatch(rf'{p}\.(\w+)', s))]
            else: found = []
            yield from ((n, m, name) for m,name in found if m in self.modules)

    def needed(self, name):
        "Modules that a module imports, and those that they import"
        todo,seen = [name],set()
        while todo:
            new = {m for _,m,_ in self.imports(self.modules[todo.pop()].tree)}-seen-{name}
            seen |= new; todo += new
        return seen

    def size(self, name): return sum(bool(l.strip()) for c in self.modules[name].cells for l in c.source.split('\n'))

def import_order(h):
    "A module imports only from chapters with a lower number, or from one without a number that imports nothing here"
    for m in h.modules.values():
        for node,other,name in h.imports(m.tree):
            cell = m.cell(node.lineno)
            mine,theirs = number(cell.notebook),number(home := h.home_of(other, name))
            if other==m.name or mine is None: continue
            if theirs is None:
                if other=='testing': yield f'{cell.where}: imports `testing`, which is for tests'
                elif needs := h.needed(other): yield f'{cell.where}: imports `{other}`, which has no number and itself imports {", ".join(sorted(needs))}'
            elif theirs>mine: yield f'{cell.where}: imports {name or "the module"} from `{other}`, which is later ({home})'

def plain_cells(cells):
    "Code cells that are not exported, with their trees"
    for c in cells:
        if c.kind!='code' or exported(c): continue
        try: yield c,ast.parse(re.sub(r'^([ \t]*)[%!].*', r'\1pass', c.source, flags=re.M))
        except SyntaxError: pass                # `%%` cells and the like

def notebook_order(h):
    "Cells that are not exported import from their own chapter and earlier ones, too"
    for name,cells in h.notebooks.items():
        mine = number(name)
        if mine is None or mine[0].startswith('00'): continue
        for c,tree in plain_cells(cells):
            for node,other,what in h.imports(tree):
                theirs = number(home := h.home_of(other, what))
                if isinstance(node, (ast.Import, ast.ImportFrom)) and theirs and theirs>mine:
                    yield f'{c.where}: imports {what or "the module"} from `{other}`, which is later ({home})'

def line_width(h):
    "No exported line is longer than the house allows"
    for m in h.modules.values():
        for c in m.cells:
            for i,l in enumerate(c.source.split('\n'), 1):
                if len(l)>WIDTH: yield f'{c.where}: line {i} has {len(l)} characters: {l.strip()[:50]}…'

def learner_distance(h):
    "What a reader of `masking` has to know before it, in exported lines"
    if 'masking' not in h.modules: yield 'no module `masking`'; return
    needed = sorted(h.needed('masking')); lines = {n: h.size(n) for n in needed}; total = sum(lines.values())
    mine = number(h.modules['masking'].home)
    before = [m.name for m in h.modules.values() if (n := number(m.home)) and mine and n<mine]
    print(f"learner's distance to masking: {total} exported lines (empty ones not counted) in its own imports"
          f" ({', '.join(f'{n} {s}' for n,s in lines.items()) or 'none'});"
          f' {sum(map(h.size, before))} in the {len(before)} modules that stand before it in the book')
    if total>DISTANCE: yield f'{total} exported lines stand before `masking` in its own imports; at most {DISTANCE} may'

def exported(c): return next((d for d in ('export', 'exports', 'exporti') if d in c.directives), None)

def only_imports(source):
    "Whether a cell has imports and nothing else but `_all_`"
    def plain(n):
        if isinstance(n, (ast.Import, ast.ImportFrom)): return True
        if isinstance(n, ast.Assign): return getattr(n.targets[0], 'id', '')=='_all_'
        if isinstance(n, (ast.Try, ast.If)):
            parts = [*n.body, *n.orelse, *getattr(n, 'finalbody', []), *(s for x in getattr(n, 'handlers', []) for s in x.body)]
            return all(plain(s) or isinstance(s, ast.Pass) for s in parts)
        return False
    return all(map(plain, ast.parse(source).body))

def imports_alone(h):
    "A cell that imports does nothing else: the site runs such cells again, without those before them"
    for cells in h.notebooks.values():
        for c in cells:
            if c.kind!='code' or exported(c) or c.directives.get('eval')=='false' or 'nbdev_export()' in c.source: continue
            tree = ast.parse(re.sub(r'^([ \t]*)[%!].*', r'\1pass', c.source, flags=re.M))
            mixed = any(isinstance(n, (ast.Expr, ast.Assign)) for n in ast.walk(tree))
            if mixed and any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(tree)):
                yield f'{c.where}: imports and does more; give the imports a cell of their own'

def shown_source(h):
    "What is exported is shown on the site: `#| exports`, but for imports"
    for name,cells in h.notebooks.items():
        for c in cells if number(name) else ():
            way = exported(c)
            if not way or only_imports(c.source): continue
            if way!='exports': yield f'{c.where}: `#| {way}` leaves its source out of the page; use `#| exports`'
            elif hidden := {'hide', 'hide_input'} & set(c.directives): yield f'{c.where}: `#| {hidden.pop()}` hides what it exports'

def figures(h):
    "Every figure has a caption and a text for those who do not see it"
    for cells in h.notebooks.values():
        for c in cells:
            if c.kind=='markdown':
                for found in re.findall(r'!\[\s*\]\(([^)\s]*)', c.source): yield f'{c.where}: the picture {found} has no alt text'
            elif c.images and 'hide' not in c.directives and 'hide_output' not in c.directives:
                for key in ('fig-alt', 'fig-cap'):
                    if not c.directives.get(key, '').strip('\'" '): yield f'{c.where}: a figure without `#| {key}`'

def cell_size(h):
    "How long exported cells are (printed; it breaks nothing)"
    cells = [(sum(bool(l.strip()) and not l.startswith('#|') for l in c.source.split('\n')), c)
             for cs in h.notebooks.values() for c in cs if exported(c) and not only_imports(c.source)]
    if not cells: return
    sizes = sorted(n for n,_ in cells); largest = sorted(cells, key=lambda o: -o[0])[:5]
    print(f'{len(cells)} exported cells: median {statistics.median(sizes):g} lines, mean {statistics.mean(sizes):.1f},'
          f' nine of ten at most {sizes[int(.9*(len(sizes)-1))]}; {sum(n>LARGE for n in sizes)} above {LARGE}. The largest: '
          + '; '.join(f'{n} ({c.notebook} {c.id})' for n,c in largest))
    yield from ()

def private(name): return name is not None and name.startswith('_') and not name.startswith('__')

def private_imports(h):
    "What begins with `_` stays in its module"
    for m in h.modules.values():
        modules = {}
        for node,other,name in h.imports(m.tree):
            if other==m.name: continue
            if private(name): yield f'{m.cell(node.lineno).where}: imports the private `{name}` of `{other}`'
            if isinstance(node, (ast.Import, ast.ImportFrom)) and name is None:
                for a in node.names:
                    if a.name.split('.')[-1]==other: modules[a.asname or a.name] = other
        for n in ast.walk(m.tree):
            if isinstance(n, ast.Attribute) and private(n.attr) and (other := modules.get(ast.unparse(n.value))):
                yield f'{m.cell(n.lineno).where}: uses the private `{n.attr}` of `{other}`'

def decorators(n): return {ast.unparse(d).split('(')[0].split('.')[-1] for d in n.decorator_list}

def undocumented(m, node, skip_first=False, docstring=True):
    "What the documentation of a function lacks"
    a = node.args
    args = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]
    if skip_first: args = args[1:]
    ends = {d.lineno: d.end_lineno for d in [*a.defaults, *(k for k in a.kw_defaults if k)]}
    last = {x.lineno: x for x in args}          # docments knows one comment a line, that of the last parameter
    def says(x):
        on = m.comments.get(ends.get(x.end_lineno, x.end_lineno)) or m.comments.get(x.end_lineno)
        above = m.comments.get(x.lineno-1) if m.lines[x.lineno-2].strip().startswith('#') else None
        return last[x.lineno] is x and (on or above)
    without = [x.arg for x in args if not says(x)]
    if without: yield 'no comment says what '+', '.join(f'`{x}`' for x in without)+(' is' if len(without)==1 else ' are')
    if docstring and not ast.get_docstring(node): yield 'no docstring'

def patched(node):
    "The class that a function is patched into"
    first = [*node.args.posonlyargs, *node.args.args][:1]
    if 'patch' not in decorators(node) or not first or first[0].annotation is None: return []
    t = first[0].annotation
    if isinstance(t, ast.Constant): t = ast.parse(t.value, mode='eval').body
    return [n.id for n in ast.walk(t) if isinstance(n, ast.Name)]

def documentation(h):
    "Each parameter of what is public has a comment, each function and class a docstring"
    public = {n for m in h.modules.values() for n in m.public}
    for m in h.modules.values():
        for n in m.tree.body:
            where = m.cell(n.lineno).where
            if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)):
                classes = patched(n)
                if (n.name in m.public and not classes) or (not n.name.startswith('_') and set(classes)&public):
                    name = f'{classes[0]}.{n.name}' if classes else n.name
                    for lack in undocumented(m, n, skip_first=bool(classes)): yield f'{where}: `{name}`: {lack}'
            elif isinstance(n, ast.ClassDef) and n.name in m.public:
                if not ast.get_docstring(n): yield f'{where}: `{n.name}`: no docstring'
                for x in n.body:
                    if isinstance(x, ast.FunctionDef) and (not x.name.startswith('_') or x.name=='__init__'):
                        static = 'staticmethod' in decorators(x)
                        for lack in undocumented(m, x, not static, docstring=x.name!='__init__'): yield f'{where}: `{n.name}.{x.name}`: {lack}'
                    elif isinstance(x, ast.AnnAssign) and 'dataclass' in decorators(n) and not private(x.target.id):
                        above = m.lines[x.lineno-2].strip().startswith('#')
                        if not above and not {x.lineno, x.end_lineno}&set(m.comments): yield f'{where}: no comment says what `{n.name}.{x.target.id}` is'

def plain_names(h):
    "No public name is a plain English word, which a sentence in backticks would link to by mistake"
    for m in h.modules.values():
        for n in m.public:
            if n in PLAIN: yield f'nbs/{h.home_of(m.name, n)}: `{n}` of `{m.name}` is a plain English word, and public'

_BY_PLACE = re.compile(r'\bchapters? \d|\b(?:the|last|previous|next) chapter(?:s)? (?:before|after)\b|\b(?:previous|next|last|preceding|following) chapters?\b', re.I)

def chapter_links(h):
    "Chapters are linked by title, to a notebook that is there; a number or a place in the order would go stale"
    for cells in h.notebooks.values():
        for c in cells:
            if c.kind!='markdown' or 'made by tools/book.py' in c.source: continue
            for found in re.findall(r'\]\(([^)\s/#:]+\.ipynb)', c.source):
                if found not in h.notebooks: yield f'{c.where}: links to {found}, which is not there'
            prose = re.sub(r'```.*?```|`[^`]*`', '', c.source, flags=re.S)
            for found in _BY_PLACE.findall(prose): yield f'{c.where}: says "{found}"; link the chapter by its title'

def cuda_guard(h):
    "Cells that need a GPU ask whether there is one, so that running all cells works everywhere"
    for cells in h.notebooks.values():
        for c in cells:
            if 'cuda' in c.directives and 'is_available' not in c.source: yield f'{c.where}: `#| cuda` without torch.cuda.is_available()'

def uses(node):
    "Names that a cell reads or binds by itself, as `(name, whether bound)`, in the order of running; what stands in a function runs later"
    def of(*nodes): return (u for n in nodes if n for u in uses(n))
    if isinstance(node, ast.Name): yield node.id,not isinstance(node.ctx, ast.Load)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield from of(*node.decorator_list)
        yield node.name,True
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        own = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        parts = [p for g in node.generators for p in (g.iter, *g.ifs)]
        parts += [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        yield from (u for u in of(*parts) if u[0] not in own)
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)): yield from of(node.value, *getattr(node, 'targets', [getattr(node, 'target', 0)]))
    elif isinstance(node, ast.AugAssign):
        again = isinstance(node.target, ast.Name) and not isinstance(node.op, ast.BitOr)      # the second `|=` changes nothing
        yield from of(node.value)
        if again: yield node.target.id,False
        yield from of(node.target)
    elif isinstance(node, (ast.For, ast.AsyncFor)): yield from of(node.iter, node.target, *node.body, *node.orelse)
    elif isinstance(node, (ast.Import, ast.ImportFrom)): yield from (((a.asname or a.name).split('.')[0], True) for a in node.names)
    elif not isinstance(node, ast.Lambda): yield from of(*ast.iter_child_nodes(node))

def run_twice(h):
    "No cell that isn't exported binds a name anew that it has read from another: run twice, it would begin with what it made"
    for cells in h.notebooks.values():
        for c,tree in plain_cells(cells):
            first = {}
            for name,bound in uses(tree):
                if bound and first.setdefault(name, True) is False:
                    first[name] = None
                    yield f'{c.where}: reads `{name}` and then binds it anew; take another name'
                elif not bound: first.setdefault(name, False)

RULES = {f.__name__.replace('_', '-'): f for f in (import_order, notebook_order, line_width, learner_distance, imports_alone, shown_source, figures,
                                                   cell_size, private_imports, documentation, plain_names, chapter_links, cuda_guard, run_twice)}
line_width.__doc__ = f'No exported line is longer than {WIDTH} characters'

def check(root, rules=tuple(RULES), package='kotrans'):
    "Print what breaks each rule; gives how many rules are broken"
    house,broken = House(root, package),0
    for r in rules:
        found = [*RULES[r](house)]
        for f in found: print(f'{r}: {f}')
        print(f'{r}: {len(found)} to mend' if found else f'{r}: ok')
        broken += bool(found)
    return broken

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog='rules:\n'+'\n'.join(f'  {n:<18}{f.__doc__}' for n,f in RULES.items()))
    p.add_argument('--only', action='append', choices=RULES, metavar='RULE', help='check this rule; may be given several times')
    p.add_argument('--root', default=Path(__file__).resolve().parent.parent, help='where kotrans/ and nbs/ are')
    a = p.parse_args()
    sys.exit(bool(check(a.root, a.only or tuple(RULES))))
