/** Measures of how far two results are apart; NaN makes every one of them NaN, which fails every comparison. */

export function maxAbsDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`Expected ${expected.length} values, got ${actual.length}.`);
  let largest = 0;
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= largest)) largest = difference;
    if (Number.isNaN(largest)) return Number.NaN;
  }
  return largest;
}

export function standardDeviation(values: ArrayLike<number>): number {
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    sum += values[i]!;
    squares += values[i]! ** 2;
  }
  const mean = sum / values.length;
  return Math.sqrt(squares / values.length - mean ** 2);
}

/** Number of rows from `firstRow` on whose two largest logits are further apart than `margin`. */
export function firstNearTie(logits: Float32Array, vocabSize: number, firstRow: number, margin: number): number {
  const rows = logits.length / vocabSize;
  for (let row = firstRow; row < rows; row++) {
    const [best, second] = [...logits.subarray(row * vocabSize, (row + 1) * vocabSize)].sort((a, b) => b - a);
    if (!(best! - second! > margin)) return row - firstRow;
  }
  return rows - firstRow;
}

/** Whether two typed arrays hold the same bits; a NaN equals itself, 0 and -0 differ. Quicker than a deep comparison of numbers. */
export function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const bytes = (view: ArrayBufferView) => Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  return bytes(a).equals(bytes(b));
}

/**
 * How many generated tokens are to equal the golden ones: up to the first near-tie, or to the end-of-text token that the text stopped
 * at before. A text that stopped without one is too short.
 */
export function comparableLength(tokenIds: Int32Array, eosTokenIds: readonly number[], untilNearTie: number): number {
  if (tokenIds.length >= untilNearTie) return untilNearTie;
  if (!eosTokenIds.includes(tokenIds.at(-1)!))
    throw new Error(`The text stopped after ${tokenIds.length} tokens without an end.`);
  return tokenIds.length;
}
