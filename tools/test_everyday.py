"tools/everyday.py --check finds stored counts that are not those of the files, and what the corpus lacks; the files as they are pass"
import io,json,sys,tempfile
from contextlib import redirect_stdout
from pathlib import Path
import everyday as tool

def checked(change):
    "Status and output of `--check` on the stored report after `change`"
    report = json.loads(stored); change(report); tool.RESULT.write_text(tool.as_text(report), 'utf-8')
    with redirect_stdout(out := io.StringIO()): status = tool.main()
    return status,out.getvalue()

def main():
    global stored
    stored = tool.RESULT.read_text('utf-8')
    sys.argv = ['everyday.py', '--check']
    with tempfile.TemporaryDirectory() as d:
        tool.RESULT = Path(d)/'everyday_corpus.json'
        status,out = checked(lambda r: None)
        assert not status and 'all that is asked for is there' in out, out
        assert tool.RESULT.read_text('utf-8')==stored                # what is stored is as the tool writes it
        for change,says in [(lambda r: r['counts'].update(pairs=3), 'pairs: everyday_corpus.json has other numbers'),
                            (lambda r: r['counts']['topics'].update(food=1), 'topics: everyday_corpus.json has other numbers'),
                            (lambda r: r['lemmas'].pop('집/NNG'), 'lemmas: not those of coverage/lemmas.tsv'),
                            (lambda r: r['patterns'].update({'-고 싶다': 11}), '-고 싶다: 11 pairs show it, and 12 should'),
                            (lambda r: r['faults'].append('가: stray blanks'), '가: stray blanks')]:
            status,out = checked(change)
            assert status and says in out and 'all that' not in out, out
    print('stored counts out of step, and what the corpus lacks, are found')

if __name__=='__main__': main()
