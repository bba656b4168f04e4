import { type GgufNumbers, GgufStrings, type GgufValue } from "./gguf-values.js";
import { badFile } from "./refuse.js";

/** The key-value pairs of a GGUF file, with getters that refuse a value of the wrong type by its key. */
export class GgufMetadata {
  /** The file, for messages. */
  readonly path: string;
  readonly #values: ReadonlyMap<string, GgufValue>;

  constructor(path: string, values: ReadonlyMap<string, GgufValue>) {
    this.path = path;
    this.#values = values;
  }

  /** In the order of the file. */
  keys(): string[] {
    return [...this.#values.keys()];
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** The value as it is in the file. */
  get(key: string): GgufValue | undefined {
    return this.#values.get(key);
  }

  /** A whole number of any integer type; undefined where the key is absent. @throws CheckpointError */
  integer(key: string): number | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    const isInteger = /^[ui](8|16|32|64)$/.test(found.type);
    const value = isInteger ? Number(found.value) : Number.NaN;
    if (!Number.isSafeInteger(value)) throw this.#wrong(key, "a whole number", found);
    return value;
  }

  /** A number of a floating-point type. @throws CheckpointError */
  float(key: string): number | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (found.type !== "f32" && found.type !== "f64") throw this.#wrong(key, "a floating-point number", found);
    return found.value;
  }

  /** @throws CheckpointError */
  boolean(key: string): boolean | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (found.type !== "bool") throw this.#wrong(key, "a bool", found);
    return found.value;
  }

  /** A string that is UTF-8. @throws CheckpointError */
  text(key: string): string | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (found.type !== "string") throw this.#wrong(key, "a string", found);
    return decodeUtf8(found.value, key, this.path);
  }

  /** An array of strings, as bytes. @throws CheckpointError */
  strings(key: string): GgufStrings | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (!(found.value instanceof GgufStrings)) throw this.#wrong(key, "an array of strings", found);
    return found.value;
  }

  /** An array of whole numbers, or of floats where `kind` says so. @throws CheckpointError */
  numbers(key: string, kind: "integers" | "floats"): GgufNumbers | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    const pattern = kind === "integers" ? /^[ui](8|16|32|64)$/ : /^f(32|64)$/;
    if (found.type !== "array" || found.of === "string" || !pattern.test(found.of)) {
      throw this.#wrong(key, `an array of ${kind === "integers" ? "whole" : "floating-point"} numbers`, found);
    }
    return found.value;
  }

  #wrong(key: string, expected: string, found: GgufValue): Error {
    const type = found.type === "array" ? `an array of ${found.of}` : found.type;
    return badFile(`Expected ${expected} for ${key} in ${this.path}, found ${type}.`);
  }
}

/** @param what names the string in the message. @throws CheckpointError */
export function decodeUtf8(bytes: Uint8Array, what: string, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw badFile(`Expected UTF-8 for ${what} in ${path}, found other bytes.`, error);
  }
}
