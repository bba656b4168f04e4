/**
 * The AbortSignal of whatever runs the current code: a notebook's kernel runs each cell under one, and every long call below obeys it
 * without being handed anything. It follows promises and timers, so two cells never see each other's.
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** Registered, so that a second copy of this package in the process (another folder, or reloaded modules) finds the same ones. */
const STORE = Symbol.for("moescope.ambient-signal");
const SOURCE = Symbol.for("moescope.ambient-signal-source");

interface Registry {
  [STORE]?: AsyncLocalStorage<AbortSignal>;
  [SOURCE]?: () => AbortSignal | undefined;
}

/** Runs `work`, and all that it starts, under `signal`. */
export function runWithSignal<T>(signal: AbortSignal, work: () => T): T {
  const registry = globalThis as Registry;
  registry[STORE] ??= new AsyncLocalStorage<AbortSignal>();
  return registry[STORE].run(signal, work);
}

/** The signal that the current code runs under; undefined outside `runWithSignal` and outside a cell. */
export function ambientSignal(): AbortSignal | undefined {
  const registry = globalThis as Registry;
  return registry[STORE]?.getStore() ?? registry[SOURCE]?.();
}

/** Lets a program that follows its work by other means than `runWithSignal` say what signal the current code runs under. */
export function setAmbientSource(source: () => AbortSignal | undefined): void {
  (globalThis as Registry)[SOURCE] = source;
}

/** A caller's own signal together with the ambient one: it fires when either does. Undefined where there is neither. */
export function withAmbientSignal(own: AbortSignal | undefined): AbortSignal | undefined {
  const ambient = ambientSignal();
  if (own === undefined || ambient === undefined || own === ambient) return own ?? ambient;
  return AbortSignal.any([own, ambient]);
}
