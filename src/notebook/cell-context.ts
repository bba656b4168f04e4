/**
 * Which cell the running code belongs to, followed through promises and timers.
 *
 * Not AsyncLocalStorage: up to Node 22 it keeps a stack of ids that V8 leaves unbalanced when an interrupt ends a promise's continuation,
 * and Node then aborts the whole process ("Assertion failed: (env_->execution_async_id()) == (0)"). Promise hooks alone keep no such
 * stack, and timers run their callbacks as promises' continuations here.
 */
import { promiseHooks } from "node:v8";

const OWNER: unique symbol = Symbol("cell of a promise");

/** What a context needs to know of its values: whether their timers still count. */
export interface Stoppable {
  readonly isInterrupted: boolean;
}

type Callback = (...values: unknown[]) => unknown;

export class CellContext<Value extends Stoppable> {
  #current: Value | undefined;

  get(): Value | undefined {
    return this.#current;
  }

  /** Runs `work`, and the promises and timers that it starts, as `value`'s. */
  run<T>(value: Value, work: () => T): T {
    const before = this.#current;
    this.#current = value;
    try {
      return work();
    } finally {
      this.#current = before;
    }
  }

  /** Whose a promise is: that of the code which made it. */
  ownerOf(promise: object): Value | undefined {
    return (promise as { [OWNER]?: Value })[OWNER];
  }

  /** At the start of an event of the kernel itself: code that was ended by force has not left its own mark behind then. */
  reset(): void {
    this.#current = undefined;
  }

  /** Starts following promises and timers of this process. */
  install(): void {
    promiseHooks.createHook({
      init: (promise: object) => {
        if (this.#current !== undefined) (promise as { [OWNER]?: Value })[OWNER] = this.#current;
      },
      before: (promise: object) => {
        this.#current = this.ownerOf(promise);
      },
      after: () => this.reset(), // continuations do not nest
    });
    for (const name of ["setTimeout", "setInterval", "setImmediate"] as const) this.#replaceTimer(name);
    const plain = globalThis.queueMicrotask;
    globalThis.queueMicrotask = (callback) => {
      if (this.#current === undefined) plain(callback);
      else void Promise.resolve().then(callback);
    };
  }

  #replaceTimer(name: "setTimeout" | "setInterval" | "setImmediate"): void {
    const original = globalThis[name] as unknown as (callback: Callback, ...rest: unknown[]) => object;
    const replacement = (callback: Callback, ...rest: unknown[]): object => {
      const owner = this.#current;
      if (owner === undefined || typeof callback !== "function") return original(callback, ...rest);
      const timer: object = original(
        (...values) => {
          // Other timers run on: a library may wait for one on behalf of all cells, as the scheduler of a model does.
          if (owner.isInterrupted && name === "setInterval") clearInterval(timer as NodeJS.Timeout);
          else void this.run(owner, () => Promise.resolve().then(() => callback(...values)));
        },
        ...rest,
      );
      return timer;
    };
    Object.defineProperties(replacement, Object.getOwnPropertyDescriptors(original));
    Object.assign(globalThis, { [name]: replacement });
  }
}
