/**
 * How alike two experts answer, from their outputs on the same tokens. x and y are [tokens, width], row t of both for one token.
 *
 * Sources: REAP's distance functions (there 1 minus the similarity), chuk's expert comparison, Kornblith et al. 2019 (arXiv 1905.00414)
 * for CKA. REAP's `cka_distance` is 1 minus the centred cosine of single rows, which compares no two tokens: here it is named apart.
 */

import { InvalidArgumentError, invalidArgument } from "../errors.js";
import { jensenShannon } from "./information.js";
import { sumOf } from "./numbers.js";

export const SIMILARITY_MEASURES: readonly ["cosine", "angular", "centred-cosine", "jsd", "cka"] = [
  "cosine",
  "angular",
  "centred-cosine",
  "jsd",
  "cka",
];
export type SimilarityMeasure = (typeof SIMILARITY_MEASURES)[number];

/**
 * `cosine`: mean over tokens of cos(x_t, y_t), -1 to 1. `angular`: mean of 1 - acos(cos) / pi, 0 to 1. `centred-cosine`: the cosine after
 * each row's own mean is taken off. `jsd`: mean of the Jensen-Shannon divergence of softmax(x_t) and softmax(y_t) in nats, 0 (equal) to
 * ln 2. `cka`: linear CKA, see `linearCka`. NaN where a row is 0.
 *
 * @throws InvalidArgumentError for matrices of unequal size
 */
export function outputSimilarity(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  width: number,
  measure: SimilarityMeasure,
): number {
  if (!(Number.isInteger(width) && width > 0)) throw invalidArgument("width", "a whole number from 1", width);
  if (x.length !== y.length || x.length % width !== 0) {
    throw new InvalidArgumentError(
      `Expected two matrices of as many rows of ${width} numbers, got ${x.length} and ${y.length} numbers.`,
    );
  }
  if (measure === "cka") return alignment(centredGram(x, width), centredGram(y, width));
  const of = ROW_MEASURES[measure];
  if (of === undefined) throw invalidArgument("measure", SIMILARITY_MEASURES.join(", "), measure);
  let sum = 0;
  for (let at = 0; at < x.length; at += width) sum += of(rowOf(x, at, width), rowOf(y, at, width));
  return sum / (x.length / width);
}

/**
 * Linear centred kernel alignment, <K, L> / (|K| |L|) with K = X X^T and L = Y Y^T after the mean over tokens is taken off each column; 0 to
 * 1, unchanged by rotation and scale of either. Biased upward where tokens are fewer than `width`: compare with permuted tokens.
 */
export function linearCka(x: ArrayLike<number>, y: ArrayLike<number>, width: number): number {
  return outputSimilarity(x, y, width, "cka");
}

const ROW_MEASURES: Record<Exclude<SimilarityMeasure, "cka">, (a: Float64Array, b: Float64Array) => number> = {
  cosine,
  angular: (a, b) => angularSimilarity(cosine(a, b)),
  "centred-cosine": (a, b) => cosine(centred(a), centred(b)),
  jsd: (a, b) => jensenShannon([softmax(a), softmax(b)], [1, 1]),
};

/** 1 - acos(cosine) / pi: 1 for one direction, 0 for opposite ones. */
export function angularSimilarity(cos: number): number {
  return 1 - Math.acos(Math.max(-1, Math.min(1, cos))) / Math.PI;
}

/** K = X X^T after each column's mean is taken off. [tokens, tokens] */
export function centredGram(x: ArrayLike<number>, width: number): Float64Array {
  const tokens = x.length / width;
  const means = new Float64Array(width);
  for (let i = 0; i < x.length; i++) means[i % width]! += x[i]! / tokens;
  const values = Float64Array.from(x, (value, i) => value - means[i % width]!);
  const gram = new Float64Array(tokens * tokens);
  for (let s = 0; s < tokens; s++) {
    for (let t = s; t < tokens; t++) {
      let dot = 0;
      for (let i = 0; i < width; i++) dot += values[s * width + i]! * values[t * width + i]!;
      gram[s * tokens + t] = dot;
      gram[t * tokens + s] = dot;
    }
  }
  return gram;
}

/** <K, L> / (|K| |L|): CKA of two centred Gram matrices. NaN where one of them is 0. */
export function alignment(k: Float64Array, l: Float64Array): number {
  return cosine(k, l);
}

function cosine(a: Float64Array, b: Float64Array): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  return dot / Math.sqrt(aa * bb);
}

function rowOf(matrix: ArrayLike<number>, at: number, width: number): Float64Array {
  return Float64Array.from({ length: width }, (_, i) => matrix[at + i]!);
}

function centred(row: Float64Array): Float64Array {
  const mean = sumOf(row) / row.length;
  return row.map((value) => value - mean);
}

function softmax(row: Float64Array): Float64Array {
  const largest = row.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  return row.map((value) => Math.exp(value - largest));
}
