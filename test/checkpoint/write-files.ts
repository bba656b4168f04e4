/** Writes small safetensors and GGUF files, right or wrong in one place, without the code under test. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

/** A folder that is removed after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "moescope-checkpoint-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface SourceTensor {
  name: string;
  /** Slowest first, as in Hugging Face. */
  shape: number[];
}

const count = (shape: number[]): number => shape.reduce((product, size) => product * size, 1);

/** A safetensors file of zeros. `bytesPerElement` must fit `dtype`. */
export function safetensorsBytes(tensors: SourceTensor[], dtype: string = "F32", bytesPerElement: number = 4): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, shape }): [string, object] => {
    const begin = end;
    end += count(shape) * bytesPerElement;
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  return Buffer.concat([safetensorsHeader(JSON.stringify(Object.fromEntries(entries))), Buffer.alloc(end)]);
}

/** Any text with its length before it. */
export function safetensorsHeader(json: string): Buffer {
  const text = Buffer.from(json);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text]);
}

const VALUE_TYPES = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;
type Scalar = Exclude<(typeof VALUE_TYPES)[number], "array">;
export type GgufPair =
  | [key: string, type: Scalar, value: number | bigint | string | Uint8Array]
  | [key: string, type: `array ${Scalar}`, values: ReadonlyArray<number | bigint | string | Uint8Array>];

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function scalar(type: Scalar, value: number | bigint | string | Uint8Array): Buffer {
  if (type === "string") return text(value as string);
  const bytes = Buffer.alloc(Number(/\d+/.exec(type)?.[0] ?? 8) / 8);
  if (type === "f32") bytes.writeFloatLE(Number(value));
  else if (type === "f64") bytes.writeDoubleLE(Number(value));
  else writeInteger(bytes, BigInt(value as number));
  return bytes;
}

function writeInteger(bytes: Buffer, value: bigint): void {
  const whole = Buffer.alloc(8);
  whole.writeBigUInt64LE(BigInt.asUintN(64, value));
  whole.copy(bytes, 0, 0, bytes.length);
}

function pair([key, type, value]: GgufPair): Buffer {
  if (!type.startsWith("array ")) {
    return Buffer.concat([
      text(key),
      u32(VALUE_TYPES.indexOf(type as Scalar)),
      scalar(type as Scalar, value as number),
    ]);
  }
  const of = type.slice("array ".length) as Scalar;
  const values = value as ReadonlyArray<number>;
  const head = [text(key), u32(VALUE_TYPES.indexOf("array")), u32(VALUE_TYPES.indexOf(of)), u64(values.length)];
  return Buffer.concat([...head, ...values.map((item) => scalar(of, item))]);
}

export interface GgufTensorSource extends SourceTensor {
  /** ggml's id; default F32. */
  type?: number;
  /** Size of a block of `elements`; default F32. */
  block?: { elements: number; bytes: number };
}

/** Header and size of the whole file, so that large ones can be made sparse. */
export function ggufHeader(
  pairs: GgufPair[],
  tensors: GgufTensorSource[],
  version: number = 3,
): { header: Buffer; sizeBytes: number } {
  const alignment = Number(pairs.find(([key]) => key === "general.alignment")?.[2] ?? 32);
  const padded = (size: number): number => Math.ceil(size / alignment) * alignment;
  let offset = 0;
  const infos = tensors.map(({ name, shape, type = 0, block = { elements: 1, bytes: 4 } }) => {
    const dims = shape.toReversed();
    const info = [text(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)];
    offset += padded((count(shape) / block.elements) * block.bytes);
    return Buffer.concat(info);
  });
  const start = [Buffer.from("GGUF"), u32(version), u64(tensors.length), u64(pairs.length)];
  const body = Buffer.concat([...start, ...pairs.map(pair), ...infos]);
  const header = Buffer.concat([body, Buffer.alloc(padded(body.length) - body.length)]);
  return { header, sizeBytes: header.length + offset };
}

/** A GGUF file of zeros. */
export function ggufBytes(pairs: GgufPair[], tensors: GgufTensorSource[], version: number = 3): Buffer {
  const { header, sizeBytes } = ggufHeader(pairs, tensors, version);
  return Buffer.concat([header, Buffer.alloc(sizeBytes - header.length)]);
}

/** Writes files, given by name, into a new folder. */
export function writeFolder(folder: string, files: Record<string, string | Uint8Array | object>): string {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    const isPlain = typeof content !== "string" && !(content instanceof Uint8Array);
    writeFileSync(join(folder, name), isPlain ? JSON.stringify(content) : content);
  }
  return folder;
}
