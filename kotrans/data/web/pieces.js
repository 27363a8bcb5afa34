// SentencePiece: text into numbered pieces of a vocabulary, and back.
import {normaliseText} from './text.js';

const UNK = 1, EOS = 3;                                               // ids, the same in every vocabulary
const NORMAL = 1, USER_DEFINED = 4, BYTE = 6;                         // kinds of pieces

export class Tokenizer {
  // `vocabulary` as it is exported: pieces, scores, kinds, and the switches of the model
  constructor(vocabulary, fold) {
    const {pieces, scores, kinds} = vocabulary;
    Object.assign(this, {...vocabulary, fold, scores: Float32Array.from(scores), kinds: Array.from(kinds, Number)});
    this.ids = new Map();                                             // pieces that text is cut into
    this.bytes = new Map();                                           // byte -> id
    pieces.forEach((piece, id) => {
      if (this.kinds[id] === BYTE) this.bytes.set(parseInt(piece.slice(3, 5), 16), id);
      else if ([NORMAL, USER_DEFINED].includes(this.kinds[id])) this.ids.set(piece, id);
    });
    this.beginnings = new Set([...this.ids.keys()].flatMap(piece => prefixes(piece)));
    const normal = [...this.scores].filter((_, id) => this.kinds[id] === NORMAL);
    const least = normal.reduce((a, b) => Math.min(a, b), Infinity);
    this.unknown = Math.fround(least - 10);                           // what a character without a piece costs
  }

  // Ids of a text, without marks
  encode(text) {
    const normal = normaliseText(text, this.fold);
    if (!normal) return [];
    const marked = (this.add_dummy_prefix ? ' ' : '') + normal;
    return this.segment(Array.from(marked.replaceAll(' ', '\u2581'))).flatMap(piece => this.number(piece));
  }

  // Ids of a piece: one, or one for each byte of what is not in the vocabulary
  number(piece) {
    const id = this.ids.get(piece);
    if (id !== undefined) return [id];
    if (!this.byte_fallback) return [UNK];
    return Array.from(new TextEncoder().encode(piece), byte => this.bytes.get(byte) ?? UNK);
  }

  // The cut with the highest sum of scores (Viterbi); `characters` has one entry for each character
  segment(characters) {
    const n = characters.length, best = new Float32Array(n + 1), from = new Int32Array(n + 1).fill(-1);
    const offer = (start, end, score) => {
      const total = best[start] + score;
      if (from[end] < 0 || total > best[end]) { best[end] = total; from[end] = start; }
    };
    for (let start = 0; start < n; start++) {
      let piece = '', alone = false;
      for (let end = start + 1; end <= n; end++) {
        piece += characters[end - 1];
        if (!this.beginnings.has(piece)) break;                       // no piece begins like this
        const id = this.ids.get(piece);
        if (id === undefined) continue;
        offer(start, end, this.kinds[id] === USER_DEFINED ? -0.1 : this.scores[id]);
        alone ||= end === start + 1;
      }
      if (!alone) offer(start, start + 1, this.unknown);
    }
    return this.join(characters, from);
  }

  // The pieces that Viterbi's back pointers lead through; neighbours without a piece are one unknown
  join(characters, from) {
    const pieces = [];
    for (let end = characters.length; end > 0; end = from[end]) {
      const piece = characters.slice(from[end], end).join('');
      const merge = !this.byte_fallback && pieces.length && ![piece, pieces[0]].some(p => this.ids.has(p));
      if (merge) pieces[0] = piece + pieces[0];
      else pieces.unshift(piece);
    }
    return pieces;
  }

  // The text of ids; marks and unknowns leave no trace
  decode(ids) {
    let text = '', bytes = [];
    const flush = () => { text += readBytes(bytes); bytes = []; };
    for (const id of ids) {
      if (id <= EOS) continue;
      if (this.kinds[id] === BYTE) { bytes.push(parseInt(this.pieces[id].slice(3, 5), 16)); continue; }
      flush();
      if ([NORMAL, USER_DEFINED].includes(this.kinds[id])) text += this.pieces[id].replaceAll('\u2581', ' ');
    }
    flush();
    return normaliseText(text, this.fold);
  }

  // For each word of the text of `ids` the numbers of the pieces that are its beginning or go on with it
  wordsOf(ids) {
    const groups = [];
    ids.forEach((id, i) => {
      if (!groups.length || this.pieces[id].startsWith('\u2581')) groups.push([]);
      groups.at(-1).push(i);
    });
    return groups.map(places => ({places, text: this.decode(places.map(i => ids[i]))})).filter(word => word.text);
  }
}

// 'abc' -> 'a', 'ab', 'abc'; whole characters
function prefixes(piece) {
  const characters = Array.from(piece);
  return characters.map((_, i) => characters.slice(0, i + 1).join(''));
}

// UTF-8; a byte that is none becomes U+FFFD, and the next is tried
function readBytes(bytes) {
  const decoder = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});
  let text = '';
  for (let i = 0; i < bytes.length;) {
    const lead = bytes[i], length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    try {
      text += decoder.decode(Uint8Array.from(bytes.slice(i, i + length)));
      i += length;
    } catch { text += '\ufffd'; i += 1; }
  }
  return text;
}
