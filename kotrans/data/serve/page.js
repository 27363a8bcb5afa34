// Asks the server that this page came from; what it answers is shown as text and never as HTML.
'use strict';
const part = id => document.getElementById(id);
const [form, korean, best, english, status, count] = ['form', 'korean', 'best', 'english', 'status', 'count'].map(part);
let limits = null, asking = null;

function say(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle('wrong', wrong);
}

function show(texts) {
  english.replaceChildren(...texts.map(text => {
    const item = document.createElement('li');
    item.textContent = text;
    return item;
  }));
  english.classList.toggle('one', texts.length < 2);
}

function tally() {
  if (limits) count.textContent = `${[...korean.value].length} of ${limits.characters} characters; a sentence a line`;
}

// What the server would refuse before it has read all of it; JavaScript's length counts some characters twice
function checkLength(text) {
  if (!limits) return;
  const characters = [...text].length, lines = text.split('\n').length;
  const check = (n, most, what) => {
    if (n > most) throw new Error(`${n.toLocaleString('en')} ${what}; at most ${most.toLocaleString('en')}.`);
  };
  check(characters, limits.characters, 'characters');
  check(lines, limits.sentences, 'lines');
}

async function begin() {
  const answer = await fetch('health');
  limits = (await answer.json()).limits;
  best.replaceChildren(...Array.from({length: Math.min(limits.n_best, 10)}, (_, i) => new Option(i + 1)));
  tally();
}

async function translate(event) {
  event.preventDefault();
  if (asking) asking.abort();
  const mine = asking = new AbortController();
  say('Translating …');
  show([]);
  try {
    checkLength(korean.value);
    const ask = {q: korean.value, source: 'ko', target: 'en', format: 'text', alternatives: best.selectedIndex};
    const answer = await fetch('translate', {method: 'POST', signal: mine.signal,
      headers: {'Content-Type': 'application/json'}, body: JSON.stringify(ask)});
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    show([said.translatedText, ...(said.alternatives || [])]);
    say('');
  } catch (error) {
    const silent = ['TypeError', 'SyntaxError'].includes(error.name);   // no answer, or a proxy's, not in JSON
    if (mine === asking) say(silent ? 'The server does not answer.' : error.message, true);
  }
}

form.addEventListener('submit', translate);
korean.addEventListener('input', tally);
korean.addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
begin().catch(() => say('The server does not answer.', true));
