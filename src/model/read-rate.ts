/** How fast a file's storage gives its bytes, past the page cache. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

const PIECE_BYTES = 4 * 2 ** 20;
const NUM_PIECES = 16;
/** Slow storage is measured on fewer pieces. */
const MAX_SECONDS = 1;

/** Not among the types that Node.js comes with. */
interface WithWebAssembly {
  WebAssembly: { Memory: new (sizes: { initial: number }) => { buffer: ArrayBuffer } };
}

/**
 * Bytes per second over pieces spread over the file; undefined where the system cannot read past its cache, or the file is small.
 * Memory of WebAssembly begins at a page, as direct reads want it.
 */
export function readRate(path: string): number | undefined {
  const { WebAssembly } = globalThis as unknown as WithWebAssembly;
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: PIECE_BYTES / 65_536 }).buffer);
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0));
    const { size } = fstatSync(descriptor);
    if (constants.O_DIRECT === undefined || size < NUM_PIECES * PIECE_BYTES) return undefined;
    const start = performance.now();
    let bytes = 0;
    for (let piece = 0; piece < NUM_PIECES; piece++) {
      const at = Math.floor((piece * (size - PIECE_BYTES)) / NUM_PIECES / PIECE_BYTES) * PIECE_BYTES;
      bytes += readSync(descriptor, memory, 0, PIECE_BYTES, at);
      if (performance.now() - start > 1000 * MAX_SECONDS) break;
    }
    return bytes / ((performance.now() - start) / 1000);
  } catch {
    return undefined; // a file system without direct reads
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
