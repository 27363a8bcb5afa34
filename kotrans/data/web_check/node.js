// The page's modules without a page: a call in JSON on each line of the input, its value in JSON on each of the output.
import {createInterface} from 'node:readline';
import {readFile} from 'node:fs/promises';
import * as text from './text.js';
import {Tokenizer} from './pieces.js';
import {beam, greedy} from './search.js';

let tokenizer, translator;

// A model whose logits stand in a table, by (source's first token, token before the last, last token)
const tableModel = table => ({
  start: async ids => ({first: ids[0], last: [0]}),
  step: async (tokens, {first, last}) => ({state: {first, last: tokens}, attention: tokens.map(() => []),
    logits: tokens.map((token, i) => Float64Array.from(table[first][last[i]][token]))}),
  pick: ({first, last}, rows) => ({first, last: rows.map(row => last[row])}),
});

const calls = {
  normalise: text.normalise,
  hasNoWords: text.hasNoWords,
  splitLong: (line, n) => text.splitLong(line, part => Array.from(part).length <= n),
  vocabulary: (vocabulary, fold) => { tokenizer = new Tokenizer(vocabulary, fold); return tokenizer.pieces.length; },
  encode: line => tokenizer.encode(line),
  decode: ids => tokenizer.decode(ids),
  search: (table, ids, options) => (options.method === 'greedy' ? greedy : beam)(tableModel(table), ids, options),
  load: async folder => {
    const {Translator} = await import('./kotrans.js');
    translator = await Translator.load({read: async name => new Uint8Array(await readFile(`${folder}/${name}`))});
    return translator.facts.options;
  },
  translate: (line, options) => translator.translate(line, options),
  together: lines => Promise.all(lines.map(line => translator.translate(line, {method: 'greedy'}))),
};

for await (const line of createInterface({input: process.stdin})) {
  const [name, ...values] = JSON.parse(line);
  let answer;
  try { answer = {value: await calls[name](...values)}; } catch (error) { answer = {error: String(error)}; }
  console.log(JSON.stringify(answer));
}
