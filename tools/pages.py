"""What nbdev shows of a symbol and links on a page; `settings.ini` names `Renderer` and `Links`.

On the pages the source of each exported cell is open, with its signature and comments. So a symbol's entry needs no
second signature: it is a heading to link to, the docstring, and a table of the parameters. Links of backticked words go
only where the page means them to go: see `wanted`."""
import ast,html,inspect,json,re
from functools import cache
from pathlib import Path
from fastcore.docments import ShowDocRenderer,docments
from fastcore.nbio import mk_cell
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.process import Processor

lists = Path(__file__).with_name('links.txt')
head_mark = '<!-- head: made by tools/book.py -->'

# A symbol's entry
def code(s): # of a cell of a table: a bar in it would end the cell, and the two readers of Markdown disagree on escapes
    if s and not re.search(r'[|`\n<>]', s): return f'`{s}`'
    return f'<code>{html.escape(s, quote=False)}</code>'.replace('|', '&#124;')

def inline(s): # a comment as Markdown that may stand in a table
    out = []
    for i,t in enumerate(re.split(r'(`[^`]+`)', ' '.join(s.split()))):
        out.append(code(t[1:-1]) if i%2 else re.sub(r'<(?=[\w/!?])', '&lt;', t).replace('|', '&#124;'))
    return ''.join(out)

def type_name(a):
    "An annotation as it is read aloud: `Tensor`, not `torch.Tensor`; nothing where there is none"
    if a is inspect.Parameter.empty or a is None or a is type(None): return ''
    s = a if isinstance(a, str) else inspect.formatannotation(a)
    return re.sub(r'\b(?:[a-z_]\w*\.)+(?=\w)', '', s.strip('\'"')).replace('NoneType', 'None')

def field_comments(sym):
    "Comments behind the fields of a class that has no `__init__` of its own, as `NamedTuple`s have none"
    try: lines = inspect.getsource(sym).splitlines()
    except (OSError, TypeError): return {}
    return {m[1]: m[2].strip() for l in lines if (m := re.match(r' +(\w+) *:[^#]*#(.*)', l))}

def default(p):
    if p.default is p.empty: return ''
    d = p.default
    return getattr(d, '__qualname__', '') or (type(d).__name__+'(…)' if ' at 0x' in repr(d) else repr(d))

def rows(sym):
    "Name, type, default and comment of each parameter, and of what is returned"
    try: sig = inspect.signature(sym)
    except (TypeError, ValueError): return []
    try: docs = docments(sym, args_kwargs=True)
    except Exception: docs = {}
    kinds = {p.kind for n,p in sig.parameters.items() if n!='self'}
    own = vars(sym).get('__annotations__', {}) if isinstance(sym, type) else {}
    if own and kinds<={inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:   # described by its fields
        said = field_comments(sym)
        return [(n, type_name(a), repr(getattr(sym, n)) if hasattr(sym, n) else '', said.get(n, ''))
                for n,a in own.items() if n[0]!='_']
    if isinstance(sym, type): docs = {**field_comments(sym), **{k: v for k,v in docs.items() if v}}
    res = []
    for i,(n,p) in enumerate(sig.parameters.items()):
        if i==0 and n in ('self', 'cls'): continue
        star = {p.VAR_POSITIONAL: '*', p.VAR_KEYWORD: '**'}.get(p.kind, '')
        res.append((star+n, type_name(p.annotation), default(p), docs.get(n) or ''))
    ret = '' if isinstance(sym, type) else type_name(sig.return_annotation)
    if ret or docs.get('return'): res.append(('', ret, '', docs.get('return') or ''))
    return res

def table(rs):
    "The table of `rows`, folded: the same comments stand in the source beneath, without links"
    given = sum(bool(r[0]) for r in rs)
    says = f"{given} parameter{'s'*(given!=1)}" if given else ''
    says = ', '.join(o for o in (says, 'result' if given<len(rs) else '') if o)
    out = [f'<details class="parameters"><summary>{says}</summary>', '',
           '| Parameter | Type | Default | What it is |', '|:---|:---|:---|:---|']
    for n,t,d,c in rs:
        cells = code(n) if n else '*returns*', code(t) if t else '', code(d) if d else '', inline(c)
        out.append(f"| {' | '.join(cells)} |")
    return '\n'.join([*out, '', '</details>'])

class Renderer(ShowDocRenderer):
    "What `show_doc` shows of a symbol: a link to its line, a heading, its docstring, its parameters"
    def _repr_markdown_(self):
        out,src = ['---'],NbdevLookup().code(self.fn)
        if src: out.append(f'[source]({src}){{.source-link aria-label="source of {self.nm}"}}')
        out.append(f"{'#'*self.title_level} {self.nm}")
        if self.docs: out.append(inspect.cleandoc(self.docs))
        if (rs := rows(self.sym)): out.append(table(rs))
        return '\n\n'.join(out)+'\n'

# Links
foreign = (r'(?:PyTorch|torch|Hugging Face|NumPy|numpy|Matplotlib|matplotlib|SentencePiece|fastcore|Python|JoeyNMT'
           r'|CTranslate2|sacreBLEU|Quarto|nbdev|`?nn`?)')
theirs_before = re.compile(rf"{foreign}(?:['’]s?)(?: \w+){{0,2}} $")
theirs_after = re.compile(rf'^(?:\(\))? (?:of|in|from) {foreign}\b')

@cache
def listed(): # `word page` a line: words that may be links on any page; `word -`: words that never are
    rows = (l.split('#')[0].split() for l in lists.read_text('utf-8').splitlines())
    return {r[0]: r[1] for r in rows if r}

@cache
def torch_has(name):
    import torch,numpy
    theirs = torch, torch.nn, torch.nn.functional, torch.optim, torch.Tensor, torch.nn.Module, numpy
    return any(hasattr(m, name) for m in theirs)

def cells_code(nb):
    for c in nb['cells']:
        if c['cell_type']!='code': continue
        s = re.sub(r'^([ \t]*)[%!].*', r'\1pass', ''.join(c['source']), flags=re.M)
        try: yield ast.parse(s)
        except SyntaxError: pass

@cache
def names_of(path):
    "Of a notebook: its module, the names it imports, and the names it gives to variables, parameters and fields"
    nb = json.loads(Path(path).read_text('utf-8'))
    src = '\n'.join(''.join(c['source']) for c in nb['cells'] if c['cell_type']=='code')
    module = re.search(r'^#\| *default_exp +(\S+)', src, re.M)
    imported,own = set(),set()
    for n in (n for t in cells_code(nb) for n in ast.walk(t)):
        if isinstance(n, (ast.Import, ast.ImportFrom)): imported |= {a.asname or a.name for a in n.names}
        elif isinstance(n, ast.arg): own.add(n.arg)
        elif isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store): own.add(n.id)
    return module and module[1], imported, own

