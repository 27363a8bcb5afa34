"tools/readme.py finds the shell block after a mark, and says so where there is none"
import base64
from readme import command,picture

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
    png = dict(data={'image/png': base64.b64encode(b'bytes').decode()}, metadata={})
    src = '#| fig-alt: "A \'quoted\' <word> & more"'
    assert picture(src, png, 1)==("![A 'quoted' <word> & more](nbs/images/readme_1.png)", {'nbs/images/readme_1.png': b'bytes'})
    png['metadata'] = {'image/png': dict(width=420, height=300)}
    assert picture(src, png, 2)[0]=='<img src="nbs/images/readme_2.png" alt="A &#x27;quoted&#x27; &lt;word&gt; &amp; more" width="420">'
    print('marked blocks are found, and missing ones named; a picture keeps its width')

if __name__=='__main__': main()
