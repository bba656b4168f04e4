/** What a change does to the same items: differences item by item, with their error. */

import { signFlipPValue } from "../analysis/permutation.js";
import { InvalidArgumentError } from "../errors.js";
import { type Interval, mcnemarOfItems, mean, normalInterval, standardError } from "../eval/statistics.js";
import type { Answer } from "./questions.js";

/** `accuracy`: share of right answers. `logprob`: natural log-probability of the items' own answers. */
export type Measure = "accuracy" | "logprob";

/** The change of one measure over the items of one group. */
export interface Effect {
  group: string;
  measure: Measure;
  /** Items that have the measure in both. */
  n: number;
  /** Means before and after. */
  before: number;
  after: number;
  /** after - before, its paired standard error and 95 % interval. */
  difference: number;
  stderr: number;
  interval: Interval;
  /** Two-sided: McNemar's exact test of right and wrong answers, a sign-flip permutation test of anything else. */
  p: number;
}

/** The group that stands for all items. */
export const ALL_GROUPS = "all";

/** Values of a measure, in the order of the answers; null where an item has none. */
export function valuesOf(answers: readonly Answer[], measure: Measure): (number | null)[] {
  return answers.map(({ correct, logprob }) => (measure === "accuracy" ? correct : logprob));
}

/** The measures that at least one answer has. */
export function measuresOf(answers: readonly Answer[]): Measure[] {
  return (["accuracy", "logprob"] as const).filter((measure) =>
    valuesOf(answers, measure).some((value) => value !== null),
  );
}

/** Names of the groups, sorted, after `all`; a single group is `all` alone. */
export function groupsOf(answers: readonly Answer[]): string[] {
  const names = [...new Set(answers.map(({ group }) => group))].sort();
  return names.length < 2 ? [ALL_GROUPS] : [ALL_GROUPS, ...names];
}

/**
 * Effects by group and measure; groups in which no item has a measure are left out.
 *
 * @throws InvalidArgumentError where the answers are not to the same items in the same order.
 */
export function pairedEffects(before: readonly Answer[], after: readonly Answer[], seed: number = 0): Effect[] {
  requireSameItems(before, after);
  return measuresOf(before).flatMap((measure) => {
    const [a, b] = [valuesOf(before, measure), valuesOf(after, measure)];
    return groupsOf(before).flatMap((group) => {
      const items = before.flatMap((answer, i) => {
        const isMember = group === ALL_GROUPS || answer.group === group;
        return isMember && a[i] !== null && b[i] !== null ? [i] : [];
      });
      if (items.length === 0) return [];
      const effect = effectOf(
        items.map((i) => a[i]!),
        items.map((i) => b[i]!),
        seed,
      );
      return [{ group, measure, ...effect }];
    });
  });
}

/** The paired difference of two lists of values. */
export function effectOf(
  before: readonly number[],
  after: readonly number[],
  seed: number = 0,
): Omit<Effect, "group" | "measure"> {
  const differences = after.map((value, i) => value - before[i]!);
  const difference = mean(differences);
  const stderr = standardError(differences);
  const isBinary = [...before, ...after].every((value) => value === 0 || value === 1);
  return {
    n: before.length,
    before: mean(before),
    after: mean(after),
    difference,
    stderr,
    interval: normalInterval(difference, stderr),
    p: isBinary ? mcnemarOfItems(before, after).p : signFlipPValue(differences, { seed }),
  };
}

function requireSameItems(a: readonly Answer[], b: readonly Answer[]): void {
  const key = ({ task, sampleId }: Answer) => JSON.stringify([task, sampleId]);
  const at = a.findIndex((answer, i) => b[i] === undefined || key(answer) !== key(b[i]));
  if (at < 0 && a.length === b.length) return;
  throw new InvalidArgumentError(
    `Expected answers to the same ${a.length} items, they differ from item ${Math.max(at, 0)} on.`,
  );
}
