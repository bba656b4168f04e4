/**
 * How alike the routes of neighbouring tokens are. ds4 #307; Mixtral, arXiv 2401.04088 [mem: quoted from memory]. A pair lies in one
 * sequence at positions t and t + 1; of a subset, both tokens are in it.
 */

import {
  type DocumentSums,
  poolDocuments,
  RoutingAccumulator,
  type RoutingShape,
  type TraceBatch,
} from "./accumulator.js";
import { sharedExperts } from "./route-agreement.js";

const SUMS = 3;

/** What independent tokens that choose k of N experts uniformly give. */
export function uniformAdjacency({ numExperts: n, numExpertsPerToken: k }: Omit<RoutingShape, "layers">): {
  intersectionSize: number;
  overlap: number;
  nonempty: number;
  top1Repeat: number;
} {
  // C(N - k, k) / C(N, k): the second token avoids all experts of the first.
  let avoids = 1;
  for (let i = 0; i < k; i++) avoids *= Math.max(0, n - k - i) / (n - i);
  return { intersectionSize: (k * k) / n, overlap: k / n, nonempty: 1 - avoids, top1Repeat: 1 / n };
}

/** Means over pairs of neighbouring tokens, by layer. */
export class AdjacentTokens extends RoutingAccumulator {
  /** By document: shared experts, pairs that share any, pairs with one first choice; in the last place the pairs. [3 L + 1] */
  readonly #sums: Float64Array[] = [];
  /** Counts c_e, for what independent tokens with this load would give. [L, N] */
  #counts: Float64Array = new Float64Array(0);

  /** Of sums: by document shared experts, pairs that share any and pairs with one first choice by layer, then the pairs; and c_e. */
  static fromSums(
    sums: DocumentSums,
    rows: { pairs: readonly (Float64Array | undefined)[]; counts: Float64Array },
  ): AdjacentTokens {
    const adjacent = new AdjacentTokens();
    adjacent.adopt(sums);
    for (const [document, row] of rows.pairs.entries()) if (row !== undefined) adjacent.#sums[document] = row;
    adjacent.#counts = rows.counts;
    return adjacent;
  }

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const numLayers = shape.layers.length;
    if (this.#counts.length === 0) this.#counts = new Float64Array(numLayers * shape.numExperts);
    this.#countSelected(trace.columns.topkExperts, tokens, trace.topK, shape);
    const { keys, positions } = trace.columns;
    for (let i = 0; i + 1 < tokens.length; i++) {
      const [token, next] = [tokens[i]!, tokens[i + 1]!];
      if (keys[token] === keys[next] && positions[next] === positions[token]! + 1) {
        this.#takePair(trace, token, next, documentOfToken[token]!);
      }
    }
  }

  /** Pairs of neighbouring tokens. */
  pairs(weights?: ArrayLike<number>): number {
    return this.#pooled(weights).at(-1)!;
  }

  /** Mean of |S_t and S_t+1| / k; uniform k/N. [L] */
  overlap(weights?: ArrayLike<number>): Float64Array {
    return this.#means(0, weights).map((mean) => mean / this.shape.numExpertsPerToken);
  }

  /** Share of pairs with a common expert; uniform 1 - C(N - k, k) / C(N, k). [L] */
  nonempty(weights?: ArrayLike<number>): Float64Array {
    return this.#means(1, weights);
  }

  /** Share of pairs with the same first choice; uniform 1/N. [L] */
  top1Repeat(weights?: ArrayLike<number>): Float64Array {
    return this.#means(2, weights);
  }

  /** The overlap of independent tokens with the observed load, sum of h_e² / k: what to compare with, more than k/N. [L] */
  overlapGivenLoad(): Float64Array {
    const { layers, numExperts, numExpertsPerToken } = this.shape;
    const tokens = this.tokens();
    return Float64Array.from({ length: layers.length }, (_, layer) => {
      const counts = this.#counts.subarray(layer * numExperts, (layer + 1) * numExperts);
      return counts.reduce((sum, count) => sum + (count / tokens) ** 2, 0) / numExpertsPerToken;
    });
  }

  #takePair(trace: TraceBatch["trace"], token: number, next: number, document: number): void {
    const numLayers = trace.layers.length;
    const { topkExperts } = trace.columns;
    this.#sums[document] ??= new Float64Array(numLayers * SUMS + 1);
    const sums = this.#sums[document]!;
    for (let layer = 0; layer < numLayers; layer++) {
      const rowA = token * numLayers + layer;
      const rowB = next * numLayers + layer;
      const shared = sharedExperts(trace, rowA, trace, rowB);
      sums[layer * SUMS]! += shared;
      if (shared > 0) sums[layer * SUMS + 1]!++;
      if (topkExperts[rowA * trace.topK] === topkExperts[rowB * trace.topK]) sums[layer * SUMS + 2]!++;
    }
    sums[numLayers * SUMS]!++;
  }

  #countSelected(experts: Uint16Array, tokens: Int32Array, topK: number, { layers, numExperts }: RoutingShape): void {
    const width = layers.length * topK;
    for (const token of tokens) {
      for (let i = 0; i < width; i++) {
        const expert = experts[token * width + i]!;
        if (expert < numExperts) this.#counts[Math.floor(i / topK) * numExperts + expert]!++;
      }
    }
  }

  #pooled(weights?: ArrayLike<number>): Float64Array {
    return poolDocuments(this.#sums, this.shape.layers.length * SUMS + 1, weights);
  }

  #means(which: number, weights?: ArrayLike<number>): Float64Array {
    const pooled = this.#pooled(weights);
    const pairs = pooled.at(-1)!;
    return Float64Array.from({ length: this.shape.layers.length }, (_, layer) => pooled[layer * SUMS + which]! / pairs);
  }
}
