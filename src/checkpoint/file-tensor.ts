import type { StorageType } from "./storage-types.js";

/** A tensor as a file's header describes it, already checked against the size of the file. */
export interface FileTensor {
  name: string;
  type: StorageType;
  /** Slowest dimension first, as in Hugging Face: a weight is [out, in], stacked experts are [experts, out, in]. */
  shape: number[];
  /** Index into the list of files that came with it. */
  file: number;
  /** Bytes from the start of the file. */
  offset: number;
  sizeBytes: number;
}

/** "[2560, 3584]" */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/**
 * Elements of a shape, or undefined where some product on the way does not fit in 2^53: such a tensor is in no file, even if
 * another dimension is 0.
 */
export function countElements(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (!Number.isSafeInteger(count)) return undefined;
  }
  return count;
}
