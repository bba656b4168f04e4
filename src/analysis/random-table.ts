/** Random tables with given row and column sums: what permuting labels over tokens makes of a table of counts, without the tokens. */

import { gammaln } from "simple-statistics";
import type { Random } from "./random.js";

/**
 * A table with these margins, as permuting one label over all items would give it; row by row, each cell hypergeometric given the cells
 * before it. `rowSums` and `columnSums` have the same total. The table is written into `table` [rows, columns].
 */
export function fillRandomTable(
  rowSums: ArrayLike<number>,
  columnSums: ArrayLike<number>,
  random: Random,
  table: Float64Array,
): void {
  const left = Float64Array.from(columnSums);
  const columns = left.length;
  let total = left.reduce((sum, value) => sum + value, 0);
  for (let row = 0; row < rowSums.length; row++) {
    let toPlace = rowSums[row]!;
    let behind = total;
    for (let column = 0; column < columns; column++) {
      const available = left[column]!;
      const drawn = hypergeometric(available, behind - available, toPlace, random);
      table[row * columns + column] = drawn;
      left[column] = available - drawn;
      toPlace -= drawn;
      behind -= available;
    }
    total -= rowSums[row]!;
  }
}

/**
 * How many of `draws` items drawn without replacement are good, of `good` and `bad` ones. By inversion outwards from the mode, so the
 * work grows with the standard deviation, not with the counts.
 */
export function hypergeometric(good: number, bad: number, draws: number, random: Random): number {
  const lowest = Math.max(0, draws - bad);
  const highest = Math.min(good, draws);
  if (lowest === highest) return lowest;
  const mode = Math.min(highest, Math.floor(((draws + 1) * (good + 1)) / (good + bad + 2)));
  const atMode = Math.exp(logChoose(good, mode) + logChoose(bad, draws - mode) - logChoose(good + bad, draws));
  let rest = random.next() - atMode;
  let low = mode;
  let high = mode;
  let atLow = atMode;
  let atHigh = atMode;
  while (rest >= 0 && (low > lowest || high < highest)) {
    if (high < highest) {
      atHigh *= ((good - high) * (draws - high)) / ((high + 1) * (bad - draws + high + 1));
      high++;
      rest -= atHigh;
      if (rest < 0) return high;
    }
    if (low > lowest) {
      atLow *= (low * (bad - draws + low)) / ((good - low + 1) * (draws - low + 1));
      low--;
      rest -= atLow;
      if (rest < 0) return low;
    }
  }
  // Rounding may leave a rest of the size of the error of the sum, 1e-12 or so.
  return mode;
}

function logChoose(n: number, k: number): number {
  return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1);
}
