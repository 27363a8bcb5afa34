// Type lines into the page as a reader would, after the network is gone, and report what it shows.
// `check.json` has the lines and the search; what is posted to `report` is what came of it.

const post = (where, what) => fetch(where, {method: 'POST', body: JSON.stringify(what)});
const wait = ms => new Promise(done => setTimeout(done, ms));

// The page in the frame, once it is loaded
async function ready(frame) {
  for (;;) {
    const root = frame.contentDocument?.querySelector('[data-kotrans]');
    if (root?.querySelector('.kotrans-error')) throw new Error(root.querySelector('.kotrans-error').textContent);
    if (root?.querySelector('button[type=submit]:not([disabled])')) return root;
    await wait(20);
  }
}

// What the page makes of a text: what it worked out, what it shows, what it says, and the milliseconds
async function typed(root, text) {
  root.querySelector('textarea').value = text;
  const done = new Promise((found, failed) => {
    root.addEventListener('kotrans-done', event => found(event.detail), {once: true});
    root.addEventListener('kotrans-failed', event => failed(event.detail), {once: true});
  });
  const start = performance.now();
  root.querySelector('form').requestSubmit();
  const found = await done, ms = performance.now() - start;
  return {found: found.map(r => ({source: r.source, parts: r.parts,
      candidates: r.candidates.map(({text, score, logProb}) => ({text, score, logProb}))})),
    shown: [...root.querySelectorAll('.kotrans-best')].map(p => p.textContent),
    status: root.querySelector('.kotrans-status').textContent, ms};
}

try {
  const {lines, query, n_best} = await (await fetch('check.json')).json(), frame = document.querySelector('iframe');
  frame.src = `index.html${query}`;
  const root = await ready(frame);
  root.querySelector('select').value = n_best;
  await post('cut', {});
  const results = [];
  for (const line of lines) results.push(await typed(root, line));
  await post('report', {results, browser: navigator.userAgent});
} catch (error) {
  await post('report', {error: String(error)});
}
