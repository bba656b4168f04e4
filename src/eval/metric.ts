import {
  type GroupError,
  type Interval,
  macroStandardError,
  mean,
  normalInterval,
  pooledStandardError,
  standardError,
  wilson,
} from "./statistics.js";
import type { Group, Metric, Verdict } from "./task.js";

/** From verdicts to numbers: every number carries n, its error, and how many answers could not be read. */

/** A metric's value over some samples. NaN where there is no answer to give: no samples, or no error from one sample. */
export interface Estimate {
  value: number;
  stderr: number;
  /** 95 %: Wilson's for 0/1 scores weighted alike, otherwise value ± 1.96 SE. */
  interval: Interval;
  /** Samples that were scored. */
  n: number;
  /** Of them: samples in whose output no answer was found. They count as wrong. */
  noAnswer: number;
  /** Samples that could not be scored. They count nowhere. */
  unscored: number;
}

/** One metric of one group; the first row of a metric is that of the whole task. */
export interface MetricRow {
  metric: string;
  /** Names from below the root to this group; empty for the whole task. */
  path: readonly string[];
  isLeaf: boolean;
  estimate: Estimate;
}

interface Leaf {
  values: number[];
  noAnswer: number;
  unscored: number;
}

/**
 * All rows of a metric, depth first.
 *
 * @param verdicts one per sample, with the leaf group it belongs to.
 */
export function metricRows(
  metric: Metric,
  groups: Group,
  verdicts: Iterable<{ group: string; verdict: Verdict }>,
): MetricRow[] {
  const leaves = new Map<string, Leaf>();
  for (const { group, verdict } of verdicts) {
    const leaf = leaves.get(group) ?? { values: [], noAnswer: 0, unscored: 0 };
    leaves.set(group, leaf);
    if (verdict.value === null) leaf.unscored++;
    else leaf.values.push(verdict.value);
    if (verdict.value !== null && verdict.answer === null) leaf.noAnswer++;
  }
  const rows: MetricRow[] = [];
  const visit = (group: Group, path: readonly string[]): void => {
    const members = leavesOf(group).flatMap((name) => leaves.get(name) ?? []);
    if (path.length > 0 && members.length === 0) return;
    const isLeaf = group.children === undefined;
    rows.push({ metric: metric.name, path, isLeaf, estimate: estimateOf(members, metric.average) });
    for (const child of group.children ?? []) visit(child, [...path, child.name]);
  };
  visit(groups, []);
  return rows;
}

function leavesOf(group: Group): string[] {
  return group.children === undefined ? [group.name] : group.children.flatMap(leavesOf);
}

function estimateOf(leaves: readonly Leaf[], average: Metric["average"]): Estimate {
  const scored = leaves.filter((leaf) => leaf.values.length > 0);
  const means = scored.map((leaf) => mean(leaf.values));
  const errors: GroupError[] = scored.map(({ values }) => ({ n: values.length, stderr: standardError(values) }));
  const n = errors.reduce((sum, group) => sum + group.n, 0);
  const counts = {
    n,
    noAnswer: leaves.reduce((sum, leaf) => sum + leaf.noAnswer, 0),
    unscored: leaves.reduce((sum, leaf) => sum + leaf.unscored, 0),
  };
  if (scored.length === 0)
    return { value: Number.NaN, stderr: Number.NaN, interval: [Number.NaN, Number.NaN], ...counts };
  if (average === "macro") {
    const value = mean(means);
    const stderr = macroStandardError(errors.map((group) => group.stderr));
    return { value, stderr, interval: normalInterval(value, stderr), ...counts };
  }
  const value = means.reduce((sum, leafMean, i) => sum + leafMean * errors[i]!.n, 0) / n;
  const stderr = scored.length === 1 ? errors[0]!.stderr : pooledStandardError(errors);
  const isBinary = scored.every((leaf) => leaf.values.every((v) => v === 0 || v === 1));
  const successes = isBinary ? scored.reduce((sum, leaf) => sum + leaf.values.filter((v) => v === 1).length, 0) : 0;
  return { value, stderr, interval: isBinary ? wilson(successes, n) : normalInterval(value, stderr), ...counts };
}
