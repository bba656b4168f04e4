/** Values of GGUF metadata, made from plain ones. */
import { GgufStrings, type GgufValue } from "../checkpoint/gguf-values.js";

export function textValue(value: string): GgufValue {
  return { type: "string", value: new TextEncoder().encode(value) };
}

export function countValue(value: number): GgufValue {
  return { type: "u32", value };
}

export function floatValue(value: number): GgufValue {
  return { type: "f32", value };
}

export function flagValue(value: boolean): GgufValue {
  return { type: "bool", value };
}

export function textsValue(values: readonly string[]): GgufValue {
  const parts = values.map((value) => Buffer.from(value));
  const starts = new Uint32Array(parts.length + 1);
  for (const [index, part] of parts.entries()) starts[index + 1] = starts[index]! + part.length;
  return { type: "array", of: "string", value: new GgufStrings(Buffer.concat(parts), starts) };
}
