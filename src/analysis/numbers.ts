/** Small sums that several analyses share. */

import { invalidArgument } from "../errors.js";

export function sumOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

/** Quantile of ascending values by linear interpolation (type 7, as numpy); NaN of nothing. */
export function quantileOfSorted(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)]!;
  const high = sorted[Math.ceil(at)]!;
  return low + (high - low) * (at - Math.floor(at));
}

/** Index of the largest value, the lowest one of equals. */
export function argMax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** Throws INVALID_ARGUMENT for NaN: a missing value is the caller's to drop, who then knows n. */
export function checkNumbers(name: string, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    if (typeof values[i] === "number" && !Number.isNaN(values[i])) continue;
    throw invalidArgument(`${name}[${i}]`, "a number (drop missing values first, and state n)", values[i]);
  }
}

export function checkSameLength(name: string, actual: number, expected: number): void {
  if (actual !== expected) throw invalidArgument(name, `${expected} values, one for each item`, actual);
}

/** target += scale source, over the length of the source. */
export function addScaled(target: Float64Array, source: ArrayLike<number>, scale: number = 1): void {
  for (let i = 0; i < source.length; i++) target[i]! += scale * source[i]!;
}
