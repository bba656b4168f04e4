/**
 * Intervals for figures whose sums are too large to keep by document: documents are dealt out to a few groups, and groups are resampled in
 * their place. With no more documents than groups this is the bootstrap over documents.
 */

import { type Bootstrap, type BootstrapOptions, documentBootstrap } from "./bootstrap.js";
import { addScaled } from "./numbers.js";

/** As many intervals can tell apart; a table for each is kept. */
export const DOCUMENT_GROUPS = 32;

/** Tables of counts by group of documents; document d is in group d mod 32. */
export class GroupedTables {
  readonly #size: number;
  readonly #groups: Float64Array[] = [];

  /** `size`: numbers in a table. */
  constructor(size: number) {
    this.#size = size;
  }

  /** The table of a document's group, to be added to. */
  of(document: number): Float64Array {
    const group = document % DOCUMENT_GROUPS;
    this.#groups[group] ??= new Float64Array(this.#size);
    return this.#groups[group]!;
  }

  /** The sum of all tables from `start` to `end`; with weights, each group counts as often as its weight says. */
  pooled(start: number, end: number, weights?: ArrayLike<number>): Float64Array {
    const sum = new Float64Array(end - start);
    for (const [group, table] of this.#groups.entries()) {
      const weight = weights?.[group] ?? 1;
      if (table !== undefined && weight !== 0) addScaled(sum, table.subarray(start, end), weight);
    }
    return sum;
  }
}

/** Tokens of each group. */
export function tokensOfGroups(tokensOfDocument: readonly number[]): Float64Array {
  const tokens = new Float64Array(Math.min(DOCUMENT_GROUPS, tokensOfDocument.length));
  for (const [document, count] of tokensOfDocument.entries()) tokens[document % DOCUMENT_GROUPS]! += count;
  return tokens;
}

/** Percentile intervals of a statistic of weights by group. Too narrow by about 1 / (2 x groups) of their width. */
export function groupBootstrap(
  numDocuments: number,
  statistic: (weights: Float64Array) => ArrayLike<number>,
  options?: BootstrapOptions,
): Bootstrap {
  return documentBootstrap(Math.min(DOCUMENT_GROUPS, numDocuments), statistic, options);
}
