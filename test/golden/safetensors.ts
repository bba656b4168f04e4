/** Reads whole safetensors files of expected values into memory: for tests, on files that we trust. */

import { readFileSync } from "node:fs";

export type TensorValues = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array;

/** A tensor of a golden file; `values` is row-major, F16 and BF16 widened to float32. */
export interface GoldenTensor<Values extends TensorValues = TensorValues> {
  dtype: "F32" | "F64" | "F16" | "BF16" | "I32" | "I64" | "U8";
  shape: number[];
  values: Values;
}

/** All tensors of a file by name. Throws on a dtype that no golden has. */
export function readSafetensors(file: string): Map<string, GoldenTensor> {
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes)) as Record<
    string,
    { dtype: GoldenTensor["dtype"]; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, GoldenTensor>();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    // A copy that starts at offset 0 of its own buffer: typed arrays want alignment, the file promises none.
    const slice = new Uint8Array(bytes.subarray(8 + headerBytes + offsets[0], 8 + headerBytes + offsets[1]));
    tensors.set(name, { dtype, shape, values: decode(dtype, slice, `${name} in ${file}`) });
  }
  return tensors;
}

/** The float32 values (F32, F16, BF16) of a tensor that must exist. */
export function floats(tensors: Map<string, GoldenTensor>, name: string): Float32Array {
  return valuesAs(tensors, name, Float32Array);
}

/** The int32 values of a tensor that must exist. */
export function ints(tensors: Map<string, GoldenTensor>, name: string): Int32Array {
  return valuesAs(tensors, name, Int32Array);
}

function valuesAs<T extends TensorValues>(
  tensors: Map<string, GoldenTensor>,
  name: string,
  type: abstract new (...parts: never[]) => T,
): T {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(`No tensor ${name} among ${[...tensors.keys()].join(", ")}.`);
  if (!(tensor.values instanceof type)) throw new Error(`Tensor ${name} is ${tensor.dtype}, expected ${type.name}.`);
  return tensor.values;
}

function decode(dtype: string, bytes: Uint8Array<ArrayBuffer>, where: string): TensorValues {
  const buffer = bytes.buffer;
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer);
    case "F64":
      return new Float64Array(buffer);
    case "I32":
      return new Int32Array(buffer);
    case "I64":
      return new BigInt64Array(buffer);
    case "U8":
      return bytes;
    case "BF16":
      return new Float32Array(Uint32Array.from(new Uint16Array(buffer), (half) => half << 16).buffer);
    case "F16":
      return Float32Array.from(new Uint16Array(buffer), float16ToNumber);
    default:
      throw new Error(`Cannot read dtype ${dtype} of ${where}.`);
  }
}

function float16ToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
