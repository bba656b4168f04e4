/** Permutation tests: what a statistic would be if labels meant nothing. Phipson and Smyth 2010 for the +1. */

import { invalidArgument } from "../errors.js";
import { checkNumbers, sumOf } from "./numbers.js";
import { Random } from "./random.js";

/** Statistics this close are ties: rounding must not decide whether a permutation counts. */
export const TIE: number = 1e-12;

/**
 * p = (1 + #{null >= observed - 1e-12}) / (B + 1), of absolute values unless the alternative is "greater". Never 0, since the observed
 * labelling is one of the permutations. NaN for an undefined statistic, which no comparison would count.
 */
export function permutationPValue(
  observed: number,
  nullStatistics: ArrayLike<number>,
  alternative: "two-sided" | "greater" = "two-sided",
): number {
  if (Number.isNaN(observed)) return Number.NaN;
  checkNumbers("nullStatistics", nullStatistics);
  const size = alternative === "greater" ? (value: number) => value : Math.abs;
  let beyond = 0;
  for (let b = 0; b < nullStatistics.length; b++) if (size(nullStatistics[b]!) >= size(observed) - TIE) beyond++;
  return (1 + beyond) / (nullStatistics.length + 1);
}

/** Differences up to which all signs are tried. */
const MOST_EXACT_SIGNS = 13;

/**
 * Two-sided p of a mean of paired differences: how often random signs give an absolute mean at least as large. Exact over all 2^n signs up
 * to n = 13, else over random ones with the +1. Differences of 0 keep their place and change nothing. NaN without differences.
 * Fisher 1935; Phipson and Smyth 2010.
 */
export function signFlipPValue(
  differences: readonly number[],
  { permutations = 9999, seed = 0 }: { permutations?: number; seed?: number } = {},
): number {
  checkNumbers("differences", differences);
  const moved = differences.filter((value) => value !== 0);
  if (differences.length === 0) return Number.NaN;
  const observed = Math.abs(sumOf(moved));
  const isBeyond = (sum: number) => Math.abs(sum) >= observed - TIE * Math.max(1, observed);
  if (moved.length <= MOST_EXACT_SIGNS) {
    let beyond = 0;
    for (let signs = 0; signs < 2 ** moved.length; signs++) {
      if (isBeyond(moved.reduce((sum, value, i) => sum + ((signs >> i) & 1 ? -value : value), 0))) beyond++;
    }
    return beyond / 2 ** moved.length;
  }
  const random = new Random(seed);
  let beyond = 0;
  for (let b = 0; b < permutations; b++) {
    let sum = 0;
    for (const value of moved) sum += random.below(2) === 0 ? value : -value;
    if (isBeyond(sum)) beyond++;
  }
  return (1 + beyond) / (permutations + 1);
}

/** Splits beyond which `exactDifferencePValue` refuses: seconds of work. */
const MOST_SPLITS = 10_000_000;

/**
 * Exact two-sided p of the difference of two means: the share of all splits of the pooled values into groups of these sizes whose
 * absolute difference is at least the observed one. No +1, the observed split is among them. NaN for an empty group.
 */
export function exactDifferencePValue(a: readonly number[], b: readonly number[]): { p: number; permutations: number } {
  checkNumbers("a", a);
  checkNumbers("b", b);
  if (a.length === 0 || b.length === 0) return { p: Number.NaN, permutations: 0 };
  const pooled = [...a, ...b];
  const total = sumOf(pooled);
  let splits = 1;
  for (let i = 1; i <= a.length; i++) splits = (splits * (b.length + i)) / i;
  if (splits > MOST_SPLITS) {
    throw invalidArgument("a and b", `groups with at most ${MOST_SPLITS} splits (permute at random instead)`, splits);
  }
  const difference = (sumA: number) => Math.abs(sumA / a.length - (total - sumA) / b.length);
  const observed = difference(sumOf(a));
  let beyond = 0;
  let permutations = 0;
  const visit = (first: number, left: number, sum: number): void => {
    if (left === 0) {
      permutations++;
      if (difference(sum) >= observed - TIE) beyond++;
      return;
    }
    for (let i = first; i <= pooled.length - left; i++) visit(i + 1, left - 1, sum + pooled[i]!);
  };
  visit(0, a.length, 0);
  return { p: beyond / permutations, permutations };
}

/** Items by group number, ascending. */
export function groupsOf(strata: ArrayLike<number>): Int32Array[] {
  const groups: number[][] = [];
  for (let i = 0; i < strata.length; i++) {
    groups[strata[i]!] ??= [];
    groups[strata[i]!]!.push(i);
  }
  return groups.filter((group) => group !== undefined).map((group) => Int32Array.from(group));
}

/** Shuffles the labels uniformly inside each group of items, in place. */
export function shuffleWithin(labels: Uint8Array, groups: readonly Int32Array[], random: Random): void {
  for (const group of groups) {
    const values = Uint8Array.from(group, (item) => labels[item]!);
    random.shuffle(values);
    for (let i = 0; i < group.length; i++) labels[group[i]!] = values[i]!;
  }
}
