/** Checks and conversions that every plot needs. */

import { invalidArgument } from "../errors.js";

/** Throws INVALID_ARGUMENT unless there are as many values as the shape has. */
export function checkSize(name: string, values: ArrayLike<unknown>, shape: string, expected: number): void {
  if (values.length !== expected) throw invalidArgument(name, `${expected} values (${shape})`, values.length);
}

/** The value, or null where it is not finite: JSON has no NaN. */
export function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** The labels to print of 0..n-1 so that they stay legible: all up to 16, else every 4th, 8th, ... */
export function sparseLabels(n: number): number[] {
  let step = 1;
  while (n / step > 16) step *= step === 1 ? 4 : 2;
  return Array.from({ length: Math.ceil(n / step) }, (_, i) => i * step);
}

/** Pixels for a cell of a matrix with n columns, so that large ones still fit a page. */
export function cellSize(n: number): number {
  return n <= 16 ? 22 : n <= 32 ? 14 : 9;
}
