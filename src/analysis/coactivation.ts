/**
 * Which experts serve the same token. c_ij = tokens with both i and j chosen, over all k (k - 1) / 2 pairs of a token (OLMoE's script
 * counts neighbouring ranks alone). The k experts of a token are drawn without replacement, so even uniform routing has a PMI below 0:
 * `pmiCorrected` is what to read.
 */

import { invalidArgument } from "../errors.js";
import { EMPTY_SLOT } from "../router/schema.js";
import { type DocumentSums, RoutingAccumulator, type RoutingShape, type TraceBatch } from "./accumulator.js";
import type { Bootstrap, BootstrapOptions } from "./bootstrap.js";
import { GroupedTables, groupBootstrap, tokensOfGroups } from "./document-groups.js";

/** One layer's pairs i < j, row by row of the upper triangle; every figure has N (N - 1) / 2 values. */
export interface CoactivationPairs {
  /** c_ij. */
  counts: Float64Array;
  /** P(j given i) = c_ij / c_i; NaN for a dead i. OLMoE, arXiv 2409.02060. Uniform (k - 1) / (N - 1). */
  given: Float64Array;
  /** P(i given j) = c_ij / c_j. */
  givenReverse: Float64Array;
  /** T c_ij / (c_i c_j). Uniform N (k - 1) / (k (N - 1)). */
  lift: Float64Array;
  /** ln lift: -Infinity for a pair that never met, NaN where either is dead. Church and Hanks 1990. */
  pmi: Float64Array;
  /** PMI less its value under uniform routing: 0 there. */
  pmiCorrected: Float64Array;
  /** c_ij over its expectation under uniform routing, T k (k - 1) / (N (N - 1)). */
  overUniform: Float64Array;
  /** c_ij / (c_i + c_j - c_ij); NaN where both are dead. chuk. Uniform (k - 1) / (2 N - k - 1), a ratio of expectations. */
  jaccard: Float64Array;
}

/** What tokens that choose k of N experts uniformly give. */
export function uniformCoactivation(
  { numExperts: n, numExpertsPerToken: k }: RoutingShape,
  numTokens: number,
): {
  counts: number;
  given: number;
  lift: number;
  pmi: number;
  jaccard: number;
} {
  const lift = (n * (k - 1)) / (k * (n - 1));
  return {
    counts: (numTokens * k * (k - 1)) / (n * (n - 1)),
    given: (k - 1) / (n - 1),
    lift,
    pmi: Math.log(lift),
    jaccard: (k - 1) / (2 * (n - 1) - (k - 1)),
  };
}

/** Pair counts, pooled over documents in 32 groups. Memory: 8 L N² bytes for each group, 29 MB for 28 layers x 64 experts. */
export class Coactivation extends RoutingAccumulator {
  /** c_ij for i != j both ways, c_i on the diagonal. [L, N, N] by group of documents */
  #tables: GroupedTables | undefined;
  #hasGroups = true;

  /** Of sums: c_ij both ways with c_i on the diagonal; without intervals. [L, N, N] */
  static fromSums(sums: DocumentSums, matrix: Float64Array): Coactivation {
    const coactivation = new Coactivation();
    coactivation.adopt(sums);
    coactivation.#tables = new GroupedTables(matrix.length);
    coactivation.#tables.of(0).set(matrix);
    coactivation.#hasGroups = false;
    return coactivation;
  }

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const { numExperts } = shape;
    const numLayers = shape.layers.length;
    this.#tables ??= new GroupedTables(numLayers * numExperts * numExperts);
    const { topkExperts } = trace.columns;
    for (const token of tokens) {
      const matrix = this.#tables.of(documentOfToken[token]!);
      for (let layer = 0; layer < numLayers; layer++) {
        const first = (token * numLayers + layer) * trace.topK;
        const base = layer * numExperts * numExperts;
        for (let i = first; i < first + trace.topK; i++) {
          if (topkExperts[i] === EMPTY_SLOT) continue;
          const row = base + topkExperts[i]! * numExperts;
          for (let j = first; j < first + trace.topK; j++) {
            if (topkExperts[j] !== EMPTY_SLOT) matrix[row + topkExperts[j]!]!++;
          }
        }
      }
    }
  }

  /** c_ij, with c_i on the diagonal. `layer` by global number; throws INVALID_ARGUMENT for another. [N, N] */
  matrix(layer: number): Float64Array {
    return this.#pooled(layer);
  }

  #pooled(layer: number, weights?: ArrayLike<number>): Float64Array {
    const { layers, numExperts } = this.shape;
    const size = numExperts * numExperts;
    const index = layers.indexOf(layer);
    if (index < 0) throw invalidArgument("layer", `one of the MoE layers ${layers.join(", ")}`, layer);
    return this.#tables!.pooled(index * size, (index + 1) * size, weights);
  }

  /** All pair figures of a layer, by global number. */
  pairs(layer: number): CoactivationPairs {
    return this.#pairs(this.matrix(layer), this.tokens());
  }

  /**
   * Percentile intervals of one figure of all pairs of a layer, documents resampled in up to 32 groups. NaN for fewer than two documents,
   * sums of a database, and pairs of which an expert is dead in a resample.
   */
  interval(layer: number, figure: keyof CoactivationPairs, options?: BootstrapOptions): Bootstrap {
    const groups = tokensOfGroups(this.tokensOfDocument);
    const statistic = (weights: Float64Array) => {
      const numTokens = groups.reduce((sum, tokens, group) => sum + tokens * weights[group]!, 0);
      return this.#pairs(this.#pooled(layer, weights), numTokens)[figure];
    };
    return groupBootstrap(this.#hasGroups ? groups.length : 1, statistic, options);
  }

  #pairs(matrix: Float64Array, numTokens: number): CoactivationPairs {
    const { numExperts } = this.shape;
    const uniform = uniformCoactivation(this.shape, numTokens);
    const figure = (of: (both: number, ci: number, cj: number) => number): Float64Array => {
      const values = new Float64Array((numExperts * (numExperts - 1)) / 2);
      let at = 0;
      for (let i = 0; i < numExperts; i++) {
        for (let j = i + 1; j < numExperts; j++) {
          values[at++] = of(matrix[i * numExperts + j]!, matrix[i * numExperts + i]!, matrix[j * numExperts + j]!);
        }
      }
      return values;
    };
    const lift = (both: number, ci: number, cj: number) => (numTokens * both) / (ci * cj);
    return {
      counts: figure((both) => both),
      given: figure((both, ci) => both / ci),
      givenReverse: figure((both, _, cj) => both / cj),
      lift: figure(lift),
      pmi: figure((...c) => Math.log(lift(...c))),
      pmiCorrected: figure((...c) => Math.log(lift(...c)) - uniform.pmi),
      overUniform: figure((both) => both / uniform.counts),
      jaccard: figure((both, ci, cj) => both / (ci + cj - both)),
    };
  }
}

/** The pairs [i, j] in the order of every figure of `CoactivationPairs`. */
export function expertPairs(numExperts: number): [number, number][] {
  return Array.from({ length: numExperts }, (_, i) =>
    Array.from({ length: numExperts - i - 1 }, (_, offset): [number, number] => [i, i + 1 + offset]),
  ).flat();
}
