/** Where the time of native steps went: one row per op, or per op and layer, the longest first. */
import type { NativeProfile } from "../native/binding.js";
import type { Engine } from "./engine.js";

/** An op, in all layers or in one. */
export interface ProfileRow {
  op: string;
  /** Null: all layers together, or an op that belongs to none. */
  layer: number | null;
  calls: number;
  /** From start to end, all calls together. */
  seconds: number;
  /** Of the time of all steps. */
  share: number;
  /** Weights, keys and values that were needed, each counted once per call. */
  bytes: number;
  gigabytesPerSecond: number;
  /** Multiply-accumulates of matrices, in 10^9 per second. */
  gigamacsPerSecond: number;
  /** Part of the threads' time that no thread spent in work: waiting for others, for the start of work, or for what one thread does. */
  waiting: number;
}

/** A profile of the steps between two moments. */
export class StepProfile {
  readonly steps: number;
  /** Tokens that were computed. */
  readonly tokens: number;
  readonly threads: number;
  /** Time inside native steps, and between the two moments: the difference is JavaScript's and the caller's. */
  readonly stepSeconds: number;
  readonly wallSeconds: number;
  readonly #native: NativeProfile;

  constructor(native: NativeProfile, wallSeconds: number) {
    this.#native = native;
    this.steps = native.steps;
    this.tokens = native.rows;
    this.threads = native.threads;
    this.stepSeconds = native.stepSeconds;
    this.wallSeconds = wallSeconds;
  }

  /** One row per op that ran. */
  byOp(): ProfileRow[] {
    const { ops, numLayers } = this.#native;
    const columns = Array.from({ length: numLayers + 1 }, (_, column) => column);
    return this.#sorted(ops.map((_, op) => this.#row(op, null, columns)));
  }

  /** One row per op and layer that ran. */
  byLayer(): ProfileRow[] {
    const { ops, numLayers } = this.#native;
    const columns = Array.from({ length: numLayers + 1 }, (_, column) => column);
    return this.#sorted(
      ops.flatMap((_, op) => columns.map((column) => this.#row(op, column < numLayers ? column : null, [column]))),
    );
  }

  toJSON(): Record<string, unknown> {
    const { steps, tokens, threads, stepSeconds, wallSeconds } = this;
    return { steps, tokens, threads, stepSeconds, wallSeconds, byOp: this.byOp(), byLayer: this.byLayer() };
  }

  #sorted(rows: ProfileRow[]): ProfileRow[] {
    return rows.filter(({ calls }) => calls > 0).sort((a, b) => b.seconds - a.seconds);
  }

  #row(op: number, layer: number | null, columns: readonly number[]): ProfileRow {
    const native = this.#native;
    const sum = (values: Float64Array) =>
      columns.reduce((total, column) => total + values[op * (native.numLayers + 1) + column]!, 0);
    const seconds = sum(native.seconds);
    const bytes = sum(native.bytes);
    const perSecond = (count: number) => (seconds > 0 ? count / seconds / 1e9 : 0);
    return {
      op: native.ops[op]!,
      layer,
      calls: sum(native.calls),
      seconds,
      share: native.stepSeconds > 0 ? seconds / native.stepSeconds : 0,
      bytes,
      gigabytesPerSecond: perSecond(bytes),
      gigamacsPerSecond: perSecond(sum(native.macs)),
      waiting: seconds > 0 ? Math.max(0, 1 - sum(native.busySeconds) / (seconds * native.threads)) : 0,
    };
  }
}

/** Profiles the steps of `work`; the profile ends with it, be it by an error. */
export async function profileSteps<T>(
  engine: Engine,
  work: () => Promise<T>,
): Promise<{ value: T; profile: StepProfile }> {
  await engine.startProfile();
  const start = performance.now();
  try {
    const value = await work();
    const wallSeconds = (performance.now() - start) / 1000;
    return { value, profile: new StepProfile(await engine.stopProfile(), wallSeconds) };
  } catch (error) {
    await engine.stopProfile().catch(() => {}); // stopped already, or disposed
    throw error;
  }
}
