/**
 * How sure the router was, token by token, from all its logits z; p = softmax(z) over all N experts, before the top-k. In float64 from
 * the recorded float32. Needs traces at level `logits`.
 */

import { EMPTY_SLOT } from "../router/schema.js";
import type { RouterTrace } from "../router/trace.js";
import { type DocumentSums, poolDocuments, RoutingAccumulator, requireLogits, type TraceBatch } from "./accumulator.js";

/** The figures of one token in one layer. */
export interface TokenConfidence {
  /** -sum p ln p / ln N: 0 sure of one expert, 1 uniform. chuk `RouterEntropy`. */
  routingEntropy: number;
  /** Sum of p over the chosen experts: from k/N, below 1 for every k < N. Equals the sum of the gates only where those are not renormalised. */
  topkMass: number;
  /** ln sum exp z. */
  logSumExp: number;
}

/**
 * Figures of one row. `probability` receives p. [N]
 *
 * @param experts the chosen experts; empty slots are passed over.
 */
export function tokenConfidence(
  logits: ArrayLike<number>,
  experts: ArrayLike<number>,
  probability: Float64Array = new Float64Array(logits.length),
): TokenConfidence {
  const n = logits.length;
  let largest = Number.NEGATIVE_INFINITY;
  for (let e = 0; e < n; e++) largest = Math.max(largest, logits[e]!);
  let sum = 0;
  for (let e = 0; e < n; e++) sum += probability[e] = Math.exp(logits[e]! - largest);
  const logSumExp = largest + Math.log(sum);
  let expected = 0;
  for (let e = 0; e < n; e++) {
    probability[e]! /= sum;
    // An expert that was masked with -infinity has p = 0 and no part in the entropy.
    if (probability[e]! > 0) expected += probability[e]! * logits[e]!;
  }
  let topkMass = 0;
  for (let slot = 0; slot < experts.length; slot++) {
    if (experts[slot] !== EMPTY_SLOT) topkMass += probability[experts[slot]!]!;
  }
  return { routingEntropy: (logSumExp - expected) / Math.log(n), topkMass, logSumExp };
}

/** Routing entropy of each token of one trace, for a plot along its text. Throws INVALID_ARGUMENT without logits. [L][tokens] */
export function routingEntropyAlong(trace: RouterTrace): Float64Array[] {
  const logits = requireLogits(trace);
  const { numExperts } = trace.layout.metadata;
  const numLayers = trace.layers.length;
  const probability = new Float64Array(numExperts);
  return trace.layers.map((_, layer) =>
    Float64Array.from({ length: trace.numTokens }, (_, token) => {
      const row = token * numLayers + layer;
      return tokenConfidence(logits.subarray(row * numExperts, (row + 1) * numExperts), [], probability).routingEntropy;
    }),
  );
}

const SUMS = 3;

/** Means over tokens, by layer. With weights, each document counts as often as its weight says. */
export class RouterConfidence extends RoutingAccumulator {
  /** By document: sums of routing entropy, top-k mass and squared log-sum-exp. [L, 3] */
  readonly #sums: Float64Array[] = [];
  #probabilitySums: Float64Array = new Float64Array(0);

  /** Of sums: by document routing entropy, top-k mass and squared log-sum-exp of each layer, [L, 3]; and p summed, [L, N]. */
  static fromSums(
    sums: DocumentSums,
    rows: { figures: readonly (Float64Array | undefined)[]; probabilitySums: Float64Array },
  ): RouterConfidence {
    const confidence = new RouterConfidence();
    confidence.adopt(sums);
    for (const [document, row] of rows.figures.entries()) if (row !== undefined) confidence.#sums[document] = row;
    confidence.#probabilitySums = rows.probabilitySums;
    return confidence;
  }

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const logits = requireLogits(trace);
    const { numExperts } = shape;
    const numLayers = shape.layers.length;
    const { topK } = trace;
    if (this.#probabilitySums.length === 0) this.#probabilitySums = new Float64Array(numLayers * numExperts);
    const probability = new Float64Array(numExperts);
    for (const token of tokens) {
      this.#sums[documentOfToken[token]!] ??= new Float64Array(numLayers * SUMS);
      const sums = this.#sums[documentOfToken[token]!]!;
      for (let layer = 0; layer < numLayers; layer++) {
        const row = token * numLayers + layer;
        const { routingEntropy, topkMass, logSumExp } = tokenConfidence(
          logits.subarray(row * numExperts, (row + 1) * numExperts),
          trace.columns.topkExperts.subarray(row * topK, (row + 1) * topK),
          probability,
        );
        sums[layer * SUMS]! += routingEntropy;
        sums[layer * SUMS + 1]! += topkMass;
        sums[layer * SUMS + 2]! += logSumExp ** 2;
        const at = layer * numExperts;
        for (let e = 0; e < numExperts; e++) this.#probabilitySums[at + e]! += probability[e]!;
      }
    }
  }

  /** Mean routing entropy, 0 to 1; 1 is uniform. [L] */
  routingEntropy(weights?: ArrayLike<number>): Float64Array {
    return this.#means(0, weights);
  }

  /** Mean top-k mass, k/N to 1. [L] */
  topkMass(weights?: ArrayLike<number>): Float64Array {
    return this.#means(1, weights);
  }

  /** Mean of (ln sum exp z)². ST-MoE, arXiv 2202.08906 [mem: quoted from memory]. [L] */
  zLoss(weights?: ArrayLike<number>): Float64Array {
    return this.#means(2, weights);
  }

  /** P_e = mean over tokens of p_e; uniform 1/N. [L, N] */
  meanProbability(): Float64Array {
    const tokens = this.tokens();
    return this.probabilitySums().map((sum) => sum / tokens);
  }

  /** Sum over tokens of p_e. [L, N] */
  probabilitySums(): Float64Array {
    const width = this.shape.layers.length * this.shape.numExperts;
    return this.#probabilitySums.length === 0 ? new Float64Array(width) : this.#probabilitySums;
  }

  #means(which: number, weights?: ArrayLike<number>): Float64Array {
    const numLayers = this.shape.layers.length;
    const pooled = poolDocuments(this.#sums, numLayers * SUMS, weights);
    const tokens = this.tokens(weights);
    return Float64Array.from({ length: numLayers }, (_, layer) => pooled[layer * SUMS + which]! / tokens);
  }
}
