/**
 * Many tests at once: adjusted p values. Each function returns them in the order of its input; one below α is a discovery at level α.
 *
 * Throws INVALID_ARGUMENT for anything that is no p value: with an undefined test left in, the size of the family is unknown.
 */

import { invalidArgument } from "../errors.js";

/**
 * Benjamini-Hochberg: controls the false discovery rate of independent or positively dependent tests.
 * q_(i) = min over j >= i of m p_(j) / j, at most 1. Benjamini and Hochberg 1995.
 */
export function benjaminiHochberg(pValues: ArrayLike<number>): Float64Array {
  return stepUp(pValues, 1);
}

/**
 * Benjamini-Yekutieli: the false discovery rate under any dependence; Benjamini-Hochberg times sum over i = 1..m of 1/i.
 * Benjamini and Yekutieli 2001.
 */
export function benjaminiYekutieli(pValues: ArrayLike<number>): Float64Array {
  let harmonic = 0;
  for (let i = 1; i <= pValues.length; i++) harmonic += 1 / i;
  return stepUp(pValues, harmonic);
}

/** Holm: controls the chance of any false claim. max over j <= i of (m - j + 1) p_(j), at most 1. Holm 1979. */
export function holm(pValues: ArrayLike<number>): Float64Array {
  const order = ascendingOrder(pValues);
  const adjusted = new Float64Array(pValues.length);
  let largest = 0;
  for (const [rank, index] of order.entries()) {
    largest = Math.max(largest, (pValues.length - rank) * pValues[index]!);
    adjusted[index] = Math.min(1, largest);
  }
  return adjusted;
}

function stepUp(pValues: ArrayLike<number>, factor: number): Float64Array {
  const order = ascendingOrder(pValues);
  const adjusted = new Float64Array(pValues.length);
  let smallest = 1;
  for (let rank = order.length; rank > 0; rank--) {
    const index = order[rank - 1]!;
    smallest = Math.min(smallest, (factor * pValues.length * pValues[index]!) / rank);
    adjusted[index] = smallest;
  }
  return adjusted;
}

function ascendingOrder(pValues: ArrayLike<number>): Uint32Array {
  for (let i = 0; i < pValues.length; i++) {
    const p = pValues[i]!;
    if (!(p >= 0 && p <= 1)) throw invalidArgument(`pValues[${i}]`, "a number from 0 to 1", p);
  }
  return Uint32Array.from({ length: pValues.length }, (_, i) => i).sort((a, b) => pValues[a]! - pValues[b]!);
}
