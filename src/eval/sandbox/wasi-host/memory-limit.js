/** The memory section of a WebAssembly module, rewritten with a maximum: growing past it fails inside the module, as a malloc does. */

const MEMORY_SECTION = 5;
const HEADER_BYTES = 8;
const PAGE_BYTES = 65_536;

/**
 * @param {Uint8Array} bytes a module with one memory of its own.
 * @param {number} memoryBytes
 * @returns {Uint8Array}
 */
export function withMemoryLimit(bytes, memoryBytes) {
  let at = HEADER_BYTES;
  while (at < bytes.length) {
    const id = bytes[at];
    const size = readLeb(bytes, at + 1);
    const start = size.next;
    const end = start + size.value;
    if (id === MEMORY_SECTION) {
      const count = readLeb(bytes, start);
      const least = readLeb(bytes, count.next + 1);
      if (count.value !== 1) throw new Error(`Expected one memory in the module, got ${count.value}.`);
      const most = Math.floor(memoryBytes / PAGE_BYTES);
      if (most < least.value) throw new Error(`Expected at least ${least.value * PAGE_BYTES} bytes of memory.`);
      const content = [1, 1, ...leb(least.value), ...leb(most)];
      return Buffer.concat([
        bytes.subarray(0, at),
        Uint8Array.from([id, ...leb(content.length), ...content]),
        bytes.subarray(end),
      ]);
    }
    at = end;
  }
  throw new Error("Expected a memory in the module, it has none.");
}

/** @param {Uint8Array} bytes @param {number} at */
function readLeb(bytes, at) {
  let value = 0;
  let next = at;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[next++];
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return { value, next };
  }
}

/** @param {number} value */
function leb(value) {
  const bytes = [];
  let rest = value;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return bytes;
}
