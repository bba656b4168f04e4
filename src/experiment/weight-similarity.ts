/** Which experts of a layer have similar weights. The neurons of an expert have no order, which only CKA does not mind. */

import { Random } from "../analysis/random.js";
import { alignment, angularSimilarity } from "../analysis/similarity.js";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { withFile } from "../checkpoint/file-source.js";
import { sumBytes } from "../checkpoint/storage-types.js";
import { invalidArgument } from "../errors.js";
import { loadAddon } from "../native/addon.js";
import type { PlanTensor } from "../native/binding.js";

export const WEIGHT_MEASURES: readonly ["cosine", "angular", "jsd", "cka"] = ["cosine", "angular", "jsd", "cka"];
export type WeightMeasure = (typeof WEIGHT_MEASURES)[number];

export interface WeightSimilarity {
  layer: number;
  measure: WeightMeasure;
  /** Symmetric. [numExperts, numExperts] */
  values: Float64Array;
  /** What weights of the same sizes give that have nothing to do with each other. NaN on the diagonal. [numExperts, numExperts] */
  null: Float64Array;
}

export interface WeightSimilarityOptions {
  /** CKA is of so many of the hidden dimensions, drawn at random; default 256. */
  maxDimensions?: number;
  seed?: number;
}

/** Rows of a matrix that are read at once, of every expert. */
const PIECE_ROWS = 64;

/**
 * Similarity of the gate, up and down projections of every pair of experts. REAP's and chuk's measures.
 *
 * `cosine`, `angular` (1 - acos(cosine) / pi): of all weights as one vector. Null 0 and 1/2, with a standard deviation of about 1 / sqrt(n)
 * of n weights. Two experts of one function may have a cosine of 0, so a high value says much and a low one nothing.
 * `jsd`: divergence of the softmax of both vectors in nats, 0 (equal) to ln 2; null: the second one's weights in another order.
 * `cka`: linear CKA with the hidden dimensions as examples and the neurons as features, 0 to 1: the order of neurons changes nothing; null:
 * the second one's hidden dimensions permuted.
 *
 * Memory: 64 rows of every expert; for CKA 16 x maxDimensions² bytes of every expert.
 *
 * @throws InvalidArgumentError for a layer without experts, or an unknown measure
 */
export function expertWeightSimilarity(
  checkpoint: Checkpoint,
  layer: number,
  measure: WeightMeasure = "cosine",
  { maxDimensions = 256, seed = 0 }: WeightSimilarityOptions = {},
): WeightSimilarity {
  const experts = new ExpertWeights(checkpoint, layer);
  const n = experts.count;
  const random = new Random(seed);
  if (measure === "cka") {
    const dimensions = someOf(checkpoint.config.hiddenSize, maxDimensions, random);
    const grams = neuronGrams(experts, dimensions);
    const order = shuffled(dimensions.length, random);
    const moved = grams.map((gram) => gram.map((_, cell) => gram[movedCell(cell, order)]!));
    return {
      ...{ layer, measure, values: pairs(n, (a, b) => alignment(grams[a]!, grams[b]!)) },
      null: pairs(n, (a, b) => (a === b ? Number.NaN : alignment(grams[a]!, moved[b]!))),
    };
  }
  if (measure === "jsd") {
    const [values, chance] = softmaxDivergences(experts);
    return {
      layer,
      measure,
      values: pairs(n, (a, b) => values[a * n + b]!),
      null: pairs(n, (a, b) => chance[a * n + b]!),
    };
  }
  if (measure !== "cosine" && measure !== "angular")
    throw invalidArgument("measure", WEIGHT_MEASURES.join(", "), measure);
  const products = dotProducts(experts);
  const of = measure === "angular" ? angularSimilarity : (cosine: number) => cosine;
  const cosine = (a: number, b: number) =>
    a === b ? 1 : products[a * n + b]! / Math.sqrt(products[a * n + a]! * products[b * n + b]!);
  const values = pairs(n, (a, b) => of(cosine(a, b)));
  return { layer, measure, values, null: pairs(n, (a, b) => (a === b ? Number.NaN : of(0))) };
}

/** The stored matrices of a layer's experts, decoded some rows at a time. */
class ExpertWeights {
  readonly count: number;
  readonly #checkpoint: Checkpoint;
  readonly #parts: ReadonlyMap<string, readonly PlanTensor[]>;

  constructor(checkpoint: Checkpoint, layer: number) {
    this.count = checkpoint.config.numExperts;
    this.#checkpoint = checkpoint;
    this.#parts = new Map(
      ["gate", "up", "down"].map((part) => {
        const matrices = Array.from({ length: this.count }, (_, expert) =>
          checkpoint.plan.tensors.find(({ role }) => role === `layers.${layer}.experts.${expert}.${part}`),
        );
        if (this.count === 0 || matrices.includes(undefined)) throw invalidArgument("layer", "an MoE layer", layer);
        return [part, matrices as PlanTensor[]];
      }),
    );
  }

  /** The same rows of every expert, piece by piece; gate and up have a row for each neuron, down for each hidden dimension. */
  *pieces(): Generator<{ part: string; firstRow: number; cols: number; rows: Float32Array[] }> {
    for (const [part, matrices] of this.#parts) {
      const { rows: count, cols } = matrices[0]!;
      for (let firstRow = 0; firstRow < count; firstRow += PIECE_ROWS) {
        const rows = matrices.map((matrix) => this.#read(matrix, firstRow, Math.min(PIECE_ROWS, count - firstRow)));
        yield { part, firstRow, cols, rows };
      }
    }
  }

  #read({ file, offset, dtype, cols }: PlanTensor, row: number, rows: number): Float32Array {
    const rowBytes = sumBytes([{ dtype, rows: 1, cols }]);
    const path = this.#checkpoint.plan.files[file]!;
    const bytes = withFile(path, (source) => source.read(offset + row * rowBytes, rows * rowBytes));
    return loadAddon().dequantize(dtype, bytes);
  }
}

