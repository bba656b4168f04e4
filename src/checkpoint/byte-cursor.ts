import type { FileSource } from "./file-source.js";
import { badFile } from "./refuse.js";

/** Bytes that are read ahead; most headers need only a few of these. */
const CHUNK_BYTES = 1 << 18;

/**
 * Reads little-endian values from the start of a file onwards, holding one chunk of it. Nothing is allocated for a length that
 * the rest of the file cannot hold.
 */
export class ByteCursor {
  readonly #source: FileSource;
  #chunk: Buffer = Buffer.alloc(0);
  /** Position of the chunk in the file, and of the next byte in the chunk. */
  #chunkStart = 0;
  #next = 0;

  constructor(source: FileSource) {
    this.#source = source;
  }

  /** Bytes from the start of the file to the next value. */
  get position(): number {
    return this.#chunkStart + this.#next;
  }

  get remaining(): number {
    return this.#source.sizeBytes - this.position;
  }

  u8(what: string): number {
    return this.#take(1, what).readUInt8();
  }

  u32(what: string): number {
    return this.#take(4, what).readUInt32LE();
  }

  u64(what: string): bigint {
    return this.#take(8, what).readBigUInt64LE();
  }

  /** A 64-bit count of things that take at least `minBytes` each; refused where the file cannot hold that many, or past `limit`. */
  count(what: string, minBytes: number, limit: number): number {
    const count = this.u64(what);
    if (count > BigInt(limit)) {
      throw badFile(`Expected at most ${limit} for ${what} in ${this.#source.path}, found ${count}.`);
    }
    if (Number(count) * minBytes > this.remaining) {
      throw badFile(
        `${this.#source.path} says ${count} for ${what}, more than the ${this.remaining} bytes that follow can hold: the file ` +
          "is cut short or corrupt.",
      );
    }
    return Number(count);
  }

  /** A copy of the next `length` bytes, which `count` has checked. */
  bytes(length: number, what: string): Uint8Array {
    return new Uint8Array(this.#take(length, what));
  }

  /** The next `length` bytes; valid until the next call. */
  #take(length: number, what: string): Buffer {
    if (length > this.remaining) {
      throw badFile(`${this.#source.path} ends inside ${what}: the file is cut short or corrupt.`);
    }
    if (this.#next + length > this.#chunk.length) {
      const start = this.position;
      const ahead = Math.min(Math.max(length, CHUNK_BYTES), this.#source.sizeBytes - start);
      this.#chunk = this.#source.read(start, ahead);
      this.#chunkStart = start;
      this.#next = 0;
    }
    const from = this.#next;
    this.#next += length;
    return this.#chunk.subarray(from, this.#next);
  }
}
