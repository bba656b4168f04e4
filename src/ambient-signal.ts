/**
 * The AbortSignal of whatever runs the current code: a notebook's kernel runs each cell under one, and every long call below obeys it
 * without being handed anything. It follows promises and timers, so two cells never see each other's.
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** Registered, so that a second copy of this package in the process (another folder, or reloaded modules) finds the same one. */
const STORE = Symbol.for("moescope.ambient-signal");

function store(): AsyncLocalStorage<AbortSignal> {
  const registry = globalThis as { [STORE]?: AsyncLocalStorage<AbortSignal> };
  registry[STORE] ??= new AsyncLocalStorage<AbortSignal>();
  return registry[STORE];
}

/** Runs `work`, and all that it starts, under `signal`. */
export function runWithSignal<T>(signal: AbortSignal, work: () => T): T {
  return store().run(signal, work);
}

/** The signal that the current code runs under; undefined outside `runWithSignal`. */
export function ambientSignal(): AbortSignal | undefined {
  return store().getStore();
}

/** A caller's own signal together with the ambient one: it fires when either does. Undefined where there is neither. */
export function withAmbientSignal(own: AbortSignal | undefined): AbortSignal | undefined {
  const ambient = ambientSignal();
  if (own === undefined || ambient === undefined || own === ambient) return own ?? ambient;
  return AbortSignal.any([own, ambient]);
}
