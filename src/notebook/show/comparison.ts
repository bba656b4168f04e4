/** Two runs item by item: scores side by side, the paired difference with its interval, and who was right alone. */
import type { ShowOptions } from "./show.js";
import { tableBundle } from "./table.js";

/** What is read of a `Comparison`; the notebook stands beside `eval` and does not import it. */
interface ComparisonLike {
  task: string;
  track: string;
  scorer: string;
  n: number;
  unmatched: number;
  differentPrompts: number;
  a: number;
  b: number;
  difference: number;
  interval: readonly number[];
  discordant?: { onlyA: number; onlyB: number; p: number };
}

export function isComparison(value: unknown): value is readonly ComparisonLike[] {
  const isOne = (row: unknown): boolean =>
    typeof row === "object" && row !== null && "differentPrompts" in row && "unmatched" in row && "difference" in row;
  return Array.isArray(value) && value.length > 0 && value.every(isOne);
}

export function comparisonBundle(
  comparisons: readonly ComparisonLike[],
  options: ShowOptions = {},
): Record<string, unknown> {
  const rows = comparisons.map(({ task, track, scorer, n, a, b, difference, interval, discordant, ...doubts }) => ({
    ...{ task, track, metric: scorer, n, a, b, "b - a": difference, "95 % interval": [...interval] },
    ...(discordant && { "only a": discordant.onlyA, "only b": discordant.onlyB, p: discordant.p }),
    // Said only where something does not match: such a difference is not of the models alone.
    ...(doubts.unmatched > 0 && { unmatched: doubts.unmatched }),
    ...(doubts.differentPrompts > 0 && { "different prompts": doubts.differentPrompts }),
  }));
  return tableBundle(rows, { title: "Paired comparison, b against a", ...options });
}
