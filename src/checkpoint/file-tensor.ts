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

/** Elements of a shape; undefined where they are 2^53 or more, which no file holds. */
export function countElements(shape: readonly number[]): number | undefined {
  const count = shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
  return Number.isSafeInteger(count) ? count : undefined;
}
