/**
 * Whether the current code is part of a callback at a hook point. The model's step waits for it, so a call on the same model from there
 * would wait for ever; it is refused instead.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { InvalidArgumentError } from "../errors.js";
import type { RouteRule } from "../native/binding.js";

/** Registered, so that a second copy of this package in the process finds the same one. */
const STORE = Symbol.for("moescope.callback-scope");

function store(): AsyncLocalStorage<object> {
  const registry = globalThis as { [STORE]?: AsyncLocalStorage<object> };
  registry[STORE] ??= new AsyncLocalStorage<object>();
  return registry[STORE];
}

/** The same rules, whose callbacks know that they run inside a step of `owner`. */
export function scopedCallbacks(rules: readonly RouteRule[], owner: object): RouteRule[] {
  return rules.map((rule) => {
    const { callback } = rule;
    if (callback === undefined) return rule;
    return { ...rule, callback: (values, where) => store().run(owner, () => callback(values, where)) };
  });
}

/** Throws INVALID_ARGUMENT inside a callback of `owner`. */
export function refuseInCallback(owner: object): void {
  if (store().getStore() !== owner) return;
  throw new InvalidArgumentError("Expected no call on a model from a callback that its own step waits for.");
}
