/** Writes GGUF files, version 3: a header with metadata and places, then the data of tensors in order. Format: ggml `docs/gguf.md`. */
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { GGUF_VALUE_TYPES, type GgufStrings, type GgufValue } from "../checkpoint/gguf-values.js";
import { ggmlTypeId } from "../checkpoint/storage-types.js";
import { fromSystemError, MoescopeError } from "../errors.js";
import type { DType } from "../native/binding.js";

const VERSION = 3;
/** Of the data of every tensor; the format's default. */
const ALIGNMENT = 32;

/** What the header says of a tensor. */
export interface GgufTensorInfo {
  name: string;
  dtype: DType;
  /** Slowest dimension first; the file lists the fastest first. */
  shape: readonly number[];
  bytes: number;
}

function padded(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** The header's bytes, up to where the data of the first tensor begins. */
export function ggufHeader(metadata: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensorInfo[]): Buffer {
  const parts = [Buffer.from("GGUF"), u32(VERSION), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) parts.push(text(Buffer.from(key)), ...typed(value));
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    parts.push(text(Buffer.from(name)), u32(shape.length), ...shape.toReversed().map(u64));
    parts.push(u32(ggmlTypeId(dtype)), u64(offset));
    offset += padded(bytes);
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat(parts, padded(length));
}

/** Size of the file in bytes. */
export function ggufFileBytes(header: Buffer, tensors: readonly GgufTensorInfo[]): number {
  return tensors.reduce((sum, { bytes }) => sum + padded(bytes), header.length);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** A string with its length before it. */
function text(bytes: Uint8Array): Buffer {
  return Buffer.concat([u64(bytes.length), bytes]);
}

function typed(value: GgufValue): Buffer[] {
  const typeId = (type: GgufValue["type"]) => u32(GGUF_VALUE_TYPES.indexOf(type));
  switch (value.type) {
    case "string":
      return [typeId("string"), text(value.value)];
    case "array": {
      const head = [typeId("array"), typeId(value.of), u64(value.value.length)];
      if (value.of === "string") return [...head, allStrings(value.value)];
      // Numbers lie in memory as in the file: both are little-endian.
      return [...head, Buffer.from(value.value.buffer, value.value.byteOffset, value.value.byteLength)];
    }
    default:
      return [typeId(value.type), scalar(value)];
  }
}

function scalar(value: Exclude<GgufValue, { type: "string" | "array" }>): Buffer {
  const bytes = Buffer.alloc(8);
  switch (value.type) {
    case "u8":
      return bytes.subarray(0, bytes.writeUInt8(value.value));
    case "i8":
      return bytes.subarray(0, bytes.writeInt8(value.value));
    case "u16":
      return bytes.subarray(0, bytes.writeUInt16LE(value.value));
    case "i16":
      return bytes.subarray(0, bytes.writeInt16LE(value.value));
    case "u32":
      return bytes.subarray(0, bytes.writeUInt32LE(value.value));
    case "i32":
      return bytes.subarray(0, bytes.writeInt32LE(value.value));
    case "f32":
      return bytes.subarray(0, bytes.writeFloatLE(value.value));
    case "f64":
      return bytes.subarray(0, bytes.writeDoubleLE(value.value));
    case "bool":
      return bytes.subarray(0, bytes.writeUInt8(value.value ? 1 : 0));
    case "u64":
      return bytes.subarray(0, bytes.writeBigUInt64LE(value.value));
    case "i64":
      return bytes.subarray(0, bytes.writeBigInt64LE(value.value));
  }
}

function allStrings(strings: GgufStrings): Buffer {
  const parts: Uint8Array[] = [];
  for (let index = 0; index < strings.length; index++) {
    const bytes = strings.at(index);
    parts.push(u64(bytes.length), bytes);
  }
  return Buffer.concat(parts);
}

/**
 * A GGUF file that appears under its name whole or not at all: until `finish` it is `{path}.partial`. Data is written in the
 * order of the header's tensors.
 */
export class GgufWriter {
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Starts a file with its header. Throws NOT_FOUND, NO_PERMISSION or DISK_FULL. */
  static async create(path: string, header: Buffer): Promise<GgufWriter> {
    const file = await open(partial(path), "w").catch((error) => {
      throw writeError(error, path);
    });
    const writer = new GgufWriter(path, file);
    await writer.write(header);
    return writer;
  }

  /** Appends bytes of the current tensor. */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        done += (await this.#file.write(bytes, done, bytes.length - done)).bytesWritten;
      }
    } catch (error) {
      throw writeError(error, this.#path);
    }
  }

  /** Ends a tensor of `bytes` bytes: the next begins at a multiple of the alignment. */
  async endTensor(bytes: number): Promise<void> {
    await this.write(new Uint8Array(padded(bytes) - bytes));
  }

  /** Gives the file its name, once its bytes are on the disk. */
  async finish(): Promise<void> {
    try {
      await this.#file.datasync();
      await this.#file.close();
      await rename(partial(this.#path), this.#path);
    } catch (error) {
      throw writeError(error, this.#path);
    }
  }

  /** Takes back what was written. */
  async discard(): Promise<void> {
    await this.#file.close().catch(() => {});
    await rm(partial(this.#path), { force: true });
  }
}

function partial(path: string): string {
  return `${path}.partial`;
}

function writeError(error: unknown, path: string): unknown {
  const known = fromSystemError(error, `write ${path}`);
  if (known instanceof MoescopeError || !(error instanceof Error)) return known;
  return new MoescopeError("INVALID_ARGUMENT", `Could not write ${path}: ${error.message}.`, { cause: error });
}
