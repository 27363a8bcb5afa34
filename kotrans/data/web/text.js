// Text before and behind the model: the one form of a line, lines without words, lines that are too long.
// The same decisions as in the chapters on normalising and on sentences, in JavaScript.

const INVISIBLE = new RegExp('[\\x00-\\x08\\x0e-\\x1b\\x7f-\\x84\\x86-\\x9f\\xad\\u061c\\u180e' +
  '\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]', 'g');
const OTHER_WIDTH = /[\uff01-\uffef]/g;
const MARKS = /(\p{M}{30})\p{M}+/gu;
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;

// The words of a text, as Python's `str.split` finds them
export function words(text) {
  return text.split(SPACES).filter(word => word);
}

// Whole characters only: half of a pair becomes U+FFFD
export function wellFormed(text) {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
}

// The one form of a text; `fold` has the character itself for each form of other width
export function normalise(text, fold) {
  const seen = text.replace(INVISIBLE, '').replace(OTHER_WIDTH, c => fold[c] ?? c).replaceAll('\u3164', ' ');
  return toNfc(words(seen).join(' '));
}

// Composed, with at most thirty marks in succession, since composing takes the square of their number
function toNfc(text) {
  return text.replace(MARKS, '$1').normalize('NFC').replace(MARKS, '$1');
}

// What a tokenizer makes of a text before it cuts; U+2581 stands for a space in pieces
export function normaliseText(text, fold) {
  return normalise(text.replaceAll('\u2581', ' '), fold);
}

const EXACT = new RegExp([
  '(?:https?:\\/\\/|www\\.)[\\x21-\\x7e]+',                                   // an address
  '(?<![\\w.+-])[\\w.+-]+@[\\w-]+(?:\\.[\\w-]+)+',                            // a mail address
  '(?<![^\\s"\'(\\[])(?:(?:[A-Za-z]:\\\\|~?\\/|\\.{1,2}\\/)[\\w.+\\\\/~-]*[\\w/]' +   // a path
  '|[\\w-]+(?:\\.[\\w-]+)*\\.(?:[a-z][a-z0-9]{1,4}|[A-Z][A-Z0-9]{1,4}|(?<=[\\w-]{2}\\.)[a-z])\\b)',   // with an extension
].join('|'), 'g');

// Whether a normalised text has no letter outside of addresses and file names
export function hasNoWords(text) {
  return !/\p{L}/u.test(text.replace(EXACT, ''));
}

const CUTS = [/(?<=[.!?…。！？])(?!(?<=[0-9]\.)\s+[0-9])['"”’)\]]*\s+|(?<=[。！？])/g,
  /(?<=[,;:])\s+|(?<=[、，；：·ㆍ・∙—])(?![0-9])\s*/g, /(?<![0-9]\.)\s+|\s+(?![0-9])/g, /\s+/g];

// Cut a text into parts that fit: at sentences, clauses, spaces (those of dates last), anywhere
export function splitLong(text, fits, level = 0) {
  const characters = Array.from(text);
  if (fits(text) || characters.length < 2) return [text];
  if (level === CUTS.length) {
    const half = characters.length >> 1;
    return [characters.slice(0, half), characters.slice(half)].flatMap(p => splitLong(p.join(''), fits, level));
  }
  const pieces = slices(text, CUTS[level]);
  if (pieces.length < 2) return splitLong(text, fits, level + 1);
  const parts = [''];
  for (const piece of pieces) {
    if (fits((parts.at(-1) + piece).trim())) parts[parts.length - 1] += piece;
    else parts.push(piece);
  }
  return parts.filter(p => p.trim()).flatMap(p => splitLong(p.trim(), fits, level + 1));
}

// The slices of a text between the ends of the matches of `cut`
function slices(text, cut) {
  const ends = [...text.matchAll(cut)].map(m => m.index + m[0].length);
  return [...ends, text.length].map((end, i) => text.slice(i ? ends[i - 1] : 0, end)).filter(p => p.trim());
}
