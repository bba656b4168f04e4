import { Undefined, type Value } from "./values.js";

/** Names and their values; what is set in an inner scope is not seen outside it. */
export class Scope {
  private readonly names: Map<string, Value>;
  private readonly outer: Scope | null;

  constructor(outer: Scope | null, names: Map<string, Value> = new Map()) {
    this.outer = outer;
    this.names = names;
  }

  get(name: string): Value {
    for (let scope: Scope | null = this; scope !== null; scope = scope.outer) {
      const value = scope.names.get(name);
      if (value !== undefined) return value;
    }
    return new Undefined(`'${name}' is undefined`);
  }

  set(name: string, value: Value): void {
    this.names.set(name, value);
  }
}
