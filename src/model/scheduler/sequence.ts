/** One text under way: its tokens, what of them is computed, and the append that it waits for. */
import { AbortError } from "../../errors.js";
import type { RouteRule } from "../../native/binding.js";
import { type CapturePlan, isRecorded } from "../../router/capture.js";
import type { TraceMetadata } from "../../router/schema.js";
import type { RouterTrace } from "../../router/trace.js";
import type { Call } from "./call.js";
import type { PrefixKind, PrefixNode } from "./prefix-tree.js";
import { SequenceRoutes } from "./routes.js";
import { type Append, type AppendResult, Outputs } from "./work.js";

/** What a sequence's rows depend on beside its tokens, and what is recorded of them. */
export interface SequenceKind extends PrefixKind, CapturePlan {
  rules: readonly RouteRule[];
  /** Slots of its rows: the model's top-k, or what the rules can make of it. */
  topK: number;
  hiddenSize: number;
  traceMetadata: TraceMetadata;
}

export interface SequenceOptions {
  /** Longest that the sequence can become; memory for it is set aside before it starts. */
  maxLength: number;
  /** Positions that are worth keeping for others once it is closed. Default all. */
  keep?: number;
}

/** An append that is not done. */
export interface Pending {
  append: Append;
  /** Position of its first token. */
  start: number;
  outputs: Outputs;
  resolve: (result: AppendResult) => void;
  reject: (error: unknown) => void;
}

/** What a sequence holds of the device between its admission and its end. */
export interface Hold {
  sequence: number;
  /** Key/value bytes set aside for it. */
  bytes: number;
  prefix: PrefixNode | undefined;
}

/** Of a token's symbol where rules ask for its origin and segment, which is below 128; the largest vocabularies are of some 2^18 tokens. */
const LABELS = 256;

export class Sequence {
  /** Positions whose keys and values are there. */
  computed = 0;
  /** Set by the scheduler as it admits the sequence. */
  hold: Hold | undefined;
  pending: Pending | undefined;
  isClosed = false;
  keep: number;
  servedAt = -1;
  /** Another sequence that is about to compute `until` positions that this one needs as well. */
  donor: { sequence: Sequence; until: number } | undefined;
  readonly routes: SequenceRoutes;
  readonly #isLabelled: boolean;
  #symbols = new Int32Array(64);
  #length = 0;

  constructor(
    readonly call: Call,
    readonly kind: SequenceKind,
    readonly options: SequenceOptions,
    readonly arrival: number,
    private readonly vocabSize: number,
  ) {
    this.keep = options.keep ?? options.maxLength;
    this.#isLabelled = dependsOnText(kind.rules);
    this.routes = new SequenceRoutes(kind, (from, to) => this.#tokensOf(from, to));
  }

  /** Tokens appended so far, those that are not computed yet included. */
  get length(): number {
    return this.#length;
  }

  /** The tokens, each with what the rules ask about its text: equal symbols at equal positions have equal keys and values. */
  get symbols(): Int32Array {
    return this.#symbols.subarray(0, this.#length);
  }

  symbolAt(position: number): number | undefined {
    return position < this.#length ? this.#symbols[position] : undefined;
  }

  /** Routes of the computed positions that are recorded; undefined at level `counts`. `computed` marks the rows that ran for it. */
  get trace(): RouterTrace | undefined {
    return this.routes.trace;
  }

  /** What a kept prefix must have to serve the append that waits: routes only of rows that are recorded. */
  get wanted(): PrefixKind {
    return isRecorded(this.kind, this.pending!.append) ? this.kind : { ...this.kind, level: "counts" };
  }

  /** Computes these tokens behind those before. One at a time; an error or an abort ends the sequence. */
  append(append: Append): Promise<AppendResult> {
    return new Promise((resolve, reject) => {
      const outputs = new Outputs(append, this.vocabSize);
      this.pending = { append, start: this.#length, outputs, resolve, reject };
      this.#push(append);
      const refusal = this.isClosed ? new AbortError("The sequence was closed.") : this.call.refusal();
      if (refusal !== undefined) this.fail(refusal);
      else this.call.scheduler.submit(this);
    });
  }

  /** The append is done. */
  succeed(): void {
    const { resolve, outputs } = this.pending!;
    this.pending = undefined;
    resolve(outputs.values);
  }

  /** The append failed, and with it the sequence. */
  fail(error: unknown): void {
    const pending = this.pending;
    this.pending = undefined;
    this.close();
    pending?.reject(error);
  }

  /** Gives back what the sequence holds, at once or when the step that runs is over. Twice is once. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.call.forget(this);
    this.call.scheduler.release(this);
    this.pending?.reject(new AbortError("The sequence was closed."));
    this.pending = undefined;
  }

  #push(append: Append): void {
    const { tokenIds } = append;
    if (this.#length + tokenIds.length > this.#symbols.length) {
      const grown = new Int32Array(Math.max(2 * this.#symbols.length, this.#length + tokenIds.length));
      grown.set(this.symbols);
      this.#symbols = grown;
    }
    const { origin, segment } = append;
    for (const [index, id] of tokenIds.entries()) {
      this.#symbols[this.#length + index] = this.#isLabelled ? id * LABELS + segment * 2 + origin : id;
    }
    this.#length += tokenIds.length;
  }

  #tokensOf(from: number, to: number): Int32Array {
    const symbols = this.#symbols.slice(from, to);
    return this.#isLabelled ? symbols.map((symbol) => Math.floor(symbol / LABELS)) : symbols;
  }
}

/** Whether a rule asks where a token came from: then equal tokens at equal positions are not enough. */
function dependsOnText(rules: readonly RouteRule[]): boolean {
  return rules.some((rule) => rule.origin !== undefined || rule.segments !== undefined);
}
