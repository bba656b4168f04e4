import { JinjaError, Undefined, type Value } from "./values.js";

/** Turns of loops and calls of macros in one rendering: far above any chat, and less than a second's work. */
const MAX_STEPS = 1_000_000;

/** Names and their values; what is set in an inner scope is not seen outside it. */
export class Scope {
  private readonly names: Map<string, Value>;
  private readonly outer: Scope | null;
  /** Shared by all scopes of a rendering. */
  private readonly work: { steps: number };

  constructor(outer: Scope | null, names: Map<string, Value> = new Map()) {
    this.outer = outer;
    this.names = names;
    this.work = outer?.work ?? { steps: 0 };
  }

  get(name: string): Value {
    for (let scope: Scope | null = this; scope !== null; scope = scope.outer) {
      const value = scope.names.get(name);
      if (value !== undefined) return value;
    }
    return new Undefined(`'${name}' is undefined`);
  }

  /** Counts a turn of a loop or a call of a macro: a template that comes with a hostile file must not run for ever. */
  countStep(): void {
    if (++this.work.steps > MAX_STEPS) {
      throw new JinjaError("SecurityError", `the template takes more than ${MAX_STEPS} steps`);
    }
  }

  set(name: string, value: Value): void {
    this.names.set(name, value);
  }
}
