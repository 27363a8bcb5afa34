// What is seen: a form, the translations, and lines between the words. `mount(element)` puts it anywhere.
// Text from outside becomes text nodes only, never markup.
import {Translator} from './kotrans.js';

const LIMIT = 2000;                                                   // characters taken at once
const LEAST = 0.05;                                                   // attention that is shown
let count = 0;                                                        // of elements with an id

// An element with attributes and children; a string among these is text
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const megabytes = n => (n / 1e6).toFixed(1);
const plural = (n, what) => `${n} ${what}${n === 1 ? '' : 's'}`;

// The form, with nothing in it that works yet
function build(root) {
  const id = `kotrans-${++count}`, form = make('form', {class: 'kotrans-form'});
  const input = make('textarea', {id, lang: 'ko', rows: 3, 'aria-describedby': `${id}-hint`, spellcheck: 'false'});
  const choice = make('select', {id: `${id}-n`}), button = make('button', {type: 'submit', disabled: ''}, 'Translate');
  const examples = make('p', {class: 'kotrans-examples', hidden: ''}, 'Try: ');
  const status = make('p', {class: 'kotrans-status', role: 'status'}, 'Loading the model …');
  const bar = make('progress', {'aria-label': 'Loading the model', value: 0, max: 1});
  const said = make('p', {class: 'kotrans-said', lang: 'en', 'aria-live': 'polite'});
  const results = make('div', {class: 'kotrans-results'});
  form.append(make('label', {for: id}, 'Korean text, one sentence a line'), input,
    make('p', {id: `${id}-hint`, class: 'kotrans-hint'}, `Ctrl + Enter translates. At most ${LIMIT} characters.`),
    examples, make('div', {class: 'kotrans-row'}, button,
      make('span', {}, make('label', {for: choice.id}, 'Translations of each line '), choice)));
  root.classList.add('kotrans');
  root.replaceChildren(form, status, bar, said, results);
  return {root, form, input, choice, button, examples, status, bar, said, results};
}

// Say that something failed; what WebAssembly throws may be a bare number
function fail(ui, what, error) {
  ui.status.textContent = `${what}: ${error?.message ?? error}`;
  ui.status.classList.add('kotrans-error');
  console.error(error);
  ui.root.dispatchEvent(new CustomEvent('kotrans-failed', {detail: error}));
}

// Put the page into an element, load the model, and translate what is typed
export async function mount(root, options = {}) {
  const ui = build(root);
  const progress = (done, total) => {                                 // the text only once: a screen reader reads each
    if (ui.bar.max !== total) ui.status.textContent = `Loading the model, ${megabytes(total)} MB …`;
    Object.assign(ui.bar, {max: total, value: done});
  };
  try {
    const translator = await Translator.load({progress});
    ready(ui, translator, {...translator.options, ...options});
  } catch (error) { fail(ui, 'The model cannot be loaded', error); }
  ui.bar.remove();
  return ui;
}

// Bring the form to life
function ready(ui, translator, options) {
  const widest = options.method === 'greedy' ? 1 : options.beam_size;
  for (let n = 1; n <= widest; n++) ui.choice.append(make('option', {value: n}, String(n)));
  ui.choice.value = Math.min(3, widest);
  for (const example of translator.facts.examples) {
    const button = make('button', {type: 'button', lang: 'ko'}, example);
    button.addEventListener('click', () => { ui.input.value = example; ui.form.requestSubmit(); });
    ui.examples.append(button, ' ');
  }
  ui.examples.hidden = !translator.facts.examples.length;
  ui.input.addEventListener('keydown', event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ui.form.requestSubmit(); }
  });
  ui.form.addEventListener('submit', event => {
    event.preventDefault();
    ui.running?.abort();
    const {signal} = ui.running = new AbortController();
    run(ui, translator, {...options, signal, n_best: Number(ui.choice.value)})
      .catch(error => { if (!signal.aborted) fail(ui, 'The translation failed', error); });
  });
  ui.button.disabled = false;
  ui.status.textContent = 'Ready.';
  ui.root.dispatchEvent(new CustomEvent('kotrans-ready'));
  const typed = text => { if (text) { ui.input.value = text; ui.form.requestSubmit(); } };
  typed(options.text);
  if (isOurs()) addEventListener('hashchange', () => typed(asked().text));
}

