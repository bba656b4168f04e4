/** A native model with its one session and the scheduler that everything on it goes through. */
import { withAmbientSignal } from "../ambient-signal.js";
import { MoescopeError } from "../errors.js";
import type { NativeModel, NativeProfile, NativeSession } from "../native/binding.js";
import { refuseInCallback } from "./callback-scope.js";
import type { Call } from "./scheduler/call.js";
import { Scheduler, type SchedulerOptions, type SchedulerUsage } from "./scheduler/scheduler.js";

/** Sequences and memory at one moment. */
export interface Usage extends SchedulerUsage {
  /** Of all pages of the key/value cache. */
  kvCacheBytes: number;
}

export class Engine {
  readonly scheduler: Scheduler;
  readonly #model: NativeModel;
  readonly #session: NativeSession;
  #disposal: Promise<void> | undefined;

  constructor(model: NativeModel, session: NativeSession, options: SchedulerOptions) {
    this.#model = model;
    this.#session = session;
    this.scheduler = new Scheduler(session, options);
  }

  /**
   * Runs one call: its sequences take turns with those of others, end when `signal` or the ambient one fires, and are closed when
   * `use` is done.
   */
  async run<T>(signal: AbortSignal | undefined, use: (call: Call) => Promise<T>): Promise<T> {
    refuseInCallback(this);
    const call = this.scheduler.begin(withAmbientSignal(signal));
    try {
      const refusal = call.refusal();
      if (refusal !== undefined) throw refusal;
      return await use(call);
    } finally {
      call.end();
    }
  }

  /** Another session on the same weights, for work whose sequences nobody else shares; the caller disposes it. */
  newSession(options: Parameters<NativeModel["createSession"]>[0]): NativeSession {
    refuseInCallback(this);
    if (this.#disposal !== undefined) throw new MoescopeError("DISPOSED", "The model was disposed.");
    return this.#model.createSession(options);
  }

  /** Assignments computed since the model was loaded. [numMoeLayers, numExperts] */
  expertCounts(): Promise<Float64Array> {
    return this.scheduler.whenIdle((session) => session.expertCounts());
  }

  /** Times the ops of all steps until `stopProfile`. */
  startProfile(): Promise<void> {
    return this.scheduler.whenIdle(() => this.#model.startProfile());
  }

  stopProfile(): Promise<NativeProfile> {
    return this.scheduler.whenIdle(() => this.#model.stopProfile());
  }

  /** What is held once all that was closed is given back. */
  usage(): Promise<Usage> {
    return this.scheduler.whenIdle((session) => ({
      ...this.scheduler.usage(),
      kvCacheBytes: session.kvCacheBytes(),
    }));
  }

  /** Forgets the kept prefixes that are not in use. */
  clearPrefixes(): Promise<void> {
    return this.scheduler.clearPrefixes();
  }

  /** Frees the cache and unmaps the weights once what was asked before is done. Twice is once. */
  dispose(): Promise<void> {
    this.#disposal ??= this.scheduler.dispose().then(() => {
      this.#session.dispose();
      this.#model.dispose();
    });
    return this.#disposal;
  }
}
