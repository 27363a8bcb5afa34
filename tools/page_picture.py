"""Make the picture of the page that translates (nbs/images/browser_page.png), with a browser that has no window.

    python tools/page_picture.py [PICTURE]

The shipped model is exported as a page, Chromium opens it within a frame, a sentence is translated, and what is seen then is the picture, a pixel of
the page being one of the picture, in 64 colours. Chromium takes it when everything is loaded; so the frame's page has an image that is kept back until the
translation is there. The engine is taken from the cache, or from the network.
"""
import sys,tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler,ThreadingHTTPServer
from pathlib import Path
from threading import Event,Thread
from urllib.parse import quote
from PIL import Image
from kotrans.browser import _open_browser,export_web
from kotrans.export import shipped_model
from kotrans.translator import Translator

PICTURE = Path(__file__).resolve().parents[1]/'nbs'/'images'/'browser_page.png'
KOREAN = '어제 친구하고 같이 영화를 봤어요.'        # I watched a film with a friend yesterday
WIDTH,HEIGHT,SECONDS,COLOURS = 640,1060,120,64
FRAME = '''<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Frame</title>
<style>body { margin: 0 } iframe { display: block; width: 100vw; height: 100vh; border: 0 } img { position: absolute }</style>
<iframe src="index.html#%s"></iframe><img src="kept-back.gif" alt="">
<script>
const timer = setInterval(() => {
  const page = document.querySelector('iframe').contentDocument, said = page?.querySelector('.kotrans-best');
  if (!said || !/ s\\.$/.test(page.querySelector('.kotrans-status').textContent)) return;
  clearInterval(timer);
  page.activeElement.blur();
  setTimeout(() => fetch('done', {method: 'POST'}), 300);
}, 50);
</script></html>'''

class Handler(SimpleHTTPRequestHandler):
    "Serves the page and the frame around it"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {'.js': 'text/javascript'}
    done = Event()
    def log_message(self, *args): pass
    def answer(self, kind='', body=b''):
        self.send_response(200 if body else 204)
        if kind: self.send_header('Content-Type', kind)
        self.end_headers(); self.wfile.write(body)
    def do_GET(self):
        if self.path=='/frame.html': return self.answer('text/html; charset=utf-8', (FRAME % quote(KOREAN)).encode())
        if self.path!='/kept-back.gif': return super().do_GET()
        self.done.wait(SECONDS); self.answer()
    def do_POST(self): self.done.set(); self.answer()

def main(picture):
    with tempfile.TemporaryDirectory() as d:
        export_web(Translator.from_checkpoint(shipped_model(), 'cpu'), Path(d))
        with ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=d)) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            how = f'--screenshot={picture}',f'--window-size={WIDTH},{HEIGHT}','--force-device-scale-factor=1','--hide-scrollbars'
            with _open_browser(*how, f'http://127.0.0.1:{server.server_port}/frame.html') as browser: browser.wait(2*SECONDS)
            server.shutdown()
    if not Handler.done.is_set(): sys.exit('the page did not translate')
    Image.open(picture).convert('RGB').quantize(COLOURS).save(picture, optimize=True)
    print(f'{picture}: {picture.stat().st_size:,} bytes')

if __name__=='__main__': main(Path(sys.argv[1]).resolve() if len(sys.argv)>1 else PICTURE)
