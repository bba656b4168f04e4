/** Changes of an input, in the manner of AFL's havoc stage: a few small ones at once, at random places. */

/** mulberry32: 32 bits of state, so that a run is repeated by its seed. Returns integers in [0, bound). */
export function randomIntegers(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** Numbers where readers go wrong: 0, 1, the ends of types, what overflows when multiplied. */
const EXTREMES = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0x7fffn,
  0xffffn,
  0x7fffffffn,
  0xffffffffn,
  1n << 53n,
  1n << 62n,
  (1n << 64n) - 1n,
];

/** Each takes (bytes, pick, other, words) and returns changed bytes; `other` is another input of the corpus. */
const CHANGES = [
  function flipBit(bytes, pick) {
    if (bytes.length > 0) bytes[pick(bytes.length)] ^= 1 << pick(8);
    return bytes;
  },
  function setByte(bytes, pick) {
    if (bytes.length > 0) bytes[pick(bytes.length)] = pick(256);
    return bytes;
  },
  function setNumber(bytes, pick) {
    const width = 2 ** pick(4);
    if (bytes.length < width) return bytes;
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(EXTREMES[pick(EXTREMES.length)]);
    value.copy(bytes, pick(bytes.length - width + 1), 0, width);
    return bytes;
  },
  function insertWord(bytes, pick, _other, words) {
    const at = pick(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), Buffer.from(words[pick(words.length)]), bytes.subarray(at)]);
  },
  function overwriteWithWord(bytes, pick, _other, words) {
    const word = Buffer.from(words[pick(words.length)]);
    word.copy(bytes, pick(bytes.length + 1));
    return bytes;
  },
  function remove(bytes, pick) {
    const at = pick(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + pick(1 + Math.min(64, bytes.length - at)))]);
  },
  function cutShort(bytes, pick) {
    return pick(4) === 0 ? bytes.subarray(0, pick(bytes.length + 1)) : bytes;
  },
  function repeat(bytes, pick) {
    const at = pick(bytes.length + 1);
    const part = bytes.subarray(at, at + 1 + pick(32));
    return Buffer.concat([
      bytes.subarray(0, at),
      ...Array.from({ length: 1 + pick(4) }, () => part),
      bytes.subarray(at),
    ]);
  },
  function splice(bytes, pick, other) {
    const from = pick(other.length + 1);
    const part = other.subarray(from, from + 1 + pick(128));
    const at = pick(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at + pick(part.length + 1))]);
  },
];

/** A changed copy of `input`, of at most `maxBytes`. */
export function mutate(input, { pick, other, words, maxBytes }) {
  let bytes = Buffer.from(input);
  for (let count = 2 ** pick(4); count > 0; count--) {
    bytes = CHANGES[pick(CHANGES.length)](bytes, pick, other, words);
  }
  return bytes.subarray(0, maxBytes);
}
