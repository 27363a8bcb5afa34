"tools/counttests.py counts what passed, and never takes a failure for a success"
from counttests import count

def main():
    names = ['10_a.ipynb', '11_b.ipynb', '12_c.ipynb']
    assert count(names, 'Success.', 0)==(3,0)
    assert count(names, 'Starting 10_a.ipynb\nError in 11_b.ipynb\nFailed:\n====\n\t10_a.ipynb\n\t12_c.ipynb\n', 1)==(1,2)
    assert count(names, 'killed', 137)==(2,1) and count([], 'No files', 0)==(0,1)
    print('passes and failures are counted')

if __name__=='__main__': main()
