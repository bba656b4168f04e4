import { MoescopeError } from "../errors.js";
import type { RunResult, SampleScore, TaskResult } from "./result.js";
import { type Interval, mcnemarOfItems, mean, normalInterval, pairedStandardError } from "./statistics.js";

/**
 * Two runs on the same items, item by item: the items' own difficulty cancels, so a paired comparison sees differences that two
 * separate intervals hide.
 */

/** One scorer of one task in two runs. */
export interface Comparison {
  task: string;
  track: string;
  scorer: string;
  /** Items scored in both runs; the numbers below rest on these alone. */
  n: number;
  /** Items scored in only one of the runs. */
  unmatched: number;
  /** Of the n: items that the two runs put in different words (other shots, another template). */
  differentPrompts: number;
  a: number;
  b: number;
  /** b - a, its paired standard error and 95 % interval. */
  difference: number;
  stderr: number;
  interval: Interval;
  /** For 0/1 scores: items that only a, or only b, has right, and McNemar's exact p. */
  discordant?: { onlyA: number; onlyB: number; p: number };
}

/**
 * Compares all tasks that both runs have.
 *
 * @throws MoescopeError INVALID_ARGUMENT when they have none in common, or a task of the same name in another track or version.
 */
export function compare(a: RunResult, b: RunResult): Comparison[] {
  const pairs = a.tasks.flatMap((task) =>
    b.tasks.filter((other) => other.name === task.name).map((other) => [task, other] as const),
  );
  if (pairs.length === 0) {
    const names = (run: RunResult): string => run.tasks.map((task) => task.name).join(", ");
    throw new MoescopeError(
      "INVALID_ARGUMENT",
      `Expected two runs with a task in common, got ${names(a)} and ${names(b)}.`,
    );
  }
  return pairs.flatMap(([taskA, taskB]) => {
    requireSameProtocol(taskA, taskB);
    return compareTask(taskA, a.scores.get(taskA.name) ?? [], b.scores.get(taskA.name) ?? []);
  });
}

function compareTask(task: TaskResult, a: readonly SampleScore[], b: readonly SampleScore[]): Comparison[] {
  const key = ({ sampleId, epoch }: SampleScore): string => JSON.stringify([sampleId, epoch]);
  const ofB = new Map(b.map((score) => [key(score), score]));
  const scorers = new Set([...a, ...b].flatMap((score) => Object.keys(score.scores)));
  return [...scorers].map((scorer) => {
    const valueIn = (score: SampleScore | undefined): number | null => score?.scores[scorer]?.value ?? null;
    const pairs = a.flatMap((scoreA) => {
      const scoreB = ofB.get(key(scoreA));
      const values = [valueIn(scoreA), valueIn(scoreB)];
      return values.includes(null)
        ? []
        : [{ a: values[0]!, b: values[1]!, same: scoreA.promptSha256 === scoreB!.promptSha256 }];
    });
    const scored = (scores: readonly SampleScore[]): number => scores.filter((score) => valueIn(score) !== null).length;
    return {
      task: task.name,
      track: task.track,
      scorer,
      n: pairs.length,
      unmatched: scored(a) + scored(b) - 2 * pairs.length,
      differentPrompts: pairs.filter((pair) => !pair.same).length,
      ...difference(
        pairs.map((pair) => pair.a),
        pairs.map((pair) => pair.b),
      ),
    };
  });
}

function difference(
  a: readonly number[],
  b: readonly number[],
): Pick<Comparison, "a" | "b" | "difference" | "stderr" | "interval" | "discordant"> {
  const delta = mean(b.map((value, i) => value - a[i]!));
  const stderr = pairedStandardError(a, b);
  const isBinary = [...a, ...b].every((value) => value === 0 || value === 1);
  const { b: onlyA, c: onlyB, p } = isBinary ? mcnemarOfItems(a, b) : { b: 0, c: 0, p: Number.NaN };
  return {
    a: mean(a),
    b: mean(b),
    difference: delta,
    stderr,
    interval: normalInterval(delta, stderr),
    discordant: isBinary ? { onlyA, onlyB, p } : undefined,
  };
}

function requireSameProtocol(a: TaskResult, b: TaskResult): void {
  for (const field of ["track", "version"] as const) {
    if (a[field] !== b[field]) {
      throw new MoescopeError(
        "INVALID_ARGUMENT",
        `Expected one ${field} of ${a.name} in both runs, got ${a[field]} and ${b[field]}: such numbers are not comparable.`,
      );
    }
  }
}
