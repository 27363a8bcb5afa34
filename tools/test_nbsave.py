"tools/nbsave.py --check names what a cell no longer says, and passes over what varies"
from types import SimpleNamespace
from fastcore.basics import AttrDict
from nbsave import differing,said

def cell(*outputs, kind='code', **directives): return AttrDict(cell_type=kind, id='a', outputs=list(outputs), directives_=directives)
def stream(text): return dict(output_type='stream', name='stdout', text=text)
def shown(**data): return dict(output_type='display_data', data={k.replace('_', '/'): v for k,v in data.items()})

def main():
    names = lambda old, new: [d[1:] for d in differing(SimpleNamespace(cells=[old]), SimpleNamespace(cells=[new]))]
    assert said(cell(stream(['one\n', 'two\n']), shown(image_png='abc', text_plain='<Figure>')))==['one', 'two', '', '(image/png)']
    assert names(cell(stream('1 ms')), cell(stream('2 ms')))==[('1 ms', '2 ms')]
    assert names(cell(stream('1 ms')), cell(stream('2 ms'), varies=[]))==[]
    assert names(cell(stream('a\nb')), cell(stream('a')))==[('b', '(nothing)')] and names(cell(), cell(shown(text_plain='3')))==[('(nothing)', '3')]
    assert names(cell(shown(image_png='abc')), cell(shown(image_png='abd')))==[]
    assert names(cell(shown(text_plain='<f at 0x7f00aa00>')), cell(shown(text_plain='<f at 0x7f00bb11>')))==[]
    assert names(cell(shown(image_png='abc')), cell())==[('(image/png)', '(nothing)')]
    print('outputs that changed are named')

if __name__=='__main__': main()
