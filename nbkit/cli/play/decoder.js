// Runs one checkpoint of a profile inside a page: tokenizer, model, decoding, and the worker around them.
// Nothing is loaded from elsewhere. page.py packs what this file reads; page.js starts it as a worker.
//
//   const tokenizer = new Tokenizer(spec), model = new Model(shape, tensors, bytes);
//   const ids = tokenizer.prompt({before: "Question: ", after: "\nSolution:", guarded: false}, "2 + 2?");
//   for (const id of generate(model, ids, {most: 96, temperature: 0, topP: 1, seed: 0, stops: [1, 3]})) ...
"use strict";

// Byte-level BPE writes each byte as one visible character: printable Latin-1 as itself, the others from
// U+0100 on.
const BYTE_TO_CHAR = [], CHAR_TO_BYTE = new Map();
for (let byte = 0, next = 256; byte < 256; byte++) {
  const visible = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  BYTE_TO_CHAR[byte] = String.fromCharCode(visible ? byte : next++);
  CHAR_TO_BYTE.set(BYTE_TO_CHAR[byte], byte);
}

// White space as Unicode defines it: JavaScript's \s lacks U+0085 and has U+FEFF.
const SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
// GPT-2's pattern, which the ByteLevel step of `tokenizers` applies.
const WORDS = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`,
  "gu",
);
const DIGIT = /(\p{N})/u; // every digit is a piece of its own, before the pattern above
const HALF_CHARACTER = /[\ud800-\udfff]/gu; // with the flag u only those without their other half

/** The tokenizer of a run, from `{vocab: [token by id], merges: [[left, right], ...], added: [token, ...]}`. */
class Tokenizer {
  constructor(spec) {
    this.tokens = spec.vocab;
    this.ids = new Map(spec.vocab.map((token, id) => [token, id]));
    this.ranks = new Map(spec.merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
    // Longest first: where one added token begins another, the whole of it counts.
    const longest = [...spec.added].sort((a, b) => b.length - a.length);
    const escaped = longest.map((token) => token.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.added = escaped.length ? escaped.join("|") : "(?!)";
  }

  /** Ids of a text; an added token that stands in it, such as <think>, is that token. */
  encode(text) {
    const ids = [];
    const parts = text.replace(HALF_CHARACTER, "\ufffd").split(new RegExp(`(${this.added})`));
    parts.forEach((part, i) => {
      if (i % 2) ids.push(this.ids.get(part)); // split() puts what matched at the odd places
      else for (const piece of part.split(DIGIT)) {
        for (const [word] of piece.matchAll(WORDS)) this.merge(word, ids);
      }
    });
    return ids;
  }

  /** Append the ids of one word: its bytes, the pair of the lowest rank merged until none is left. */
  merge(word, ids) {
    const symbols = Array.from(new TextEncoder().encode(word), (byte) => BYTE_TO_CHAR[byte]);
    for (;;) {
      let best = Infinity, at = -1;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const rank = this.ranks.get(`${symbols[i]} ${symbols[i + 1]}`);
        if (rank < best) [best, at] = [rank, i];
      }
      if (at < 0) break;
      symbols.splice(at, 2, symbols[at] + symbols[at + 1]);
    }
    for (const symbol of symbols) ids.push(this.ids.get(symbol));
  }

  /** Text of ids; bytes that are no whole character read U+FFFD. */
  decode(ids) {
    const bytes = [];
    for (const id of ids) {
      const chars = Array.from(this.tokens[id]);
      // An added token may hold characters that stand for no byte: then it is its own text.
      const plain = chars.every((char) => CHAR_TO_BYTE.has(char));
      const own = plain ? chars.map((c) => CHAR_TO_BYTE.get(c)) : new TextEncoder().encode(this.tokens[id]);
      bytes.push(...own);
    }
    return new TextDecoder("utf-8", {ignoreBOM: true}).decode(new Uint8Array(bytes));
  }

  /** Ids of a question in its form. In a `guarded` one the question cannot spell an added token: such a
   * spelling is cut behind its first character, and the text is encoded piece by piece (chat_ids.py). */
  prompt({before, after, guarded}, question) {
    const text = before + question + after, cuts = [];
    if (guarded) {
      for (const found of question.matchAll(new RegExp(this.added, "g"))) {
        cuts.push(before.length + found.index + Array.from(found[0])[0].length);
      }
    }
    const ends = [...cuts, text.length];
    return ends.flatMap((end, i) => this.encode(text.slice(i ? ends[i - 1] : 0, end)));
  }
}

/** Half-precision numbers (little endian) as float32. */
function unpack(bytes) {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const value = new Float32Array(65536); // every half-precision number, once
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    value[bits] = bits & 32768 ? -size : size;
  }
  return Float32Array.from(halves, (bits) => value[bits]);
}

/** out = W x for W of shape (out.length, x.length), stored row by row. */
function multiply(W, x, out) {
  const n = x.length, even = n - (n % 4);
  for (let row = 0, at = 0; row < out.length; row++, at += n) {
    let a = 0, b = 0, c = 0, d = 0; // four sums, so that one addition need not wait for the one before
    for (let i = 0; i < even; i += 4) {
      a += W[at + i] * x[i];
      b += W[at + i + 1] * x[i + 1];
      c += W[at + i + 2] * x[i + 2];
      d += W[at + i + 3] * x[i + 3];
    }
    for (let i = even; i < n; i++) a += W[at + i] * x[i];
    out[row] = a + b + c + d;
  }
  return out;
}

/** A Llama: RMSNorm, rotary positions, grouped-query attention, SwiGLU. `tensors` are [name, count] in the
 * order of `bytes`, with the names of transformers. */
class Model {
  constructor(shape, tensors, bytes) {
    this.shape = shape;
    this.weights = new Map();
    const floats = unpack(bytes);
    let at = 0;
    for (const [name, count] of tensors) this.weights.set(name, floats.subarray(at, (at += count)));
    const {hidden, heads, kvHeads, width, mlp, vocab, theta} = shape;
    this.turns = Float32Array.from({length: width / 2}, (_, i) => 1 / theta ** ((2 * i) / width));
    const room = (length) => new Float32Array(length);
    Object.assign(this, {x: room(hidden), normed: room(hidden), change: room(hidden)});
    Object.assign(this, {query: room(heads * width), mixed: room(heads * width)});
    Object.assign(this, {gate: room(mlp), up: room(mlp), logits: room(vocab)});
    this.kvWidth = kvHeads * width;
  }

  /** Forget what was read, and make room for `capacity` tokens. */
  reset(capacity) {
    const room = () => new Float32Array(capacity * this.kvWidth);
    this.cache = Array.from({length: this.shape.layers}, () => ({keys: room(), values: room()}));
    this.scores = new Float32Array(capacity);
    this.length = 0;
  }

  norm(scale) {
    let squares = 0;
    for (const value of this.x) squares += value * value;
    const factor = 1 / Math.sqrt(squares / this.x.length + this.shape.eps);
    for (let i = 0; i < this.x.length; i++) this.normed[i] = this.x[i] * factor * scale[i];
  }

  /** Turn each head of a query or a key by its position: the first half of its width against the second. */
  rotate(vector, position) {
    const half = this.turns.length;
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(this.turns[i] * position), cos = Math.cos(angle), sin = Math.sin(angle);
      for (let at = i; at < vector.length; at += 2 * half) {
        const first = vector[at], second = vector[at + half];
        vector[at] = first * cos - second * sin;
        vector[at + half] = second * cos + first * sin;
      }
    }
  }

  /** What each head reads from the tokens so far, into `mixed`; several heads share a key head. */
  attend({keys, values}) {
    const {heads, kvHeads, width} = this.shape, {query, mixed, scores, kvWidth} = this;
    const tokens = this.length + 1;
    mixed.fill(0);
    for (let head = 0; head < heads; head++) {
      const own = head * width, shared = Math.floor((head * kvHeads) / heads) * width;
      let highest = -Infinity, sum = 0;
      for (let t = 0; t < tokens; t++) {
        let score = 0;
        for (let i = 0; i < width; i++) score += query[own + i] * keys[t * kvWidth + shared + i];
        scores[t] = score / Math.sqrt(width);
        if (scores[t] > highest) highest = scores[t];
      }
      for (let t = 0; t < tokens; t++) sum += scores[t] = Math.exp(scores[t] - highest);
      for (let t = 0; t < tokens; t++) {
        const share = scores[t] / sum;
        for (let i = 0; i < width; i++) mixed[own + i] += share * values[t * kvWidth + shared + i];
      }
    }
  }

  add() {
    for (let i = 0; i < this.x.length; i++) this.x[i] += this.change[i];
  }

  /** Read the next token; returns the logits of the one after it, unless nobody asks for them. */
  step(id, wanted = true) {
    const {hidden, layers, tied} = this.shape, get = (name) => this.weights.get(name);
    const embedding = get("model.embed_tokens.weight"), position = this.length;
    this.x.set(embedding.subarray(id * hidden, (id + 1) * hidden));
    for (let layer = 0; layer < layers; layer++) {
      const of = (name) => get(`model.layers.${layer}.${name}.weight`), cache = this.cache[layer];
      // Attention: the new key and value go straight into their place in the cache.
      const [key, value] = [cache.keys, cache.values].map((all) =>
        all.subarray(position * this.kvWidth, (position + 1) * this.kvWidth));
      this.norm(of("input_layernorm"));
      multiply(of("self_attn.q_proj"), this.normed, this.query);
      multiply(of("self_attn.k_proj"), this.normed, key);
      multiply(of("self_attn.v_proj"), this.normed, value);
      this.rotate(this.query, position);
      this.rotate(key, position);
      this.attend(cache);
      multiply(of("self_attn.o_proj"), this.mixed, this.change);
      this.add();
      // SwiGLU: down(silu(gate) * up).
      this.norm(of("post_attention_layernorm"));
      const gate = multiply(of("mlp.gate_proj"), this.normed, this.gate);
      const up = multiply(of("mlp.up_proj"), this.normed, this.up);
      for (let i = 0; i < gate.length; i++) up[i] *= gate[i] / (1 + Math.exp(-gate[i]));
      multiply(of("mlp.down_proj"), up, this.change);
      this.add();
    }
    this.length++;
    if (!wanted) return null;
    this.norm(get("model.norm.weight"));
    return multiply(tied ? embedding : get("lm_head.weight"), this.normed, this.logits);
  }
}

/** The next token: the likeliest at temperature 0, else drawn inside the smallest set of probability `topP`
 * by one uniform number of [0, 1), as decoding.py does. */
function choose(logits, temperature, topP, draw) {
  let likeliest = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[likeliest]) likeliest = i;
  if (temperature === 0) return likeliest;
  const kept = Float64Array.from(logits, (logit) => Math.exp((logit - logits[likeliest]) / temperature));
  if (topP < 1) {
    // A token is kept if the probability before it is below topP, so the one that crosses it is in.
    const total = kept.reduce((sum, value) => sum + value);
    const order = Array.from(kept.keys()).sort((a, b) => kept[b] - kept[a]);
    let before = 0;
    for (const id of order) {
      const probability = kept[id] / total;
      if (before >= topP) kept[id] = 0;
      before += probability;
    }
  }
  const goal = draw * kept.reduce((sum, value) => sum + value);
  let sum = 0;
  for (let id = 0; id < kept.length; id++) if ((sum += kept[id]) > goal) return id;
  return likeliest; // rounding only: the draw is below 1
}

/** Uniform numbers of [0, 1) from a seed (mulberry32). */
function randoms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Yield null for every token of the prompt that was read, then each new id, up to and with one of `stops`;
 * at most `most`, and no more than the context holds. */
function* generate(model, prompt, {most, temperature, topP, seed, stops}) {
  const budget = Math.min(most, model.shape.context - prompt.length), random = randoms(seed);
  if (budget < 1 || !prompt.length) return;
  model.reset(prompt.length + budget);
  let logits;
  for (let i = 0; i < prompt.length; i++) {
    logits = model.step(prompt[i], i === prompt.length - 1);
    yield null;
  }
  for (let count = 1; ; count++) {
    const id = choose(logits, temperature, topP, temperature ? random() : 0);
    yield id;
    if (stops.includes(id) || count === budget) return;
    logits = model.step(id);
  }
}

/** The text that counts: up to the first of `ends`, where a base model goes on to another question. */
function upTo(text, ends) {
  return ends.reduce((left, end) => left.split(end)[0], text);
}

if (typeof module !== "undefined") module.exports = {Tokenizer, Model, generate, choose, upTo, randoms};