// Translate what stands in the form, until `options.signal` stops it
async function run(ui, translator, options) {
  const characters = Array.from(ui.input.value), found = [], notes = [];
  if (characters.length > LIMIT) notes.push(`Only the first ${LIMIT} characters were read.`);
  const lines = characters.slice(0, LIMIT).join('').split('\n').filter(line => line.trim());
  const start = performance.now();
  ui.results.replaceChildren();
  ui.said.textContent = '';
  ui.status.classList.remove('kotrans-error');
  for (const line of lines) {
    ui.status.textContent = `Translating line ${found.length + 1} of ${lines.length} …`;
    const result = await translator.translate(line, options);
    options.signal.throwIfAborted();
    found.push(result);
    ui.results.append(show(result, lines.length === 1));
    if (result.parts > 1) {
      notes.push(`Line ${found.length} is longer than the model reads at once; it was read in ${result.parts} parts.`);
    }
  }
  const seconds = (performance.now() - start) / 1000;
  ui.status.textContent = [`${plural(found.length, 'line')} in ${seconds.toFixed(2)} s.`, ...notes].join(' ');
  ui.said.textContent = found.map(result => result.candidates[0].text).join('\n');
  ui.root.dispatchEvent(new CustomEvent('kotrans-done', {detail: found}));
}

// A line, its translation, the others, and the picture of its attention
function show({source, candidates}, open) {
  const [first, ...others] = candidates, box = make('article');
  const fold = (title, ...children) => make('details', open ? {open: ''} : {}, make('summary', {}, title), ...children);
  box.append(make('p', {lang: 'ko', class: 'kotrans-source'}, source),
    make('p', {lang: 'en', class: 'kotrans-best'}, first.text));
  if (others.length) {
    const list = make('ol', {lang: 'en', start: 2}, ...others.map(c => make('li', {}, c.text)));
    box.append(fold('Other translations', list));
  }
  const drawn = first.parts.filter(part => part.target.length && part.source.length).map(picture);
  if (drawn.length) box.append(fold('Which words it looked at', ...drawn));
  return box;
}

const percent = x => `${Math.round(100 * x)}%`;

// The strongest of some weights, as words and shares
function strongest(weights, names) {
  const order = weights.map((_, i) => i).filter(i => weights[i] >= LEAST).sort((a, b) => weights[b] - weights[a]);
  return order.slice(0, 3).map(i => `${names[i]} ${percent(weights[i])}`).join(', ') || 'nothing much';
}

// Two columns of words, and a line for each pair, as dark as its weight
function picture({source, target, weights}) {
  const rows = Math.max(source.length, target.length), ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg'), lines = [];
  svg.setAttribute('viewBox', '0 0 100 100');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  weights.forEach((row, t) => row.forEach((weight, s) => {
    if (weight < LEAST) return;
    const line = document.createElementNS(ns, 'line');
    const ends = {x1: 0, y1: 100 * (s + .5) / source.length, x2: 100, y2: 100 * (t + .5) / target.length};
    for (const [name, value] of Object.entries(ends)) line.setAttribute(name, value);
    line.style.opacity = Math.min(1, weight);
    line.style.strokeWidth = `${1 + 3 * weight}px`;
    svg.append(line);
    lines.push({line, s, t});
  }));
  const column = (words, lang, side, about) => make('ul', {lang}, ...words.map((word, i) => {
    const button = make('button', {type: 'button', 'aria-label': `${word}: ${about(i)}`}, word);
    const only = on => lines.forEach(l => l.line.classList.toggle('kotrans-faint', on && l[side] !== i));
    for (const event of ['focus', 'pointerenter']) button.addEventListener(event, () => only(true));
    for (const event of ['blur', 'pointerleave']) button.addEventListener(event, () => only(false));
    return make('li', {}, button);
  }));
  const box = make('div', {class: 'kotrans-picture'},
    column(source, 'ko', 's', s => strongest(weights.map(row => row[s]), target)), svg,
    column(target, 'en', 't', t => strongest(weights[t], source)));
  box.style.height = `${rows * 2.25}rem`;
  return box;
}

// What the address asks for: `?beam=1` is quick, greedy search; a text behind `#`, which browsers send to nobody
function asked() {
  const beam = Number(new URLSearchParams(location.search).get('beam')), options = {};
  if (beam >= 1) options.beam_size = Math.min(Math.trunc(beam), 16);
  if (beam >= 1) options.method = beam < 2 ? 'greedy' : 'beam';
  try { options.text = decodeURIComponent(location.hash.slice(1)); } catch { /* no text */ }
  return options;
}

// Only `index.html` is ours altogether; the address of another page means other things
function isOurs() { return document.body.classList.contains('kotrans-page'); }

const options = isOurs() ? asked() : {};
for (const element of document.querySelectorAll('[data-kotrans]')) mount(element, options);
