/**
 * Statistics of order and agreement. A missing value throws; a question without an answer (one item, one class, all ties) gives NaN,
 * never 0 or 1/2, which would look like a result.
 */

import { sampleCorrelation } from "simple-statistics";
import { checkNumbers, checkSameLength } from "./numbers.js";

/** Ranks from 1; equal values share their mean rank. */
export function midRanks(values: ArrayLike<number>): Float64Array {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const ranks = new Float64Array(values.length);
  for (let start = 0, end = 0; start < order.length; start = end) {
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let i = start; i < end; i++) ranks[order[i]!] = (start + end + 1) / 2;
  }
  return ranks;
}

/** Spearman's ρ: Pearson's correlation of mean ranks, so ties are right. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkPaired(a, b);
  if (a.length < 2 || isConstant(a) || isConstant(b)) return Number.NaN;
  return sampleCorrelation(Array.from(midRanks(a)), Array.from(midRanks(b)));
}

/** Kendall's τ-b: (concordant - discordant) / sqrt((n0 - ties in a)(n0 - ties in b)), n0 = n(n - 1)/2. Quadratic in n. */
export function kendallTauB(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkPaired(a, b);
  let score = 0;
  let untiedA = 0;
  let untiedB = 0;
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < i; j++) {
      const orderA = Math.sign(a[i]! - a[j]!);
      const orderB = Math.sign(b[i]! - b[j]!);
      score += orderA * orderB;
      untiedA += Math.abs(orderA);
      untiedB += Math.abs(orderB);
    }
  }
  return score / Math.sqrt(untiedA * untiedB);
}

/** Area under the ROC curve: the chance that a positive item scores above a negative one, a tie counting 1/2 (Mann and Whitney 1947). */
export function rocAuc(scores: ArrayLike<number>, labels: ArrayLike<number | boolean>): number {
  checkNumbers("scores", scores);
  checkSameLength("labels", labels.length, scores.length);
  const ranks = midRanks(scores);
  let positives = 0;
  let rankSum = 0;
  for (let i = 0; i < scores.length; i++) {
    if (!labels[i]) continue;
    positives++;
    rankSum += ranks[i]!;
  }
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * (scores.length - positives));
}

/**
 * Standard error of an AUC by DeLong, DeLong and Clarke-Pearson 1988: of each positive, the share of negatives below it, and the other way
 * round. NaN with fewer than two of a class.
 */
export function rocAucStandardError(scores: ArrayLike<number>, labels: ArrayLike<number | boolean>): number {
  checkNumbers("scores", scores);
  checkSameLength("labels", labels.length, scores.length);
  const ranks = midRanks(scores);
  const variances = [true, false].map((isPositive) => {
    const own = Array.from({ length: scores.length }, (_, i) => i).filter((i) => Boolean(labels[i]) === isPositive);
    const within = midRanks(own.map((i) => scores[i]!));
    const others = scores.length - own.length;
    const placements = own.map((i, at) => (ranks[i]! - within[at]!) / others);
    const mean = placements.reduce((sum, value) => sum + value, 0) / own.length;
    return placements.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (own.length - 1) / own.length;
  });
  return Math.sqrt(variances[0]! + variances[1]!);
}

/** Cohen's κ, unweighted: (agreement - chance) / (1 - chance), chance from the two raters' own shares. Cohen 1960. */
export function cohenKappa<T>(a: readonly T[], b: readonly T[]): number {
  checkSameLength("b", b.length, a.length);
  const n = a.length;
  const uses = (ratings: readonly T[]) => {
    const counts = new Map<T, number>();
    for (const rating of ratings) counts.set(rating, (counts.get(rating) ?? 0) + 1);
    return counts;
  };
  const usesOfB = uses(b);
  let chance = 0;
  for (const [rating, count] of uses(a)) chance += (count * (usesOfB.get(rating) ?? 0)) / (n * n);
  const agreement = a.filter((rating, i) => rating === b[i]).length / n;
  return (agreement - chance) / (1 - chance);
}

function isConstant(values: ArrayLike<number>): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false;
  return true;
}

function checkPaired(a: ArrayLike<number>, b: ArrayLike<number>): void {
  checkNumbers("a", a);
  checkNumbers("b", b);
  checkSameLength("b", b.length, a.length);
}
