/** One text under way: its tokens, what of them is computed, and the append that it waits for. */
import { AbortError } from "../../errors.js";
import type { RouteRule } from "../../native/binding.js";
import type { TraceMetadata } from "../../router/schema.js";
import { RouterTrace } from "../../router/trace.js";
import type { Call } from "./call.js";
import type { PrefixKind, PrefixNode } from "./prefix-tree.js";
import { type Append, type AppendResult, Outputs } from "./work.js";

/** What a sequence's rows depend on beside its tokens, and what is recorded of them. */
export interface SequenceKind extends PrefixKind {
  rules: readonly RouteRule[];
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
  readonly #symbolOf: (tokenId: number, append: Append) => number;
  #symbols = new Int32Array(64);
  #length = 0;
  #traces: RouterTrace[] = [];

  constructor(
    readonly call: Call,
    readonly kind: SequenceKind,
    readonly options: SequenceOptions,
    readonly arrival: number,
    private readonly vocabSize: number,
  ) {
    this.keep = options.keep ?? options.maxLength;
    this.#symbolOf = dependsOnText(kind.rules) ? labelledSymbol : (tokenId) => tokenId;
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

  /** Routes of all computed positions; undefined at level `counts`. A view: `computed` marks the rows that ran for this sequence. */
  get trace(): RouterTrace | undefined {
    if (this.#traces.length > 1) this.#traces = [RouterTrace.concat(this.#traces)];
    return this.#traces[0];
  }

  addTrace(trace: RouterTrace): void {
    this.#traces.push(trace);
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
    for (const [index, id] of tokenIds.entries()) this.#symbols[this.#length + index] = this.#symbolOf(id, append);
    this.#length += tokenIds.length;
  }
}

/** Whether a rule asks where a token came from: then equal tokens at equal positions are not enough. */
function dependsOnText(rules: readonly RouteRule[]): boolean {
  return rules.some((rule) => rule.origin !== undefined || rule.segments !== undefined);
}

/** Labels below 128; the largest vocabularies are of some 2^18 tokens. */
function labelledSymbol(tokenId: number, { origin, segment }: Append): number {
  return tokenId * 256 + segment * 2 + origin;
}
