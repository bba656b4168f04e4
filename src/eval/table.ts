import { canonicalJson } from "./canonical-json.js";
import type { Comparison } from "./compare.js";
import { GREEDY } from "./language-model.js";
import type { Estimate } from "./metric.js";
import type { RunResult, TaskResult } from "./result.js";

/** The numbers of runs as text tables for a terminal. */

/** One row per metric and group: the whole task, its groups, and with `leaves` every subject. */
export function runTable(run: RunResult, options: { leaves?: boolean } = {}): string {
  const rows = run.tasks.flatMap((task) => taskLines(task, options.leaves ?? false));
  const header = ["task", "track", "metric", "value", "±SE", "95 % interval", "n", "no answer"];
  const notes = run.tasks.flatMap(taskNotes);
  return [alignColumns([header, ...rows], [0, 1, 2]), ...notes, `digest ${run.digest}`].join("\n");
}

/** One row per task and scorer of two runs. */
export function comparisonTable(comparisons: readonly Comparison[]): string {
  const header = [
    "task",
    "track",
    "scorer",
    "A",
    "B",
    "B - A",
    "±SE",
    "95 % interval",
    "only A",
    "only B",
    "McNemar p",
    "n",
  ];
  const rows = comparisons.map((c) => [
    c.task,
    c.track,
    c.scorer,
    percent(c.a),
    percent(c.b),
    percent(c.difference),
    percent(c.stderr),
    `${percent(c.interval[0])} to ${percent(c.interval[1])}`,
    c.discordant === undefined ? "" : String(c.discordant.onlyA),
    c.discordant === undefined ? "" : String(c.discordant.onlyB),
    c.discordant === undefined ? "" : c.discordant.p.toPrecision(2),
    String(c.n),
  ]);
  const notes = comparisons.flatMap((c) => [
    ...(c.unmatched > 0 ? [`${c.task}: ${c.unmatched} samples are in one run only and do not count`] : []),
    ...(c.differentPrompts > 0 ? [`${c.task}: ${c.differentPrompts} samples were asked in different words`] : []),
  ]);
  return [alignColumns([header, ...rows], [0, 1, 2]), ...new Set(notes)].join("\n");
}

function taskLines(task: TaskResult, leaves: boolean): string[][] {
  return task.metrics
    .filter((row) => leaves || row.path.length === 0 || !row.isLeaf)
    .map(({ metric, path, estimate }) => [
      path.length === 0 ? task.name : `${"  ".repeat(path.length)}${path.at(-1)}`,
      path.length === 0 ? task.track : "",
      metric,
      ...numbers(estimate),
    ]);
}

function numbers(estimate: Estimate): string[] {
  const [lower, upper] = estimate.interval;
  return [
    percent(estimate.value),
    percent(estimate.stderr),
    `${percent(lower)} to ${percent(upper)}`,
    String(estimate.n),
    String(estimate.noAnswer),
  ];
}

/** What a reader must know before quoting the number. */
function taskNotes(task: TaskResult): string[] {
  const { dataset, settings, environment } = task;
  const notes = [
    `${task.name}: ${Object.entries({ ...settings, ...environment })
      .map(([key, value]) => `${key} ${shown(value)}`)
      .join(", ")}`,
  ];
  if (task.done < task.samples) notes.push(`${task.name}: ${task.done} of ${task.samples} samples are done`);
  if (task.samples < dataset.rows)
    notes.push(`${task.name}: ${task.samples} of the ${dataset.rows} samples were selected`);
  if (dataset.officialRows !== undefined && dataset.rows !== dataset.officialRows) {
    notes.push(`${task.name}: the data has ${dataset.rows} rows, the official benchmark ${dataset.officialRows}`);
  }
  const unscored = task.metrics[0]?.estimate.unscored ?? 0;
  if (unscored > 0) notes.push(`${task.name}: ${unscored} samples could not be scored and count nowhere`);
  return notes;
}

function shown(value: unknown): string {
  if (value === null) return "none";
  if (canonicalJson(value) === canonicalJson(GREEDY)) return "greedy without penalties";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A share as a percentage with one decimal; "n/a" where there is none. */
function percent(share: number): string {
  return Number.isFinite(share) ? (100 * share).toFixed(1) : "n/a";
}

/** Pads cells to columns: text columns to the left, the others to the right. */
function alignColumns(rows: readonly (readonly string[])[], textColumns: readonly number[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (textColumns.includes(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
