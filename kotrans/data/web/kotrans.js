// The translator: files from beside this module, onnxruntime for the arithmetic, and the rest from the other modules.
import {Tokenizer} from './pieces.js';
import {beam, greedy, rest, EOS} from './search.js';
import {hasNoWords, normalise, splitLong, wellFormed, words} from './text.js';

const RUNTIME = './onnxruntime/ort.wasm.bundle.min.js';
const QUERY = new URL(RUNTIME, import.meta.url).search;               // `?v=` and the export, which `export_web` writes

// The bytes of a file, as the server has it now; `tell` is called with how many have come
async function fetchFile(name, tell) {
  const answer = await fetch(new URL(name + QUERY, import.meta.url), {cache: 'no-cache'});
  if (!answer.ok) throw new Error(`${name} cannot be read (${answer.status})`);
  const reader = answer.body.getReader(), chunks = [];
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    tell(part.value.length);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

const isPacked = bytes => bytes[0] === 0x1f && bytes[1] === 0x8b;     // some servers unpack files themselves

// The content of a compressed file
async function unpack(bytes) {
  if (!isPacked(bytes)) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const stray = name => new Error(`${name} and model.json are of two exports; load the page again`);

// The content of a file that belongs to `facts`; without HTTPS browsers compute no checksums, and the size must do
async function contentOf(name, bytes, facts) {
  if (isPacked(bytes) && bytes.length !== facts.files[name]) throw stray(name);
  const content = await unpack(bytes), sum = await globalThis.crypto?.subtle?.digest('SHA-256', content);
  if (sum && hexadecimal(new Uint8Array(sum)) !== facts.sums[name]) throw stray(name);
  return content;
}

const hexadecimal = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');

export class Translator {
  // Load all files; `progress(done, total)` is called with bytes, `read(name, tell)` gets the bytes of a file
  static async load({progress = () => {}, read = fetchFile} = {}) {
    const text = new TextDecoder(), facts = JSON.parse(text.decode(await read('model.json', () => {})));
    if (QUERY && QUERY !== `?v=${facts.export}`) throw stray('kotrans.js');
    const total = Object.values(facts.files).reduce((a, b) => a + b), files = {};
    let done = 0;
    const tell = n => progress(Math.min(done += n, total), total);
    const [ort] = await Promise.all([import(RUNTIME), ...Object.keys(facts.files).map(async name => {
      files[name.replace(/\.gz$/, '')] = await contentOf(name, await read(name, tell), facts);
    })]);
    const vocabularies = ['source.json', 'target.json'].map(name => JSON.parse(text.decode(files[name])));
    const tokenizers = vocabularies.map(vocabulary => new Tokenizer(vocabulary, facts.fold));
    return new Translator(facts, await Model.load(ort.default ?? ort, files), ...tokenizers);
  }

  constructor(facts, model, source, target) {
    Object.assign(this, {facts, model, source, target, options: facts.options});
  }

  // Translate a line: its `candidates`, best first, and the number of `parts` that it was read in. An AbortSignal
  // as `options.signal` can stop it
  async translate(line, options = {}) {
    const text = normalise(wellFormed(line), this.facts.fold), o = {...this.options, ...options}, found = [];
    if (this.facts.copy && hasNoWords(text)) return {source: text, parts: 0, candidates: [this.join([], 0, text)]};
    const parts = this.parts(text), find = o.method === 'greedy' ? greedy : beam;
    for (const ids of parts) {
      await rest(o.signal);
      found.push({ids, hypotheses: await find(this.model, [...ids, EOS], o)});
    }
    const ranks = Math.max(1, ...found.map(part => part.hypotheses.length));
    const candidates = Array.from({length: ranks}, (_, rank) => this.join(found, rank, ''));
    return {source: text, parts: parts.length, candidates};
  }

  // Ids of the parts of a text: one, if the model takes it whole
  parts(text) {
    const longest = this.facts.max_len || Infinity, fits = part => this.source.encode(part).length < longest;
    const parts = fits(text) ? [text] : splitLong(text, fits);
    return parts.map(part => this.source.encode(part)).filter(ids => ids.length);
  }

  // The translation made of each part's hypothesis number `rank`, or its last if it has fewer
  join(found, rank, text) {
    const chosen = found.map(({ids, hypotheses}) => ({ids, ...hypotheses[Math.min(rank, hypotheses.length - 1)]}));
    const said = chosen.map(h => this.target.decode(h.tokens)).join(' ');
    const sum = key => chosen.reduce((a, h) => a + h[key], 0);
    return {text: text || words(said).join(' '), score: sum('score'), logProb: sum('logProb'),
      finished: chosen.every(h => h.finished), parts: chosen.map(h => this.looks(h))};
  }

  // Words on both sides, and for each target word how much attention each source word had
  looks({ids, tokens, attention}) {
    const source = this.source.wordsOf(ids), target = this.target.wordsOf(tokens);
    const weight = (t, s) => t.places.reduce((sum, i) => sum + s.places.reduce((a, j) => a + attention[i][j], 0), 0)
      / t.places.length;
    return {source: source.map(w => w.text), target: target.map(w => w.text),
      weights: target.map(t => source.map(s => weight(t, s)))};
  }
}

// Run a graph when all runs asked for before are done: the engine's stack has room for one at a time. The last run is
// kept with the engine, since a page may have this module under two addresses, with and without `?v=`
function inTurn({env}, session, ...given) {
  const run = Promise.resolve(env.kotransLast).then(() => session.run(...given));
  env.kotransLast = run.catch(() => {});
  return run;
}

// The two graphs, for one sentence at a time
export class Model {
  static async load(ort, files) {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = files['onnxruntime/ort-wasm-simd-threaded.wasm'];
    const session = name => ort.InferenceSession.create(files[name], {executionProviders: ['wasm']});
    return new Model(ort, await session('encoder.onnx'), await session('decoder.onnx'));
  }

  constructor(ort, encoder, decoder) { Object.assign(this, {ort, encoder, decoder}); }

  // Encode a source, closed by its end mark; what the steps need of it
  async start(ids) {
    const n = ids.length, {Tensor} = this.ort;
    const src_mask = new Tensor('bool', new Uint8Array(n).fill(1), [1, n]);
    const src = new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, n]);
    const {cross} = await inTurn(this.ort, this.encoder, {src, src_mask}, ['cross']);
    const [, layers, , width] = cross.dims;
    return {past: new Tensor('float32', new Float32Array(0), [1, layers, 0, width]), cross, src_mask};
  }

  // Read a token in each row; logits and attention (of the last layer) are a row for each
  async step(tokens, state) {
    const token = new this.ort.Tensor('int64', BigInt64Array.from(tokens, BigInt), [tokens.length]);
    const out = await inTurn(this.ort, this.decoder, {token, ...state}, ['logits', 'present', 'attention']);
    const [, layers, n] = out.attention.dims, vocabulary = out.logits.dims[1];
    const part = (tensor, start, length) => tensor.data.subarray(start, start + length);     // each run has new tensors
    return {state: {...state, past: out.present},
      logits: tokens.map((_, i) => part(out.logits, i * vocabulary, vocabulary)),
      attention: tokens.map((_, i) => part(out.attention, ((i + 1) * layers - 1) * n, n))};
  }

  // Go on with some of the rows
  pick(state, rows) {
    const same = rows.length === state.past.dims[0] && rows.every((row, i) => row === i);
    if (same) return state;
    return Object.fromEntries(Object.entries(state).map(([name, tensor]) => [name, this.gather(tensor, rows)]));
  }

  gather(tensor, rows) {
    const {data, dims, type} = tensor, size = data.length / dims[0];
    const out = new data.constructor(rows.length * size);
    rows.forEach((row, i) => out.set(data.subarray(row * size, (row + 1) * size), i * size));
    return new this.ort.Tensor(type, out, [rows.length, ...dims.slice(1)]);
  }
}
