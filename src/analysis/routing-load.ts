/** Expert load by document: the sums behind every figure of counts and gates, and behind the outcome join. */

import { EMPTY_SLOT } from "../router/schema.js";
import type { RouterTrace } from "../router/trace.js";
import { type DocumentSums, poolDocuments, RoutingAccumulator, type TraceBatch } from "./accumulator.js";
import { type BootstrapOptions, documentBootstrap } from "./bootstrap.js";
import { rowsOf } from "./load-balance.js";
import { LOAD_METRICS, uniformNull } from "./load-metrics.js";

/** One figure of one layer with all that is needed to judge it. */
export interface LoadFigure {
  layer: number;
  metric: string;
  formula: string;
  value: number;
  /** Tokens, T. */
  n: number;
  /** Percentile interval over documents, 95 % unless another level was asked for. */
  interval: readonly [lower: number, upper: number];
  /** Mean and sd under T independent tokens that choose uniformly. */
  uniform: { mean: number; sd: number };
  floor?: number;
  ceiling?: number;
}

/**
 * Counts c_e and gate mass m_e by document, layer and expert. A slot (l, e) is number l N + e. Memory: 12 L N bytes a document, 215 MB
 * for 10,000 documents of 28 layers x 64 experts.
 */
export class RoutingLoad extends RoutingAccumulator {
  readonly #counts: Uint32Array[] = [];
  readonly #gateMass: Float64Array[] = [];

  /** The load of sums: by document, or absent where none of its tokens was selected. [documents][L, N] */
  static fromSums(
    sums: DocumentSums,
    rows: { counts: readonly (Uint32Array | undefined)[]; gateMass: readonly (Float64Array | undefined)[] },
  ): RoutingLoad {
    const load = new RoutingLoad();
    load.adopt(sums);
    for (const [document, counts] of rows.counts.entries()) {
      if (counts !== undefined) load.#counts[document] = counts;
      const mass = rows.gateMass[document];
      if (mass !== undefined) load.#gateMass[document] = mass;
    }
    return load;
  }

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const { numExperts } = shape;
    const numLayers = shape.layers.length;
    const { topkExperts, topkWeights } = trace.columns;
    const width = numLayers * trace.topK;
    for (const token of tokens) {
      const document = documentOfToken[token]!;
      this.#counts[document] ??= new Uint32Array(numLayers * numExperts);
      this.#gateMass[document] ??= new Float64Array(numLayers * numExperts);
      const counts = this.#counts[document]!;
      const mass = this.#gateMass[document]!;
      for (let i = 0, at = token * width; i < width; i++, at++) {
        const expert = topkExperts[at]!;
        if (expert === EMPTY_SLOT) continue;
        const slot = Math.floor(i / trace.topK) * numExperts + expert;
        counts[slot]!++;
        mass[slot]! += topkWeights[at]!;
      }
    }
  }

  /** c_e: tokens that chose e, summed over documents. [L, N] */
  counts(weights?: ArrayLike<number>): Float64Array {
    return poolDocuments(this.#counts, this.#width, weights);
  }

  /** m_e: the sum of the weights that were applied to e; REAP calls it weighted frequency. NaN for traces without weights. [L, N] */
  gateMass(weights?: ArrayLike<number>): Float64Array {
    return poolDocuments(this.#gateMass, this.#width, weights);
  }

  /** Selection share f_e = c_e / (T k), from 0 to 1/k; uniform 1/N. [L, N] */
  selectionShare(weights?: ArrayLike<number>): Float64Array {
    const routes = this.tokens(weights) * this.shape.numExpertsPerToken;
    return this.counts(weights).map((count) => count / routes);
  }

  /** Selection rate h_e = c_e / T, from 0 to 1; uniform k/N. [L, N] */
  selectionRate(weights?: ArrayLike<number>): Float64Array {
    const tokens = this.tokens(weights);
    return this.counts(weights).map((count) => count / tokens);
  }

  /** N f_e, from 0 to N/k; uniform 1. NeMo Automodel. [L, N] */
  utilization(weights?: ArrayLike<number>): Float64Array {
    const { numExperts } = this.shape;
    return this.selectionShare(weights).map((share) => share * numExperts);
  }

  /** h_e of one document, c_e(s) / tokens of s; NaN for a document without selected tokens. [L, N] */
  documentRate(document: number): Float64Array {
    const tokens = this.tokensOfDocument[document]!;
    return Float64Array.from(this.#counts[document] ?? new Uint32Array(this.#width), (count) => count / tokens);
  }

  /** Mean gate over the tokens of one document, 0 where e was not chosen. [L, N] */
  documentGate(document: number): Float64Array {
    const tokens = this.tokensOfDocument[document]!;
    return Float64Array.from(this.#gateMass[document] ?? new Float64Array(this.#width), (mass) => mass / tokens);
  }

  /** c_e of one document, a view; undefined where none of its tokens was selected. [L, N] */
  documentCounts(document: number): Uint32Array | undefined {
    return this.#counts[document];
  }

  /** Every figure of `LOAD_METRICS` for every layer, with interval and nulls. */
  figures(options: BootstrapOptions & { nullDraws?: number } = {}): LoadFigure[] {
    const { layers, numExperts, numExpertsPerToken } = this.shape;
    const metrics = Object.entries(LOAD_METRICS);
    const valuesOf = (weights?: ArrayLike<number>): number[] =>
      rowsOf(this.counts(weights), numExperts).flatMap((counts) =>
        metrics.map(([, metric]) => metric.of(counts, numExpertsPerToken)),
      );
    const values = valuesOf();
    const { lower, upper } = documentBootstrap(this.documents.length, valuesOf, options);
    const shape = { numExperts, numExpertsPerToken, numTokens: this.tokens() };
    const nulls = metrics.map(([, { of }]) => uniformNull(of, shape, { draws: options.nullDraws, seed: options.seed }));
    return values.map((value, i) => {
      const [name, metric] = metrics[i % metrics.length]!;
      return {
        layer: layers[Math.floor(i / metrics.length)]!,
        metric: name,
        formula: metric.formula,
        value,
        n: shape.numTokens,
        interval: [lower[i]!, upper[i]!],
        uniform: nulls[i % metrics.length]!,
        floor: metric.floor?.(shape),
        ceiling: metric.ceiling?.(shape),
      };
    });
  }

  get #width(): number {
    return this.shape.layers.length * this.shape.numExperts;
  }
}

/** The load of one trace, or of several; a load is returned as it is. */
export function loadOf(routes: RoutingLoad | RouterTrace | Iterable<RouterTrace>): RoutingLoad {
  if (routes instanceof RoutingLoad) return routes;
  const load = new RoutingLoad();
  for (const trace of Symbol.iterator in routes ? routes : [routes]) load.add(trace);
  return load;
}
