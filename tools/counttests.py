"""How many notebooks passed, from what `nbdev_test` left: its exit status, and the names in its output.

    nbdev_test > LOG 2>&1; python tools/counttests.py LOG $?        prints: PASSED FAILED

The notebooks are those that nbdev itself would test. Status 0 means that all of them passed. Otherwise those have failed that the end
of the output names, each alone on a line; at least one has, whatever the output looks like.
"""
import sys
from pathlib import Path

def count(names, log, status):
    "Passed and failed, of the notebooks `names`"
    if not names: return 0,1        # nothing was tested: that is a failure, too
    if status==0: return len(names),0
    alone = {l.strip() for l in log.splitlines()}
    failed = max(1, sum(n in alone for n in names))
    return len(names)-failed,failed

if __name__=='__main__':
    from nbdev.doclinks import nbglob
    print(*count([f.name for f in nbglob(as_path=True)], Path(sys.argv[1]).read_text('utf-8', 'replace'), int(sys.argv[2])))
