/** Writes safetensors files: a header of names, types and offsets, then the bytes. Format: huggingface/safetensors, README. */
import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { fromSystemError } from "../errors.js";

/** A tensor: float32 values, or bytes that are brought when they are written, a piece at a time. */
export type TensorToWrite = {
  name: string;
  /** Slowest dimension first. */
  shape: readonly number[];
} & ({ values: Float32Array } | { dtype: string; sizeBytes: number; bytes: () => Iterable<Uint8Array> });

/** Writes tensors so that the file appears whole or not at all. Throws DISK_FULL, NO_PERMISSION, NOT_FOUND. */
export function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): void {
  let end = 0;
  const entries = tensors.map((tensor) => {
    const begin = end;
    end += "values" in tensor ? tensor.values.byteLength : tensor.sizeBytes;
    const dtype = "values" in tensor ? "F32" : tensor.dtype;
    return [tensor.name, { dtype, shape: tensor.shape, data_offsets: [begin, end] }];
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
      for (const tensor of tensors) for (const piece of piecesOf(tensor)) writeAll(file, piece);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw fromSystemError(error, `write ${path}`);
  }
}

function piecesOf(tensor: TensorToWrite): Iterable<Uint8Array> {
  if (!("values" in tensor)) return tensor.bytes();
  const { buffer, byteOffset, byteLength } = tensor.values;
  return [new Uint8Array(buffer, byteOffset, byteLength)];
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}
