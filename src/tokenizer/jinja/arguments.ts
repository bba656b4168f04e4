import { JinjaError, typeName, type Value } from "./values.js";

/** The arguments of a filter or function call, read by position or by name, as Python binds them. */
export class Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;

  constructor(positional: readonly Value[], named: ReadonlyMap<string, Value> = new Map()) {
    this.positional = positional;
    this.named = named;
  }

  get(index: number, name: string, fallback: Value): Value {
    if (index < this.positional.length) return this.positional[index]!;
    return this.named.has(name) ? this.named.get(name)! : fallback;
  }

  /** An int; None and a missing argument give the fallback. */
  integer(index: number, name: string, fallback: number): number {
    const value = this.get(index, name, fallback);
    if (value === null) return fallback;
    if (typeof value === "number" || typeof value === "boolean") return Number(value);
    throw new JinjaError("TypeError", `${name} must be an int, not ${typeName(value)}`);
  }

  /** The arguments after the first `count` positional ones. */
  after(count: number): Arguments {
    return new Arguments(this.positional.slice(count), this.named);
  }
}
