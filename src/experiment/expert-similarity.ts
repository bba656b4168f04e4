/** Which experts of a layer are alike: by what they answer to the same tokens, and by their weights. */

import { Random } from "../analysis/random.js";
import {
  alignment,
  angularSimilarity,
  centredGram,
  outputSimilarity,
  type SimilarityMeasure,
} from "../analysis/similarity.js";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { withFile } from "../checkpoint/file-source.js";
import { sumBytes } from "../checkpoint/storage-types.js";
import { invalidArgument } from "../errors.js";
import type { Model } from "../model/model.js";
import { loadAddon } from "../native/addon.js";
import type { PlanTensor } from "../native/binding.js";
import { expertOutputs } from "./layer-outputs.js";

export interface SimilarityOptions {
  measure?: SimilarityMeasure;
  /** Tokens over all documents; default 256. Memory: 4 bytes x experts x tokens x hiddenSize. */
  maxTokens?: number;
  seed?: number;
  signal?: AbortSignal;
}

export interface ExpertSimilarity {
  layer: number;
  measure: SimilarityMeasure;
  tokens: number;
  /** Symmetric. [numExperts, numExperts] */
  values: Float64Array;
  /** The same with the second expert's tokens permuted: what unrelated tokens give. NaN on the diagonal. [numExperts, numExperts] */
  null: Float64Array;
}

/**
 * Similarity of what all experts of a layer answer to all tokens, chosen or not; `Contributions.outputSimilarity` has it over the tokens
 * that chose both. Measures and sources: `analysis/similarity.ts`.
 *
 * @throws InvalidArgumentError for a layer without experts
 */
export async function expertSimilarity(
  model: Model,
  documents: readonly ArrayLike<number>[],
  layer: number,
  options: SimilarityOptions = {},
): Promise<ExpertSimilarity> {
  const { measure = "cosine", maxTokens = 256, seed = 0, signal } = options;
  const outputs = await expertOutputs(model, cut(documents, maxTokens), layer, signal);
  const width = model.config.hiddenSize;
  const tokens = outputs[0]!.length / width;
  const order = Int32Array.from({ length: tokens }, (_, token) => token);
  new Random(seed).shuffle(order);
  const shuffled = outputs.map((rows) => rowsInOrder(rows, order, width));
  const compare = comparison(measure, width);
  const [own, permuted] = [outputs.map(compare.prepare), shuffled.map(compare.prepare)];
  const numExperts = outputs.length;
  const values = new Float64Array(numExperts * numExperts);
  const expected = new Float64Array(values.length).fill(Number.NaN);
  for (let a = 0; a < numExperts; a++) {
    for (let b = a; b < numExperts; b++) {
      values[a * numExperts + b] = values[b * numExperts + a] = compare.of(own[a]!, own[b]!);
      if (a !== b) expected[a * numExperts + b] = expected[b * numExperts + a] = compare.of(own[a]!, permuted[b]!);
    }
  }
  return { layer, measure, tokens, values, null: expected };
}

/** What is computed once for each expert, and for each pair: CKA compares Gram matrices, the others rows. */
function comparison(measure: SimilarityMeasure, width: number) {
  if (measure === "cka") return { prepare: (rows: Float32Array) => centredGram(rows, width), of: alignment };
  return {
    prepare: (rows: Float32Array) => Float64Array.from(rows),
    of: (a: Float64Array, b: Float64Array) => outputSimilarity(a, b, width, measure),
  };
}

function cut(documents: readonly ArrayLike<number>[], maxTokens: number): Int32Array[] {
  let left = maxTokens;
  return documents.flatMap((document) => {
    const ids = Int32Array.from(document).subarray(0, left);
    left -= ids.length;
    return ids.length === 0 ? [] : [ids];
  });
}

function rowsInOrder(rows: Float32Array, order: Int32Array, width: number): Float32Array {
  const moved = new Float32Array(rows.length);
  for (const [to, from] of order.entries()) moved.set(rows.subarray(from * width, (from + 1) * width), to * width);
  return moved;
}

/** Rows of a matrix that are read at once, of every expert. */
const PIECE_ROWS = 64;

/**
 * Cosine of the experts' weights, gate, up and down projections as one vector, or `angular`: 1 - acos(cosine) / pi. chuk. The neurons of an
 * expert have no order: two experts of one function may have a cosine of 0, so a high value says much and a low one nothing. Unrelated
 * weights of n elements give 0 with a standard deviation of about 1 / sqrt(n). Memory: 64 rows of every expert.
 *
 * @returns symmetric, 1 on the diagonal. [numExperts, numExperts]
 * @throws InvalidArgumentError for a layer without experts
 */
export function expertWeightSimilarity(
  checkpoint: Checkpoint,
  layer: number,
  measure: "cosine" | "angular" = "cosine",
): Float64Array {
  const { plan, config } = checkpoint;
  const { numExperts } = config;
  const gram = new Float64Array(numExperts * numExperts);
  for (const part of ["gate", "up", "down"]) {
    const matrices = Array.from({ length: numExperts }, (_, expert) =>
      plan.tensors.find(({ role }) => role === `layers.${layer}.experts.${expert}.${part}`),
    );
    if (numExperts === 0 || matrices.includes(undefined)) throw invalidArgument("layer", "an MoE layer", layer);
    const { rows } = matrices[0]!;
    for (let row = 0; row < rows; row += PIECE_ROWS) {
      const pieces = matrices.map((matrix) => rowsOf(checkpoint, matrix!, row, Math.min(PIECE_ROWS, rows - row)));
      addProducts(gram, pieces);
    }
  }
  return gram.map((product, cell) => {
    const [a, b] = [Math.floor(cell / numExperts), cell % numExperts];
    const cosine = a === b ? 1 : product / Math.sqrt(gram[a * numExperts + a]! * gram[b * numExperts + b]!);
    return measure === "cosine" ? cosine : angularSimilarity(cosine);
  });
}

function addProducts(gram: Float64Array, vectors: readonly Float32Array[]): void {
  for (const [a, va] of vectors.entries()) {
    for (let b = a; b < vectors.length; b++) {
      const vb = vectors[b]!;
      let dot = 0;
      for (let i = 0; i < va.length; i++) dot += va[i]! * vb[i]!;
      gram[a * vectors.length + b]! += dot;
      if (a !== b) gram[b * vectors.length + a]! += dot;
    }
  }
}

function rowsOf(
  { plan }: Checkpoint,
  { file, offset, dtype, cols }: PlanTensor,
  row: number,
  rows: number,
): Float32Array {
  const rowBytes = sumBytes([{ dtype, rows: 1, cols }]);
  const bytes = withFile(plan.files[file]!, (source) => source.read(offset + row * rowBytes, rows * rowBytes));
  return loadAddon().dequantize(dtype, bytes);
}
