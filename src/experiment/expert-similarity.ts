/** Which experts of a layer are alike by what they answer to the same tokens; `weight-similarity.ts` has it of their weights. */

import { Random } from "../analysis/random.js";
import { alignment, centredGram, outputSimilarity, type SimilarityMeasure } from "../analysis/similarity.js";
import type { Model } from "../model/model.js";
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
