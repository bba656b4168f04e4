/**
 * Where a token goes next: expert e at one MoE layer, e' at the next. OLMoE's cross-layer figures. Two tables: of the first choices
 * (slot 0), and of all k x k pairs of chosen experts; never of slots of equal rank.
 */

import { invalidArgument } from "../errors.js";
import { EMPTY_SLOT } from "../router/schema.js";
import { type DocumentSums, RoutingAccumulator, type TraceBatch } from "./accumulator.js";
import type { Bootstrap, BootstrapOptions } from "./bootstrap.js";
import { GroupedTables, groupBootstrap } from "./document-groups.js";
import { marginsOf, millerMadow, mutualInformation } from "./information.js";
import { Random } from "./random.js";
import { fillRandomTable } from "./random-table.js";

/**
 * Tables between each pair of neighbouring MoE layers; pair p is between layers p and p + 1 of the trace. Memory: 16 L N² bytes for each of
 * 32 groups of documents, 59 MB for 28 layers x 64 experts.
 */
export class LayerTransitions extends RoutingAccumulator {
  #top1: GroupedTables | undefined;
  #full: GroupedTables | undefined;
  #hasGroups = true;

  /** Of sums: the tables of first choices and of all pairs between neighbouring layers; without intervals. [L - 1, N, N] */
  static fromSums(sums: DocumentSums, tables: { top1: Float64Array; full: Float64Array }): LayerTransitions {
    const transitions = new LayerTransitions();
    transitions.adopt(sums);
    transitions.#top1 = new GroupedTables(tables.top1.length);
    transitions.#top1.of(0).set(tables.top1);
    transitions.#full = new GroupedTables(tables.full.length);
    transitions.#full.of(0).set(tables.full);
    transitions.#hasGroups = false;
    return transitions;
  }

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const { numExperts } = shape;
    const numLayers = shape.layers.length;
    const size = numExperts * numExperts;
    this.#top1 ??= new GroupedTables(Math.max(0, numLayers - 1) * size);
    this.#full ??= new GroupedTables(Math.max(0, numLayers - 1) * size);
    const { topkExperts } = trace.columns;
    const { topK } = trace;
    for (const token of tokens) {
      const top1 = this.#top1.of(documentOfToken[token]!);
      const full = this.#full.of(documentOfToken[token]!);
      for (let pair = 0; pair + 1 < numLayers; pair++) {
        const from = (token * numLayers + pair) * topK;
        const to = from + topK;
        top1[pair * size + topkExperts[from]! * numExperts + topkExperts[to]!]!++;
        for (let i = from; i < from + topK; i++) {
          if (topkExperts[i] === EMPTY_SLOT) continue;
          const row = pair * size + topkExperts[i]! * numExperts;
          for (let j = to; j < to + topK; j++) {
            if (topkExperts[j] !== EMPTY_SLOT) full[row + topkExperts[j]!]!++;
          }
        }
      }
    }
  }

  /** Tokens whose first choice is e, then e'. [N, N] */
  top1Counts(pair: number): Float64Array {
    return this.#table(this.#top1!, pair);
  }

  /** P(e' given e) of the first choices; a row of NaN for an e never chosen first. [N, N] */
  top1Probability(pair: number): Float64Array {
    return shareOfRows(this.top1Counts(pair), this.shape.numExperts, 1);
  }

  /** I(E_l; E_l+1) of the first choices in nats, plug-in, at most ln N; biased upward by about (R - 1)(C - 1) / (2T). */
  top1Information(pair: number): number {
    return mutualInformation(this.top1Counts(pair), this.shape.numExperts);
  }

  /** The same less Miller and Madow's correction, which overshoots below 0 where N² > T. */
  top1InformationMillerMadow(pair: number): number {
    return millerMadow(this.top1Counts(pair), this.shape.numExperts);
  }

  /**
   * The plug-in information when the next layer's first choices are permuted over tokens: its mean is the bias, `corrected` the
   * estimate to report. Drawn as random tables with the observed margins, which is the same thing.
   */
  top1InformationNull(
    pair: number,
    options: { permutations?: number; seed?: number } = {},
  ): { mean: number; sd: number; corrected: number } {
    const { permutations = 200, seed = 0 } = options;
    const { numExperts } = this.shape;
    const { rowSums, columnSums } = marginsOf(this.top1Counts(pair), numExperts);
    const random = new Random(seed);
    const table = new Float64Array(numExperts * numExperts);
    const drawn = Float64Array.from({ length: permutations }, () => {
      fillRandomTable(rowSums, columnSums, random, table);
      return mutualInformation(table, numExperts);
    });
    const mean = drawn.reduce((sum, value) => sum + value, 0) / permutations;
    const squares = drawn.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return { mean, sd: Math.sqrt(squares / (permutations - 1)), corrected: this.top1Information(pair) - mean };
  }

  /** J[e][e'] = tokens with e among the chosen, then e'; its rows sum to k c_e. Uniform T k² / N². [N, N] */
  fullCounts(pair: number): Float64Array {
    return this.#table(this.#full!, pair);
  }

  /** P(e' chosen at the next layer given e chosen) = J / c_e: its rows sum to k; J / (k c_e) to 1. NaN for a dead e. [N, N] */
  fullProbability(pair: number): Float64Array {
    const { numExperts, numExpertsPerToken } = this.shape;
    return shareOfRows(this.fullCounts(pair), numExperts, numExpertsPerToken);
  }

  /** Mutual information of J / (T k²), plug-in, in nats. */
  fullInformation(pair: number): number {
    return mutualInformation(this.fullCounts(pair), this.shape.numExperts);
  }

  /**
   * Percentile intervals of a figure, documents resampled in up to 32 groups; those of the plug-in information lie as far above the truth
   * as it does. NaN for fewer than two documents, sums of a database, and an expert that is never chosen in a resample.
   */
  interval(
    pair: number,
    figure: "top1Probability" | "fullProbability" | "top1Information" | "fullInformation",
    options?: BootstrapOptions,
  ): Bootstrap {
    const { numExperts, numExpertsPerToken } = this.shape;
    const tables = figure.startsWith("top1") ? this.#top1! : this.#full!;
    const scale = figure === "fullProbability" ? numExpertsPerToken : 1;
    const statistic = (weights: Float64Array) => {
      const counts = this.#table(tables, pair, weights);
      if (figure.endsWith("Information")) return [mutualInformation(counts, numExperts)];
      return shareOfRows(counts, numExperts, scale);
    };
    return groupBootstrap(this.#hasGroups ? this.documents.length : 1, statistic, options);
  }

  #table(tables: GroupedTables, pair: number, weights?: ArrayLike<number>): Float64Array {
    const { layers, numExperts } = this.shape;
    if (!(Number.isInteger(pair) && pair >= 0 && pair < layers.length - 1)) {
      throw invalidArgument("pair", `a pair of neighbouring layers from 0 to ${layers.length - 2}`, pair);
    }
    const size = numExperts * numExperts;
    return tables.pooled(pair * size, (pair + 1) * size, weights);
  }
}

/** Each row over its sum, times `scale`. */
function shareOfRows(counts: Float64Array, columns: number, scale: number): Float64Array {
  const { rowSums } = marginsOf(counts, columns);
  return counts.map((count, cell) => (count * scale) / rowSums[Math.floor(cell / columns)]!);
}
