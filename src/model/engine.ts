/**
 * One native session, used in turns. Calls on a model may overlap; the engine lets one step run at a time, first come first
 * served, and turns native errors and AbortSignals into ours.
 */
import { withAmbientSignal } from "../ambient-signal.js";
import { AbortError, type ErrorCode, MoescopeError } from "../errors.js";
import { loadAddon } from "../native/addon.js";
import type {
  NativeModel,
  NativeProfile,
  NativeSession,
  RouteRule,
  StepRequest,
  StepResult,
} from "../native/binding.js";
import { PrefixCache } from "./prefix-cache.js";

export interface StepOptions {
  signal?: AbortSignal;
  onProgress?: (rowsDone: number) => void;
}

export class Engine {
  readonly prefixes: PrefixCache = new PrefixCache(this);
  readonly #model: NativeModel;
  readonly #session: NativeSession;
  #turn: Promise<unknown> = Promise.resolve();
  #disposed = false;

  constructor(model: NativeModel, session: NativeSession) {
    this.#model = model;
    this.#session = session;
  }

  createSequence(rules: readonly RouteRule[]): Promise<number> {
    return this.#exclusive((session) => session.createSequence([...rules]));
  }

  /** A new sequence with the first `length` positions of another; their keys and values are shared, not copied. */
  forkSequence(sequence: number, length: number, rules: readonly RouteRule[]): Promise<number> {
    return this.#exclusive((session) => session.forkSequence(sequence, length, [...rules]));
  }

  /** Lets go of sequences; safe after disposal. */
  async releaseSequences(sequences: Iterable<number>): Promise<void> {
    const doomed = [...sequences];
    if (this.#disposed || doomed.length === 0) return;
    await this.#exclusive((session) => {
      for (const sequence of doomed) session.releaseSequence(sequence);
    });
  }

  /** Runs one step, under the caller's signal and the ambient one. On an error or an abort every sequence is as it was before. */
  step(request: StepRequest, { signal: own, onProgress }: StepOptions = {}): Promise<StepResult> {
    const signal = withAmbientSignal(own);
    return this.#exclusive(async (session) => {
      throwIfAborted(signal);
      if (signal === undefined && onProgress === undefined) return session.step(request, null, null);
      const flag = new (loadAddon().CancelFlag)();
      const cancel = () => flag.set();
      // A callback that throws cancels its step and fails its call; out of the native callback it would end the process.
      let fault: { error: unknown } | undefined;
      const report = (rowsDone: number) => {
        try {
          if (fault === undefined) onProgress?.(rowsDone);
        } catch (error) {
          fault = { error };
          cancel();
        }
      };
      signal?.addEventListener("abort", cancel, { once: true });
      try {
        const result = await session.step(request, flag, onProgress === undefined ? null : report);
        if (fault === undefined) return result;
      } catch (error) {
        if (fault === undefined) throw error;
      } finally {
        signal?.removeEventListener("abort", cancel);
      }
      throw (fault as { error: unknown }).error;
    });
  }

  /** Assignments computed since the model was loaded. [numMoeLayers, numExperts] */
  expertCounts(): Promise<Float64Array> {
    return this.#exclusive((session) => session.expertCounts());
  }

  /** Times the ops of all steps until `stopProfile`. */
  startProfile(): Promise<void> {
    return this.#exclusive(() => this.#model.startProfile());
  }

  stopProfile(): Promise<NativeProfile> {
    return this.#exclusive(() => this.#model.stopProfile());
  }

  kvCacheBytes(): Promise<number> {
    return this.#exclusive((session) => session.kvCacheBytes());
  }

  /** Frees the cache and unmaps the weights once the step that runs, if any, is done. Twice is once. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#turn.catch(() => {});
    this.#session.dispose();
    this.#model.dispose();
  }

  async #exclusive<T>(work: (session: NativeSession) => T | Promise<T>): Promise<T> {
    if (this.#disposed) throw new MoescopeError("DISPOSED", "The model was disposed.");
    const turn = this.#turn.then(async () => {
      try {
        return await work(this.#session);
      } catch (error) {
        throw fromNativeError(error);
      }
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortError("The operation was cancelled.", { cause: signal.reason });
}

/** A native error as ours; its `code` is one of `ErrorCode` by construction (native/core/error.h). */
export function fromNativeError(error: unknown): unknown {
  if (error instanceof MoescopeError || !(error instanceof Error)) return error;
  const code = (error as { code?: ErrorCode }).code;
  if (code === undefined) return error;
  if (code === "ABORTED") return new AbortError(error.message, { cause: error });
  return new MoescopeError(code, error.message, { cause: error });
}
