// From the logits of the next token to a translation: greedy search and beam search, for one sentence.
// A model has `start(ids)`, and `step(tokens, state)` -> {logits: a row for each token, attention, state};
// `pick(state, rows)` goes on with some of the rows.

export const PAD = 0, BOS = 2, EOS = 3;

const SLICE = 50;                                                     // milliseconds of work without a pause
let rested = 0;                                                       // when the last pause ended

// Stop if `signal` says so; before, let the browser do something else, if it couldn't for a while
export async function rest(signal) {
  if (performance.now() - rested > SLICE) {
    await pause();
    rested = performance.now();
  }
  signal?.throwIfAborted();
}

// Until other tasks had their turn; a timer would wait for a second or more while the tab is hidden
function pause() {
  const {port1, port2} = new MessageChannel();
  return new Promise(done => {
    port1.onmessage = () => { port1.close(); done(); };
    port2.postMessage(null);
  });
}

// Log of the sum of exponentials
export function logSum(row) {
  let top = -Infinity, sum = 0;
  for (let i = 0; i < row.length; i++) if (row[i] > top) top = row[i];
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i] - top);
  return top + Math.log(sum);
}

// How long a translation of `n` source tokens, end mark included, may and must be
function limits(n, o) {
  const times = a => Math.trunc(Math.fround(n * Math.fround(a)));     // in single precision, as kotrans multiplies
  const longest = times(o.max_len_a) + o.max_len_b;
  return {longest, shortest: Math.min(times(o.min_len_a) + o.min_len_b, longest)};
}

// Set what may not be token `t` to minus infinity
function forbid(row, t, shortest) {
  row[PAD] = row[BOS] = -Infinity;
  if (t <= shortest) row[EOS] = -Infinity;
}

// Divisor of the log-probability of a translation of `n` tokens, end mark included
export function lengthPenalty(n, o) {
  return (o.length_norm === 'length' ? Math.max(n, 1) : (5 + n) / 6) ** o.length_penalty;
}

// Greedy search: the likeliest token, until the end mark or the limit
export async function greedy(model, ids, o) {
  const {longest, shortest} = limits(ids.length, o), tokens = [], attention = [];
  let state = await model.start(ids), token = BOS, logProb = 0;
  for (let t = 1; t <= longest + 1; t++) {
    await rest(o.signal);
    const step = await model.step([token], state), row = step.logits[0], sum = logSum(row);
    forbid(row, t, shortest);
    token = row.reduce((best, x, i) => x > row[best] ? i : best, 0);
    if (t > longest && token !== EOS) break;
    logProb += row[token] - sum;
    attention.push(step.attention[0]);
    if (token === EOS) return [{tokens, logProb, score: logProb, attention, finished: true}];
    tokens.push(token);
    state = step.state;
  }
  return [{tokens, logProb, score: logProb, attention, finished: false}];
}

// The `k` largest of `rows[i][j] + offsets[i]`, largest first, as {total, row, token}
export function best(rows, offsets, k) {
  const kept = [];
  rows.forEach((values, row) => {
    for (let token = 0; token < values.length; token++) {
      const total = values[token] + offsets[row];
      if (total === -Infinity || kept.length === k && total <= kept[k - 1].total) continue;
      let place = kept.length;
      while (place && kept[place - 1].total < total) place--;
      kept.splice(place, 0, {total, row, token});
      kept.length = Math.min(kept.length, k);
    }
  });
  return kept;
}

// Beam search: `o.beam_size` beginnings at a time; returns at most `o.n_best` translations, best first
export async function beam(model, ids, o) {
  const {longest, shortest} = limits(ids.length, o), k = o.beam_size, enough = enoughEnded(o), found = [];
  let state = await model.start(ids), alive = [{tokens: [], logProb: 0, attention: []}];
  for (let t = 1; alive.length; t++) {
    await rest(o.signal);
    const step = await model.step(alive.map(h => h.tokens.at(-1) ?? BOS), state);
    const sums = step.logits.map(logSum);
    step.logits.forEach(row => forbid(row, t, shortest));
    const top = best(step.logits, alive.map((h, i) => h.logProb - sums[i]), 2 * k);
    const grown = ({total, row, token}) => ({tokens: token === EOS ? alive[row].tokens : [...alive[row].tokens, token],
      logProb: total, attention: [...alive[row].attention, step.attention[row]]});
    const ends = top.slice(0, k).filter(c => c.token === EOS);
    for (const c of ends) keep(found, grown(c), t, true, o);
    if (t > longest) alive.forEach((h, row) => ends.some(c => c.row === row) || keep(found, h, t - 1, false, o));
    const going = top.filter(c => c.token !== EOS).slice(0, k);
    if (t > longest || !going.length || decided(found, going[0].total, longest, enough, o)) break;
    alive = going.map(grown);
    state = model.pick(step.state, going.map(c => c.row));
  }
  return found.slice(0, o.n_best);
}

// Put a translation of `n` tokens among those that were found: finished ones first, then by score
function keep(found, h, n, finished, o) {
  found.push({...h, finished, score: h.logProb / lengthPenalty(n, o)});
  found.sort((a, b) => b.finished - a.finished || b.score - a.score);
}

// How many translations have to end until the search is over, if it has patience
function enoughEnded(o) {
  return o.beam_patience ? Math.max(o.n_best, Math.floor(o.beam_patience * o.beam_size + .5)) : Infinity;
}

// Whether no beginning can get past what was found, or patience is over
function decided(found, bestAlive, longest, enough, o) {
  const worst = found[o.n_best - 1]?.score ?? -Infinity;
  return found.length >= enough || worst >= bestAlive / lengthPenalty(longest + 1, o);
}
