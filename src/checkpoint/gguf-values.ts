import type { ByteCursor } from "./byte-cursor.js";
import { badFile } from "./refuse.js";

/** Value types of GGUF metadata, by their ids in the file. */
export const GGUF_VALUE_TYPES = [
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
export type GgufValueType = (typeof GGUF_VALUE_TYPES)[number];

/** Strings of an array, back to back: a vocabulary has 150,000 of them, and they need not be UTF-8. */
export class GgufStrings {
  readonly #bytes: Uint8Array;
  /** Where string i begins; one more than there are strings. */
  readonly #starts: Uint32Array;

  constructor(bytes: Uint8Array, starts: Uint32Array) {
    this.#bytes = bytes;
    this.#starts = starts;
  }

  get length(): number {
    return this.#starts.length - 1;
  }

  /** The bytes of string `index`, a view; empty past the end. */
  at(index: number): Uint8Array {
    return this.#bytes.subarray(this.#starts[index] ?? 0, this.#starts[index + 1] ?? 0);
  }
}

export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** One value of the metadata. Strings are bytes. */
export type GgufValue =
  | { type: "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64"; value: number }
  | { type: "u64" | "i64"; value: bigint }
  | { type: "bool"; value: boolean }
  | { type: "string"; value: Uint8Array }
  | { type: "array"; of: "string"; value: GgufStrings }
  | { type: "array"; of: Exclude<GgufValueType, "string" | "array">; value: GgufNumbers };

const MAX_STRING_BYTES = 1 << 20;
/** Strings that may be longer: templates with tools, and the copy of a whole tokenizer.json. */
const LONG_STRINGS: ReadonlyArray<[RegExp, number]> = [
  [/^tokenizer\.chat_template/, 4 << 20],
  [/^tokenizer\.huggingface\.json$/, 64 << 20],
];
const MAX_ARRAY_LENGTH = 1 << 22;
/** Of all strings of an array together: 100 times the largest vocabulary. */
const MAX_STRINGS_BYTES = 1 << 28;
const STRING_LENGTH_BYTES = 8;

/** The next value, with its type before it. `key` is for messages and limits. @throws CheckpointError */
export function readValue(cursor: ByteCursor, key: string, path: string): GgufValue {
  const type = readType(cursor, key, path);
  if (type === "array") return readArray(cursor, key, path);
  if (type === "string") {
    const limit = LONG_STRINGS.find(([pattern]) => pattern.test(key))?.[1] ?? MAX_STRING_BYTES;
    return { type, value: readString(cursor, limit, `the value of ${key}`) };
  }
  const value = readNumbers(cursor, type, 1, key, path)[0]!;
  if (type === "bool") return { type, value: value === 1 };
  return { type, value } as GgufValue;
}

/** A string with its 64-bit length before it. */
export function readString(cursor: ByteCursor, limit: number, what: string): Uint8Array {
  return cursor.bytes(cursor.count(`the length of ${what}`, 1, limit), what);
}

function readType(cursor: ByteCursor, key: string, path: string): GgufValueType {
  const id = cursor.u32(`the type of ${key}`);
  const type = GGUF_VALUE_TYPES[id];
  if (type === undefined) throw badFile(`Expected a value type from 0 to 12 for ${key} in ${path}, found ${id}.`);
  return type;
}

function readArray(cursor: ByteCursor, key: string, path: string): GgufValue {
  const of = readType(cursor, key, path);
  if (of === "array") throw badFile(`${key} in ${path} is an array of arrays, which no GGUF file needs.`);
  const what = `the length of the array ${key}`;
  if (of === "string") {
    return {
      type: "array",
      of,
      value: readStrings(cursor, cursor.count(what, STRING_LENGTH_BYTES, MAX_ARRAY_LENGTH), key, path),
    };
  }
  const count = cursor.count(what, NUMBER_BYTES[of], MAX_ARRAY_LENGTH);
  return { type: "array", of, value: readNumbers(cursor, of, count, key, path) };
}

function readStrings(cursor: ByteCursor, count: number, key: string, path: string): GgufStrings {
  const starts = new Uint32Array(count + 1);
  let bytes = new Uint8Array(Math.min(cursor.remaining, count * STRING_LENGTH_BYTES));
  let used = 0;
  for (let index = 0; index < count; index++) {
    const text = readString(cursor, MAX_STRING_BYTES, `element ${index} of ${key}`);
    if (used + text.length > MAX_STRINGS_BYTES) {
      throw badFile(`The strings of ${key} in ${path} take more than ${MAX_STRINGS_BYTES} bytes.`);
    }
    if (used + text.length > bytes.length) {
      // No more than the rest of the file can still fill.
      const larger = new Uint8Array(Math.min(2 * (used + text.length), used + text.length + cursor.remaining));
      larger.set(bytes.subarray(0, used));
      bytes = larger;
    }
    bytes.set(text, used);
    used += text.length;
    starts[index + 1] = used;
  }
  return new GgufStrings(bytes.slice(0, used), starts);
}

type NumberType = Exclude<GgufValueType, "string" | "array">;

const NUMBER_BYTES: Readonly<Record<NumberType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
};

function readNumbers(cursor: ByteCursor, type: NumberType, count: number, key: string, path: string): GgufNumbers {
  // A fresh copy, so that it is aligned; the machine is little-endian, as the file is.
  const buffer = cursor.bytes(count * NUMBER_BYTES[type], `the value of ${key}`).buffer as ArrayBuffer;
  switch (type) {
    case "bool": {
      const flags = new Uint8Array(buffer);
      const bad = flags.find((flag) => flag > 1);
      if (bad !== undefined) throw badFile(`Expected 0 or 1 as bool ${key} in ${path}, found ${bad}.`);
      return flags;
    }
    case "u8":
      return new Uint8Array(buffer);
    case "i8":
      return new Int8Array(buffer);
    case "u16":
      return new Uint16Array(buffer);
    case "i16":
      return new Int16Array(buffer);
    case "u32":
      return new Uint32Array(buffer);
    case "i32":
      return new Int32Array(buffer);
    case "f32":
      return new Float32Array(buffer);
    case "u64":
      return new BigUint64Array(buffer);
    case "i64":
      return new BigInt64Array(buffer);
    case "f64":
      return new Float64Array(buffer);
  }
}
