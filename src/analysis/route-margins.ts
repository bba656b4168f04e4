/**
 * The margin z_(k) - z_(k+1): how far a token was from being routed otherwise. It predicts which routes flip under quantisation or
 * another batch. Derived; in no peer.
 *
 * Where a row's logits are recorded, the float32 logits are subtracted in float64; in rows that an intervention touched, and in traces
 * at level `topk`, it is the recorded float32 margin of the logits that decided.
 */

import { InvalidArgumentError } from "../errors.js";
import type { RouterTrace } from "../router/trace.js";
import {
  type DocumentSums,
  poolDocuments,
  RoutingAccumulator,
  type TokenSubset,
  type TraceBatch,
} from "./accumulator.js";
import { quantileOfSorted } from "./numbers.js";
import { Random } from "./random.js";

/** Margin of one row of a trace; +Infinity where every expert is chosen. Throws INVALID_ARGUMENT where the trace has none. */
export function marginOf(trace: RouterTrace, row: number): number {
  const { routerLogits, margin, intervened } = trace.columns;
  if (routerLogits.length === 0 || intervened[row] === 1) {
    if (Number.isNaN(margin[row]!))
      throw new InvalidArgumentError("Expected a trace with margins or router logits, got neither.");
    return margin[row]!;
  }
  const { numExperts, numExpertsPerToken } = trace.layout.metadata;
  return kthMargin(routerLogits.subarray(row * numExperts, (row + 1) * numExperts), numExpertsPerToken);
}

/** z_(k) - z_(k+1), the k-th and the next of the descending logits; +Infinity for k = N. */
export function kthMargin(logits: ArrayLike<number>, k: number): number {
  if (k >= logits.length) return Number.POSITIVE_INFINITY;
  const best = new Float64Array(k + 1).fill(Number.NEGATIVE_INFINITY);
  for (let e = 0; e < logits.length; e++) {
    if (logits[e]! <= best[k]!) continue;
    let place = k;
    for (; place > 0 && best[place - 1]! < logits[e]!; place--) best[place] = best[place - 1]!;
    best[place] = logits[e]!;
  }
  return best[k - 1]! - best[k]!;
}

/** Margins kept per layer for quantiles: all of them up to here, a uniform sample of this size beyond. */
export const KEPT_MARGINS = 262_144;

/** Margins below this count as near; the scale of a Q4 file's logit error is a tenth. */
export const NEAR = 0.1;

const SUMS = 3;

/** Means, quantiles and counts of the margins, by layer. */
export class RouteMargins extends RoutingAccumulator {
  /** By document: sum of margins, exact ties, margins below `near`. [L, 3] */
  readonly #sums: Float64Array[] = [];
  readonly #kept: Float64Array[] = [];
  readonly #random: Random;
  readonly near: number;
  #seen = 0;

  constructor(options: TokenSubset & { near?: number; seed?: number } = {}) {
    const { near = NEAR, seed = 0, ...subset } = options;
    super(subset);
    this.near = near;
    this.#random = new Random(seed);
  }

  /** Of sums: by document the sum of margins, exact ties and margins below `near` of each layer, [L, 3]; and margins kept for quantiles. */
  static fromSums(
    sums: DocumentSums,
    near: number,
    rows: { figures: readonly (Float64Array | undefined)[]; kept: readonly Float64Array[] },
  ): RouteMargins {
    const margins = new RouteMargins({ near });
    margins.adopt(sums);
    for (const [document, row] of rows.figures.entries()) if (row !== undefined) margins.#sums[document] = row;
    margins.#kept.push(...rows.kept);
    margins.#seen = rows.kept[0]?.length ?? 0;
    return margins;
  }

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const numLayers = shape.layers.length;
    this.#reserve(numLayers, tokens.length);
    for (const token of tokens) {
      this.#sums[documentOfToken[token]!] ??= new Float64Array(numLayers * SUMS);
      const sums = this.#sums[documentOfToken[token]!]!;
      const place = this.#seen < KEPT_MARGINS ? this.#seen : this.#random.below(this.#seen + 1);
      this.#seen++;
      for (let layer = 0; layer < numLayers; layer++) {
        const margin = marginOf(trace, token * numLayers + layer);
        sums[layer * SUMS]! += margin;
        if (margin === 0) sums[layer * SUMS + 1]!++;
        if (margin < this.near) sums[layer * SUMS + 2]!++;
        if (place < KEPT_MARGINS) this.#kept[layer]![place] = margin;
      }
    }
  }

  /** Mean margin, at least 0. [L] */
  mean(weights?: ArrayLike<number>): Float64Array {
    const tokens = this.tokens(weights);
    return this.#pooled(0, weights).map((sum) => sum / tokens);
  }

  /** Tokens whose margin is exactly 0, where the lower expert index decided. [L] */
  ties(): Float64Array {
    return this.#pooled(1);
  }

  /** Share of tokens with a margin below `near`. [L] */
  shareBelowNear(weights?: ArrayLike<number>): Float64Array {
    const tokens = this.tokens(weights);
    return this.#pooled(2, weights).map((count) => count / tokens);
  }

  /** Quantile of the margins by linear interpolation (type 7); beyond 262,144 tokens, of a uniform sample of that many. [L] */
  quantile(q: number): Float64Array {
    return Float64Array.from(this.margins(), (margins) => quantileOfSorted(margins, q));
  }

  /** The kept margins of each layer, ascending: for histograms. */
  margins(): Float64Array[] {
    const kept = Math.min(this.#seen, KEPT_MARGINS);
    return this.shape.layers.map((_, layer) => (this.#kept[layer] ?? new Float64Array(0)).slice(0, kept).sort());
  }

  #pooled(which: number, weights?: ArrayLike<number>): Float64Array {
    const numLayers = this.shape.layers.length;
    const pooled = poolDocuments(this.#sums, numLayers * SUMS, weights);
    return Float64Array.from({ length: numLayers }, (_, layer) => pooled[layer * SUMS + which]!);
  }

  /** Room for more tokens, at least doubling, at most `KEPT_MARGINS`. */
  #reserve(numLayers: number, more: number): void {
    const needed = Math.min(KEPT_MARGINS, this.#seen + more);
    for (let layer = 0; layer < numLayers; layer++) {
      const old = this.#kept[layer] ?? new Float64Array(0);
      if (old.length >= needed) continue;
      const larger = new Float64Array(Math.min(KEPT_MARGINS, Math.max(needed, 2 * old.length)));
      larger.set(old);
      this.#kept[layer] = larger;
    }
  }
}