def wanted(word, page, path, before='', after=''):
    "Whether `word` in notebook `path` should lead to the symbol on `page` (`masking`), given the text around it"
    if re.search(r'(^|\.)_', word): return False   # private: no page has an entry for it
    module,imported,own = names_of(str(path))
    if theirs_before.search(before) or theirs_after.match(after): return False   # the sentence says whose it is
    if word in listed(): return listed()[word]==page
    if word in own and (page!=module or word.isalpha()): return False   # a variable or parameter of this chapter
    if page==module or word in imported: return True
    if '.' in word: return True                                                  # `Trainer.step`, `kotrans.masking`
    return bool(re.search(r'\w_\w|[a-z][A-Z]', word)) and not torch_has(word)   # no plain word, and ours alone

def page_of(url): return re.search(r'([\w-]+)\.html', url)[1]

word_re = re.compile(r'(?<![`\[])`([^`\s]+?)(\(\))?`(?![`\]])')

def link_text(s, path, lookup, base):
    "Markdown `s` with links for the backticked names that are wanted; code stays as it is"
    out,fence = [],None
    for l in s.split('\n'):
        f = re.match(r' {0,3}(`{3,}|~{3,})', l)
        if f and (fence is None or l.strip().startswith(fence)): fence = None if fence else f[1]
        elif fence is None and not l.startswith('    '):
            def sub(m):
                url = lookup.doc(m[1])
                if not (isinstance(url, str) and url.startswith(base)): return m[0]
                if not wanted(m[1], page_of(url), path, l[:m.start()], l[m.end():]): return m[0]
                return f"[`{m[1]}{m[2] or ''}`]({url})"
            l = word_re.sub(sub, l)
        out.append(l)
    return '\n'.join(out)

def page_head(s, name):
    "The line at the head of chapter `name` in a box of its own, and where else to read and run it; its module's name leads to its source"
    cfg = get_config()
    at = f'{cfg.git_url}/blob/{cfg.branch}'
    src,nb = f'{at}/{cfg.lib_path.name}', f'{at}/{cfg.nbs_path.name}/{name}'
    s = s.replace(head_mark, '').strip()
    s = re.sub(r'module \[([\w.]+)\]\([^)]*\)', lambda m: f"module [{m[1]}]({src}/{m[1].split('.')[1]}.py)", s)
    colab = nb.replace('https://github.com', 'https://colab.research.google.com/github')
    return f'::: {{.chapter-head}}\n{s} · [notebook]({nb}) · [open in Colab]({colab})\n:::'

varies_note = '[The numbers above are a matter of the machine or of chance: yours will differ.]{.varies}'

class Links(Processor):
    "In place of nbdev's `add_links`; and a line under what varies from run to run"
    def begin(self):
        cfg = get_config()
        self.lookup,self.base = NbdevLookup(),cfg.doc_host+cfg.doc_baseurl
        self.path = Path(self.nb.path_)
    def cell(self, cell):
        if not cell.get('source') and not cell.get('outputs'): return
        if cell.cell_type=='markdown' and head_mark in cell.source: cell.source = page_head(cell.source, self.path.name)
        elif cell.cell_type=='markdown': cell.source = link_text(cell.source, self.path, self.lookup, self.base)
        for o in cell.get('outputs', []):
            md = getattr(o, 'data', {}).get('text/markdown') if hasattr(o, 'data') else None
            if not md: continue
            md = link_text(''.join(md), self.path, self.lookup, self.base)
            o.data['text/markdown'] = md.splitlines(keepends=True)
    def end(self):
        cells = []
        for c in self.nb.cells:
            cells.append(c)
            marked = getattr(c, 'directives_', None) or {}
            if 'varies' in marked and 'hide' not in marked and c.get('outputs'):
                note = mk_cell(varies_note, 'markdown')
                note.directives_ = {}
                cells.append(note)
        self.nb.cells = cells