function dotProducts(experts: ExpertWeights): Float64Array {
  const products = new Float64Array(experts.count ** 2);
  for (const { rows } of experts.pieces()) {
    for (const [a, va] of rows.entries()) {
      for (let b = a; b < rows.length; b++) {
        const vb = rows[b]!;
        let dot = 0;
        for (let i = 0; i < va.length; i++) dot += va[i]! * vb[i]!;
        products[a * rows.length + b]! += dot;
      }
    }
  }
  return products;
}

/** JSD of the softmaxed weights of each pair a < b, and of a with b backwards within each piece. */
function softmaxDivergences(experts: ExpertWeights): [values: Float64Array, chance: Float64Array] {
  const n = experts.count;
  const totals = new Float64Array(n);
  // Weights are far below the range of exp, so no maximum needs to be taken off.
  for (const { rows } of experts.pieces()) {
    for (const [e, row] of rows.entries()) totals[e] = row.reduce((sum, weight) => sum + Math.exp(weight), totals[e]!);
  }
  const [values, chance] = [new Float64Array(n * n), new Float64Array(n * n)];
  for (const { rows } of experts.pieces()) {
    const shares = rows.map((row, e) => Float64Array.from(row, (weight) => Math.exp(weight) / totals[e]!));
    const backwards = shares.map((row) => row.slice().reverse());
    for (let a = 0; a < n; a++) {
      for (let b = a + 1; b < n; b++) {
        values[a * n + b]! += divergence(shares[a]!, shares[b]!);
        chance[a * n + b]! += divergence(shares[a]!, backwards[b]!);
      }
    }
  }
  for (let a = 0; a < n; a++) chance[a * n + a] = Number.NaN;
  return [values, chance];
}

/** Part of a Jensen-Shannon divergence in nats: sum of p/2 ln(p/m) + q/2 ln(q/m), m = (p + q)/2. */
function divergence(p: Float64Array, q: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const [x, y] = [p[i]!, q[i]!];
    // With d = (x - y)/(x + y): small differences keep their digits.
    const d = (x - y) / (x + y);
    sum += ((x + y) / 4) * ((1 + d) * Math.log1p(d) + (1 - d) * Math.log1p(-d));
  }
  return sum;
}

/** For each expert the Gram matrix of hidden dimensions over neurons, each neuron's mean taken off. [experts][D, D] */
function neuronGrams(experts: ExpertWeights, dimensions: Int32Array): Float64Array[] {
  const size = dimensions.length;
  const grams = Array.from({ length: experts.count }, () => new Float64Array(size * size));
  const picked = new Float64Array(size);
  // Rows of down that were drawn, until all are there. [experts][D][neurons]
  const down = grams.map((): Float32Array[] => []);
  for (const { part, firstRow, cols, rows } of experts.pieces()) {
    for (const [e, piece] of rows.entries()) {
      for (let row = 0; row < piece.length / cols; row++) {
        const values = piece.subarray(row * cols, (row + 1) * cols);
        if (part === "down") {
          const place = dimensions.indexOf(firstRow + row);
          if (place >= 0) down[e]![place] = values.slice();
          continue;
        }
        for (let i = 0; i < size; i++) picked[i] = values[dimensions[i]!]!;
        addOuter(grams[e]!, picked);
      }
    }
  }
  for (const [e, rows] of down.entries()) {
    for (let neuron = 0; neuron < rows[0]!.length; neuron++) {
      for (let i = 0; i < size; i++) picked[i] = rows[i]![neuron]!;
      addOuter(grams[e]!, picked);
    }
  }
  return grams;
}

/** gram += v v^T, v less its mean. */
function addOuter(gram: Float64Array, v: Float64Array): void {
  const mean = v.reduce((sum, value) => sum + value, 0) / v.length;
  for (let i = 0; i < v.length; i++) {
    const x = v[i]! - mean;
    for (let j = 0; j < v.length; j++) gram[i * v.length + j]! += x * (v[j]! - mean);
  }
}

function someOf(count: number, most: number, random: Random): Int32Array {
  return shuffled(count, random).subarray(0, Math.min(count, most)).sort();
}

function shuffled(count: number, random: Random): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  random.shuffle(order);
  return order;
}

function movedCell(cell: number, order: Int32Array): number {
  return order[Math.floor(cell / order.length)]! * order.length + order[cell % order.length]!;
}

/** A symmetric table of the pairs a <= b. */
function pairs(count: number, of: (a: number, b: number) => number): Float64Array {
  return Float64Array.from({ length: count * count }, (_, cell) => {
    const [a, b] = [Math.floor(cell / count), cell % count];
    return a <= b ? of(a, b) : of(b, a);
  });
}
