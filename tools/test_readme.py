"tools/readme.py finds the shell block after a mark, and says so where there is none"
from readme import command

TEXT = '''# Title
```sh
echo other
```
<!-- ci: demo -->

``` sh
echo "a"
echo b
```
<!-- ci: test -->
```sh
echo c
```
<!-- ci: prose -->
words
```sh
echo d
```
<!-- ci: twice -->
<!-- ci: twice -->
'''

def main():
    assert command(TEXT, 'demo')=='echo "a"\necho b\n' and command(TEXT, 'test')=='echo c\n'
    for name,said in dict(prose='no ```sh block', twice='stands 2 times', other='stands 0 times').items():
        try: command(TEXT, name)
        except LookupError as e: assert said in str(e), e
        else: raise AssertionError(name)
    print('marked blocks are found, and missing ones named')

if __name__=='__main__': main()
