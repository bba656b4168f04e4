import { join } from "node:path";
import { MoescopeError } from "../../errors.js";
import type { ModelDescription } from "../language-model.js";
import { readPrompts } from "../prompts-file.js";
import type { TaskResult } from "../result.js";
import type { RowResponse, SampleRow } from "../row.js";
import type { RunIdentity } from "../run.js";
import { type RunFile, readRunFile } from "../run-folder.js";
import { readRows } from "../run-rows.js";
import type { Scores } from "../task.js";
import { type ReportExperts, readExperts } from "./report-experts.js";

/** What the page shows, read from a run folder. The page's scripts (`page/`) take exactly this. */
export interface ReportData {
  model: ModelDescription;
  createdAt: string;
  finishedAt?: string;
  digest: string;
  versions: Readonly<Record<string, string>>;
  trace: string | null;
  tasks: readonly ReportTask[];
  samples: readonly ReportSample[];
  /** Samples in the run; the page has the first ones of very large runs. */
  samplesInRun: number;
  experts?: ReportExperts;
}

export interface ReportTask extends TaskResult {
  /** Names of the groups that samples refer to. */
  groups: readonly string[];
  /** What the prompts of all samples of a group begin with, by group. */
  promptBeginnings: readonly string[];
}

export interface ReportSample {
  /** Index of the task. */
  task: number;
  id: string;
  /** Index into the task's groups. */
  group: number;
  input: string;
  target: string;
  /** What the sample's prompt has after the beginning that its group shares; absent in runs without a file of prompts. */
  promptEnd?: string;
  promptSha256: string;
  responses: readonly ReportResponse[];
  scores: Scores;
  seconds: number;
  /** For each layer, the experts that its tokens chose most and in percent how many of them: [expert, percent, ...]. */
  experts?: readonly number[];
}

/** `cut`: characters of the text that are not in the report. */
export type ReportResponse = RowResponse & { cut?: number };

export interface ReportLimits {
  /** Samples in the page; the scores count all. */
  samples: number;
  /** Characters of a generated text. */
  characters: number;
}

/** Every benchmark that is read here fits; a page of that size still opens at once. */
export const REPORT_LIMITS: ReportLimits = { samples: 50_000, characters: 8000 };

/**
 * Reads what the report of a finished run shows.
 *
 * @throws MoescopeError NOT_FOUND or BAD_FILE for a folder that is no run; RUN_CONFLICT for a run that is not complete.
 */
export async function readReportData(folder: string, limits: ReportLimits = REPORT_LIMITS): Promise<ReportData> {
  const run = (await readRunFile(folder)) as RunFile<RunIdentity, { digest: string; tasks: TaskResult[] }>;
  if (run.status !== "complete" || run.result === undefined) {
    throw new MoescopeError(
      "RUN_CONFLICT",
      `Expected a complete run in ${folder}, it was cut off or still runs: resume it.`,
    );
  }
  const { digest, tasks } = run.result;
  const { samples, samplesInRun, tasks: reportTasks } = await readSamples(folder, tasks, limits);
  const withPrompts = await addPrompts(folder, reportTasks, samples);
  const experts = await readExperts(join(folder, "trace"), withPrompts, samples);
  const { createdAt, finishedAt, versions, identity } = run;
  return {
    ...{ model: identity.model, createdAt, finishedAt, digest, versions, trace: traceText(identity.trace) },
    ...{ tasks: withPrompts, samples, samplesInRun, experts },
  };
}

/** "logits of layers [0,2], segments [\"choice\"]". */
function traceText(trace: RunIdentity["trace"]): string | null {
  if (trace === null || typeof trace === "string") return trace;
  const { level, ...parts } = trace;
  return `${level} of ${Object.entries(parts)
    .map(([name, value]) => `${name} ${JSON.stringify(value)}`)
    .join(", ")}`;
}

async function readSamples(
  folder: string,
  tasks: readonly TaskResult[],
  limits: ReportLimits,
): Promise<Pick<ReportData, "samples" | "samplesInRun" | "tasks">> {
  const numberOfTask = new Map(tasks.map((task, i) => [task.name, i]));
  const groups = tasks.map(() => new Map<string, number>());
  const samples: ReportSample[] = [];
  const seen = new Set<string>();
  await readRows(join(folder, "samples.jsonl"), (row) => {
    const task = numberOfTask.get(row.task);
    const key = JSON.stringify([row.task, row.sample_id, row.epoch]);
    if (task === undefined || seen.has(key)) return;
    seen.add(key);
    if (samples.length >= limits.samples) return;
    const known = groups[task]!;
    if (!known.has(row.group)) known.set(row.group, known.size);
    samples.push(sampleOf(row, task, known.get(row.group)!, limits.characters));
  });
  const reportTasks = tasks.map((task, i) => {
    return { ...task, groups: [...groups[i]!.keys()], promptBeginnings: [] };
  });
  return { samples, samplesInRun: seen.size, tasks: reportTasks };
}

/** Puts the prompts into the samples, the beginnings that groups share into the tasks: worked examples are many times the rest. */
async function addPrompts(
  folder: string,
  tasks: readonly ReportTask[],
  samples: readonly ReportSample[],
): Promise<ReportTask[]> {
  const keyOf = (task: string, id: string): string => JSON.stringify([task, id]);
  const known = new Map(samples.map((sample) => [keyOf(tasks[sample.task]!.name, sample.id), sample]));
  const beginnings = tasks.map(() => new Map<number, string>());
  await readPrompts(folder, ({ task, sample_id, prompt }) => {
    const sample = known.get(keyOf(task, sample_id));
    if (sample === undefined) return;
    sample.promptEnd = prompt;
    const ofTask = beginnings[sample.task]!;
    ofTask.set(sample.group, commonBeginning(ofTask.get(sample.group) ?? prompt, prompt));
  });
  for (const sample of samples) {
    const { length } = beginnings[sample.task]!.get(sample.group) ?? "";
    sample.promptEnd = sample.promptEnd?.slice(length);
  }
  return tasks.map((task, i) => {
    return { ...task, promptBeginnings: task.groups.map((_, group) => beginnings[i]!.get(group) ?? "") };
  });
}

function commonBeginning(a: string, b: string): string {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return a.slice(0, length);
}

function sampleOf(row: SampleRow, task: number, group: number, characters: number): ReportSample {
  return {
    task,
    id: row.epoch === 0 ? row.sample_id : `${row.sample_id} (epoch ${row.epoch})`,
    group,
    input: row.input,
    target: row.target,
    promptSha256: row.prompt_sha256,
    responses: row.responses.map((response) => shortened(response, characters)),
    scores: row.scores,
    seconds: row.seconds,
  };
}

function shortened(response: RowResponse, characters: number): ReportResponse {
  if (response.kind === "loglikelihood" || response.text.length <= characters) return response;
  return { ...response, text: response.text.slice(0, characters), cut: response.text.length - characters };
}
