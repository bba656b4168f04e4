import { describe } from "../errors.js";
import { badFile } from "./refuse.js";
import type { JsonObject, JsonValue } from "./strict-json.js";

/** Largest whole number that a size may be; far above any, and products of two stay exact. */
const MAX_SIZE = 2 ** 31 - 1;

/**
 * The fields of a config.json, read by name and type, and remembered, so that what nobody asked for can be found afterwards.
 * `null` counts as absent, as it does in transformers.
 */
export class ConfigFields {
  readonly where: string;
  readonly #object: JsonObject;
  readonly #read = new Set<string>();

  /** @param where names the object in messages. */
  constructor(object: JsonObject, where: string) {
    this.#object = object;
    this.where = where;
  }

  /** The value as it is; undefined where it is absent or null. */
  raw(name: string): JsonValue | undefined {
    this.#read.add(name);
    return this.#object[name] ?? undefined;
  }

  /** A whole number from `min` up. @throws CheckpointError */
  integer<T extends number | undefined>(name: string, fallback: T, min: number = 1): number | T {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > MAX_SIZE) {
      throw this.wrong(name, `a whole number from ${min} to ${MAX_SIZE}`, value);
    }
    return value;
  }

  /** @throws CheckpointError */
  number<T extends number | undefined>(name: string, fallback: T): number | T {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.wrong(name, "a number", value);
    return value;
  }

  /** @throws CheckpointError */
  boolean<T extends boolean | undefined>(name: string, fallback: T): boolean | T {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (typeof value !== "boolean") throw this.wrong(name, "true or false", value);
    return value;
  }

  /** @throws CheckpointError */
  text<T extends string | undefined>(name: string, fallback: T): string | T {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (typeof value !== "string") throw this.wrong(name, "text", value);
    return value;
  }

  /** A list of whole numbers. @throws CheckpointError */
  integers(name: string): number[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((item) => Number.isInteger(item))) {
      throw this.wrong(name, "a list of whole numbers", value);
    }
    return value as number[];
  }

  /** One token id or a list of them. @throws CheckpointError */
  tokenIds(name: string): number[] {
    const value = this.raw(name);
    if (typeof value === "number") return [value];
    return this.integers(name) ?? [];
  }

  /** @throws CheckpointError */
  object(name: string): ConfigFields | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw this.wrong(name, "an object", value);
    return new ConfigFields(value, `${name} of ${this.where}`);
  }

  /** Names of fields that nobody read and that state something: all but null, false and empty lists and objects. */
  unread(): string[] {
    return Object.keys(this.#object).filter((name) => !this.#read.has(name) && statesSomething(this.#object[name]!));
  }

  /** The value of a field, for messages. */
  show(name: string): string {
    return describe(this.#object[name]);
  }

  wrong(name: string, expected: string, value: unknown): Error {
    return badFile(`Expected ${expected} for ${name} in ${this.where}, found ${describe(value)}.`);
  }
}

function statesSomething(value: JsonValue): boolean {
  if (value === null || value === false) return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}
