/**
 * What every analysis of traces shares: it takes traces one after another and keeps sums, so that a corpus larger than memory passes
 * through; tokens belong to documents, which are what intervals resample; and a subset of the tokens may be asked for.
 */

import { InvalidArgumentError, invalidArgument } from "../errors.js";
import { ORIGINS, type TraceKey } from "../router/schema.js";
import type { RouterTrace } from "../router/trace.js";
import { addScaled } from "./numbers.js";

/** The part of a model that analyses need. */
export interface RoutingShape {
  /** Global numbers of the MoE layers in the traces, ascending. L of them. */
  layers: readonly number[];
  /** Routed experts of each layer, N. */
  numExperts: number;
  /** Experts that the model chooses for each token, k. */
  numExpertsPerToken: number;
}

/** Which tokens count. Prompt tokens are the prefill phase, generated ones the decode phase. */
export interface TokenSubset {
  segment?: string;
  origin?: "prompt" | "generated";
}

/** The part of a trace's key that names a document: a sample, a shared prefix (without `sampleId`), or one trace without a key. */
export type DocumentKey = Pick<TraceKey, "run" | "task" | "sampleId" | "epoch" | "prefixId">;

/** The selected tokens of one trace. */
export interface TraceBatch {
  trace: RouterTrace;
  shape: RoutingShape;
  /** Token numbers in the order of the trace. */
  tokens: Int32Array;
  /** Document number of each token of the trace, selected or not. */
  documentOfToken: Int32Array;
}

/** What every accumulator keeps of its traces: `trace-database.ts` sums it in SQL. */
export interface DocumentSums {
  shape: RoutingShape;
  documents: readonly DocumentKey[];
  /** Selected tokens of each document. */
  tokensOfDocument: readonly number[];
}

export abstract class RoutingAccumulator {
  /** Documents in the order in which they came. */
  readonly documents: DocumentKey[] = [];
  readonly #subset: TokenSubset;
  readonly #numberOfDocument = new Map<string, number>();
  #shape: RoutingShape | undefined;
  #tokensOfDocument: number[] = [];

  constructor(subset: TokenSubset = {}) {
    this.#subset = subset;
  }

  /** The shape of the traces so far. Throws INVALID_ARGUMENT before the first. */
  get shape(): RoutingShape {
    if (this.#shape === undefined) throw new InvalidArgumentError("Expected at least one trace to analyse, got none.");
    return this.#shape;
  }

  /** Selected tokens of each document. */
  get tokensOfDocument(): readonly number[] {
    return this.#tokensOfDocument;
  }

  /** Selected tokens, T; with weights, each document counts as often as its weight says. */
  tokens(weights?: ArrayLike<number>): number {
    return this.#tokensOfDocument.reduce((sum, tokens, document) => sum + tokens * (weights?.[document] ?? 1), 0);
  }

  /**
   * Takes the tokens of a trace. The tokens of a sequence must come in one trace and in order; documents may come in several.
   * Throws INVALID_ARGUMENT for a trace of another shape, without the level that the analysis needs, or without the asked segment.
   */
  add(trace: RouterTrace): this {
    const { layers, numExperts, numExpertsPerToken } = this.#checkShape(trace);
    const documentOfToken = this.#documentsOf(trace);
    const tokens = selectTokens(trace, this.#subset);
    for (const token of tokens) this.#tokensOfDocument[documentOfToken[token]!]!++;
    this.take({ trace, shape: { layers, numExperts, numExpertsPerToken }, tokens, documentOfToken });
    return this;
  }

  protected abstract take(batch: TraceBatch): void;

  /** Takes over what another engine has summed over traces of one shape, in the place of `add`. For a new accumulator. */
  protected adopt({ shape, documents, tokensOfDocument }: DocumentSums): void {
    this.#shape = shape;
    this.documents.push(...documents);
    this.#tokensOfDocument = [...tokensOfDocument];
  }

  #checkShape(trace: RouterTrace): RoutingShape {
    const { numExperts, numExpertsPerToken } = trace.layout.metadata;
    const shape = { layers: trace.layers, numExperts, numExpertsPerToken };
    this.#shape ??= shape;
    const print = (s: RoutingShape) =>
      `layers ${s.layers.join(", ")} with ${s.numExpertsPerToken} of ${s.numExperts} experts`;
    if (print(shape) !== print(this.#shape)) {
      throw new InvalidArgumentError(`Expected traces of ${print(this.#shape)}, got one of ${print(shape)}.`);
    }
    return shape;
  }

  #documentsOf(trace: RouterTrace): Int32Array {
    let keyless: number | undefined;
    const numberOfKey = trace.keys.map(({ run, task, sampleId, epoch, prefixId }) => {
      if (sampleId === undefined && prefixId === undefined) {
        keyless ??= this.#newDocument({ run, task, epoch });
        return keyless;
      }
      const key = sampleId === undefined ? { run, task, prefixId } : { run, task, sampleId, epoch };
      const name = JSON.stringify([run, task, sampleId, epoch, sampleId === undefined ? prefixId : undefined]);
      const number = this.#numberOfDocument.get(name) ?? this.#newDocument(key);
      this.#numberOfDocument.set(name, number);
      return number;
    });
    return trace.columns.keys.map((key) => numberOfKey[key]!);
  }

  #newDocument(key: DocumentKey): number {
    this.#tokensOfDocument.push(0);
    return this.documents.push(key) - 1;
  }
}

/** Gives each trace to each analysis; only one trace is held at a time. */
export async function analyze(
  traces: Iterable<RouterTrace> | AsyncIterable<RouterTrace>,
  accumulators: readonly RoutingAccumulator[],
): Promise<void> {
  for await (const trace of traces) for (const accumulator of accumulators) accumulator.add(trace);
}

/** Token numbers of the subset. Throws INVALID_ARGUMENT for a segment that the trace does not have. */
export function selectTokens(trace: RouterTrace, { segment, origin }: TokenSubset): Int32Array {
  const { segments, origins } = trace.columns;
  const label = segment === undefined ? -1 : trace.layout.segments.indexOf(segment);
  if (segment !== undefined && label < 0) {
    throw invalidArgument("segment", `one of ${trace.layout.segments.join(", ")}`, segment);
  }
  const code = origin === undefined ? -1 : ORIGINS.indexOf(origin);
  if (origin !== undefined && code < 0) throw invalidArgument("origin", ORIGINS.join(" or "), origin);
  const all = Int32Array.from({ length: trace.numTokens }, (_, token) => token);
  if (segment === undefined && origin === undefined) return all;
  return all.filter((token) => (label < 0 || segments[token] === label) && (code < 0 || origins[token] === code));
}

/** Throws INVALID_ARGUMENT where a trace has no logits. */
export function requireLogits(trace: RouterTrace): Float32Array {
  if (trace.layout.level !== "topk") return trace.columns.routerLogits;
  throw new InvalidArgumentError("Expected traces at level logits or hidden, got one at level topk.");
}

/** Sum over documents of their rows, each times its weight (1 without weights). A document without a row has no tokens. */
export function poolDocuments(
  rows: readonly (ArrayLike<number> | undefined)[],
  width: number,
  weights?: ArrayLike<number>,
): Float64Array {
  const pooled = new Float64Array(width);
  for (let document = 0; document < rows.length; document++) {
    const weight = weights?.[document] ?? 1;
    const row = rows[document];
    if (weight === 0 || row === undefined) continue;
    addScaled(pooled, row, weight);
  }
  return pooled;
}
