/** Writes safetensors files: a header of names, types and offsets, then the bytes. Format: huggingface/safetensors, README. */
import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { fromSystemError } from "../errors.js";

export interface TensorToWrite {
  name: string;
  /** Slowest dimension first. */
  shape: readonly number[];
  values: Float32Array;
}

/** Writes float32 tensors so that the file appears whole or not at all. Throws DISK_FULL, NO_PERMISSION, NOT_FOUND. */
export function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): void {
  let end = 0;
  const entries = tensors.map(({ name, shape, values }) => {
    const begin = end;
    end += values.byteLength;
    return [name, { dtype: "F32", shape, data_offsets: [begin, end] }];
  });
  const text = JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) });
  // The header is padded with spaces so that the values are aligned.
  const header = Buffer.from(text.padEnd(text.length + ((8 - (Buffer.byteLength(text) % 8)) % 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const temporary = `${path}.partial`;
  try {
    const file = openSync(temporary, "w");
    try {
      writeAll(file, length);
      writeAll(file, header);
      for (const { values } of tensors) writeAll(file, bytesOf(values));
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw fromSystemError(error, `write ${path}`);
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
