"""Check what a built site shows: `pagecheck.py [SITE]`, after `sitecheck.py` made it.

Exported source stands on its page; no raw Markdown and no raw TeX; an alt text for each picture; every automatic link
goes where `tools/pages.py` wants it, and to a symbol that is there."""
import re,sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools.book import notebooks,cfg,root
from tools.pages import wanted,listed

base = cfg['doc_host']+cfg['doc_baseurl']+'/'
void = set('area base br col embed hr img input link meta source track wbr'.split())
blocks = set('p li td th h1 h2 h3 h4 h5 figcaption div pre summary dd dt'.split())
unreadable = re.compile(r'\\[bB]igg?[lrm](?![a-zA-Z])') # TeX that pandoc up to 3.6 (Quarto up to 1.8) leaves raw

class Shown(HTMLParser):
    "Text of a page's main part, by kind, with its pictures and the links that have code for their text"
    def __init__(self, txt):
        super().__init__()
        self.ids,self.pre,self.code,self.text,self.math,self.images,self.links = set(),[],[],[],[],[],[]
        self.stack,self.block,self.link = [],'',None
        self.feed(txt)
    def inside(self, *tags): return any(t in tags for t,_ in self.stack)
    def handle_starttag(self, tag, attrs):
        d = dict(attrs); cls = (d.get('class') or '').split()
        if d.get('id'): self.ids.add(d['id'])
        if tag not in void: self.stack.append((tag, cls))
        if not self.inside('main'): return
        if tag in blocks: self.block = ''
        if tag=='img': self.images.append((d.get('src') or '', d.get('alt')))
        if tag=='pre': self.pre.append('')
        if tag=='code' and not self.inside('pre'): self.code.append('')
        if tag=='a' and d.get('href'): self.link = [d['href'], self.block, '', None]
    def handle_endtag(self, tag):
        if tag=='a' and self.link: self.links.append(self.link); self.link = None
        while self.stack and tag in [t for t,_ in self.stack]:
            if self.stack.pop()[0]==tag: break
    def handle_data(self, s):
        if not self.inside('main') or self.inside('script', 'style'): return
        for l in self.links[-1:]:
            if l[3] is None and self.link is None: l[3] = s
        if self.inside('pre'): self.pre[-1] += s
        elif any('math' in c for _,c in self.stack) or self.inside('math'): self.math.append(s)
        elif self.inside('code'): self.code[-1] += s
        else: self.text.append(s)
        if self.link:
            self.link[2] += s
            if not self.inside('code'): self.link[0] = ''   # not a backticked word alone
        self.block += f'`{s}`' if self.inside('code') else s

def plain(s):
    "Without blanks at the ends; links to notebooks as `sitecheck` stages them, without numbers"
    return '\n'.join(re.sub(r'(?<![\w/])\d\d_(\w+\.ipynb)', r'\1', l).rstrip() for l in s.strip().splitlines())

def exported(nb):
    "Source of the cells that the page has to show"
    for c in nb['cells']:
        s = ''.join(c['source'])
        hidden = re.search(r'^#\| *(hide|include: *false)', s, re.M)
        if c['cell_type']=='code' and re.match(r'#\| *exports\b', s) and not hidden:
            yield plain(re.sub(r'^#\|.*\n?', '', s, flags=re.M))

def check(site):
    pages = {f.name: Shown(f.read_text('utf-8')) for f in site.glob('*.html')}
    bad,n = [],Counter()
    for word,page in listed().items():
        if page!='-' and word.lower() not in getattr(pages.get(f'{page}.html'), 'ids', ()):
            bad.append(('tools/links.txt', f'{word} is not on {page}.html'))
    for c in notebooks():
        name = re.sub(r'^\d+_', '', c.path.stem)+'.html'; pg = pages.get(name)
        if pg is None: bad.append((name, 'is not on the site')); continue
        def fault(what, where): bad.append((name, what, ' '.join(where.split())[:100]))
        pre = {plain(o) for o in pg.pre}; whole = '\n'.join(pre)
        for src in exported(c.nb):
            n['exported cells'] += 1
            if re.search(r'\]\([\w.]+\.ipynb', src):
                fault('Markdown link in a comment: readers of the code see it raw', src)
            if src not in pre and src not in whole: fault('does not show this exported cell', src)
        for o in pg.pre+pg.code:
            if '](' + base in o or re.search(r'\[`[^`]+`\]\(', o) and base in o: fault('raw link in code', o)
        for o in pg.text:
            if re.search(r'\]\((https?:|[\w./-]+\.(html|ipynb))', o): fault('raw link', o)
            if '$$' in o or re.search(r'\\(frac|sum|sqrt|text|mathrm|left|right|begin)\b', o): fault('raw TeX', o)
        for o in pg.math:
            n['formulas'] += 1
            if '$$' in o or unreadable.search(o): fault('TeX that pandoc leaves raw (\\left and \\right work)', o)
        for src,alt in pg.images:
            n['pictures'] += 1
            if not (alt or '').strip(): fault('picture without alt text', src[:40])
        prose = '\n'.join(''.join(cell['source']) for cell in c.nb['cells'] if cell['cell_type']=='markdown')
        written = set(re.findall(r'\[`([^`]+)`\]\(', prose))   # links that were set by hand
        for href,before,word,after in pg.links:
            m = re.match(rf'(?:{re.escape(base)})?([\w-]+)\.html#(.+)$', href)
            if not m or word in written: continue
            n['automatic links'] += 1
            page,anchor = m[1],m[2]
            if f'{page}.html' not in pages or anchor not in pages[f'{page}.html'].ids:
                fault('link to a symbol that is not there', f'{word} -> {href}')
            if not wanted(word.removesuffix('()'), page, c.path, before, after or ''):
                fault('link that is not meant (see `wanted` in tools/pages.py)', f'{before[-50:]}[{word}] -> {page}')
    return n,bad

if __name__=='__main__':
    site = Path(sys.argv[1]) if len(sys.argv)>1 else root/'_proc_check'/Path(cfg['doc_path']).name
    n,bad = check(site)
    for b in bad: print(*b, sep=': ')
    print(', '.join(f'{v} {k}' for k,v in n.items())+f': {len(bad)} faults')
    sys.exit(bool(bad) or not n['exported cells'])
