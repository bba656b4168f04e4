/** Entropy and its relatives, in nats, from counts. */

import { sumOf } from "./numbers.js";

/** H = -sum f ln f of the shares f = weights / sum of weights; 0 ln 0 = 0. NaN where nothing was counted. Shannon 1948. */
export function entropy(weights: ArrayLike<number>): number {
  const total = sumOf(weights);
  if (!(total > 0)) return Number.NaN;
  let sum = 0;
  for (let i = 0; i < weights.length; i++)
    if (weights[i]! > 0) sum -= (weights[i]! / total) * Math.log(weights[i]! / total);
  return sum;
}

/**
 * Plug-in mutual information of a table of counts, sum p_xy ln(p_xy / (p_x p_y)). Biased upward by about (R - 1)(C - 1) / (2n).
 * `table`: [rows, columns]. NaN for an empty table.
 */
export function mutualInformation(table: ArrayLike<number>, columns: number): number {
  const { rowSums, columnSums, total } = marginsOf(table, columns);
  if (!(total > 0)) return Number.NaN;
  let sum = 0;
  for (let row = 0, cell = 0; row < rowSums.length; row++) {
    for (let column = 0; column < columns; column++, cell++) {
      const count = table[cell]!;
      if (count > 0) sum += (count / total) * Math.log((count * total) / (rowSums[row]! * columnSums[column]!));
    }
  }
  return sum;
}

/**
 * Plug-in mutual information less (R - 1)(C - 1) / (2n), R and C the occupied rows and columns (Miller 1955). It treats the n counts as
 * independent, and overshoots below 0 where the table has more cells than counts.
 */
export function millerMadow(table: ArrayLike<number>, columns: number): number {
  const { rowSums, columnSums, total } = marginsOf(table, columns);
  const occupied = (sums: Float64Array) => sums.filter((sum) => sum > 0).length;
  return mutualInformation(table, columns) - ((occupied(rowSums) - 1) * (occupied(columnSums) - 1)) / (2 * total);
}

/**
 * Generalised Jensen-Shannon divergence in nats, H(sum w_i f_i) - sum w_i H(f_i); weights are divided by their sum (Lin 1991). With two
 * distributions and equal weights its square root is the distance that scipy calls `jensenshannon`.
 */
export function jensenShannon(distributions: readonly ArrayLike<number>[], weights: ArrayLike<number>): number {
  const totalWeight = sumOf(weights);
  const mixture = new Float64Array(distributions[0]?.length ?? 0);
  let within = 0;
  for (const [index, distribution] of distributions.entries()) {
    const weight = weights[index]! / totalWeight;
    const total = sumOf(distribution);
    for (let i = 0; i < mixture.length; i++) mixture[i]! += (weight * distribution[i]!) / total;
    within += weight * entropy(distribution);
  }
  return entropy(mixture) - within;
}

/** Row and column sums of a table [rows, columns], and the sum of all. */
export function marginsOf(
  table: ArrayLike<number>,
  columns: number,
): { rowSums: Float64Array; columnSums: Float64Array; total: number } {
  const rowSums = new Float64Array(table.length / columns);
  const columnSums = new Float64Array(columns);
  for (let cell = 0; cell < table.length; cell++) {
    rowSums[Math.floor(cell / columns)]! += table[cell]!;
    columnSums[cell % columns]! += table[cell]!;
  }
  return { rowSums, columnSums, total: sumOf(rowSums) };
}
