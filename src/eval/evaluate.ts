import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type ProgressBar, withProgress } from "../ambient-progress.js";
import { withAmbientSignal } from "../ambient-signal.js";
import { AbortError, fromSystemError, invalidArgument, MoescopeError } from "../errors.js";
import { isNamed } from "../router/intervention-keys.js";
import type { Intervention } from "../router/interventions.js";
import {
  asLanguageModel,
  type LanguageModel,
  type LanguageModelSource,
  type ModelDescription,
  type TraceRequest,
} from "./language-model.js";
import { COUNTS_FILE, LoadCounts } from "./load-counts.js";
import { type Progress, ProgressMeter } from "./progress.js";
import { writePrompts } from "./prompts-file.js";
import { versions } from "./provenance.js";
import { writeReport } from "./report/write-report.js";
import type { RunResult } from "./result.js";
import { routerTraceSink } from "./router-trace-sink.js";
import { Run, type RunIdentity } from "./run.js";
import { RunFolder } from "./run-folder.js";
import { runSamples } from "./runner.js";
import type { LoadedTask, Task } from "./task.js";
import type { TraceSink } from "./trace-sink.js";

export interface EvaluateOptions {
  /** The run folder, which also gets the report; without one nothing is written and nothing can be resumed. */
  out?: string;
  /** Go on with the run that `out` holds. */
  resume?: boolean;
  /** Ask the model for its routes. They go to the run folder's `trace/`, as Parquet or at level `counts` as sums; without a folder they are kept in the result. */
  trace?: TraceRequest;
  /** Opens another place for the routes; `folder` is the run's `trace/`, or undefined without a run folder. */
  traceSink?: (folder: string | undefined) => TraceSink;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /** Samples in one call of the model; default 8. */
  batchSize?: number;
  /** Calls of the model in flight; default 3, so that the next samples begin while the longest answer of a call is still being written. Always 1 where `counts` are summed into a folder. */
  concurrency?: number;
}

/** The run was cancelled: `partial` holds the numbers of what is done, and a run folder can be resumed. */
export class RunAbortedError extends AbortError {
  readonly partial: RunResult;

  constructor(partial: RunResult, options?: { cause?: unknown }) {
    const done = partial.tasks.reduce((sum, task) => sum + task.done, 0);
    const total = partial.tasks.reduce((sum, task) => sum + task.samples, 0);
    super(`The run was cancelled with ${done} of ${total} samples done.`, options);
    this.partial = partial;
  }
}

/**
 * Runs tasks on a model and gives their numbers.
 *
 * @throws RunAbortedError when `signal` fires; MoescopeError NOT_FOUND for missing data, RUN_CONFLICT for a run folder that is not
 *   this run's, DISK_FULL; any error of the model. What was finished before is on disk.
 */
export async function evaluate(
  model: LanguageModel | LanguageModelSource,
  tasks: readonly Task[],
  options: EvaluateOptions = {},
): Promise<RunResult> {
  checkArguments(tasks, options);
  const view = asLanguageModel(model);
  const description = await view.describe();
  if (options.resume) refuseUnnamed(description);
  const loaded = await Promise.all(tasks.map((task) => task.load()));
  const run = new Run(description.name, tasks, loaded);
  const identity: RunIdentity = {
    model: description,
    tasks: tasks.map(({ name, track, version, settings }, i) => {
      const { dataset, environment } = loaded[i]!;
      return { name, track, version, settings, dataset, environment };
    }),
    trace: options.trace ?? null,
  };
  const folder =
    options.out === undefined
      ? undefined
      : await RunFolder.open(
          options.out,
          { identity, versions: versions() },
          { resume: options.resume, onRow: (row) => run.add(row) },
        );
  try {
    const total = loaded.reduce((sum, { samples }) => sum + samples.length, 0);
    const move = progressMover(total);
    await withProgress(options.onProgress, { label: "evaluate", unit: "samples", move }, (onProgress) =>
      runTasks(view, run, folder, { ...options, onProgress }),
    );
    const result = run.result(folder?.path);
    await folder?.complete({ digest: result.digest, tasks: result.tasks });
    if (folder !== undefined) await writeOutputs(folder.path, tasks, loaded, result);
    return result;
  } catch (error) {
    if (error instanceof AbortError) throw new RunAbortedError(run.result(folder?.path), { cause: error });
    throw error;
  } finally {
    await folder?.close();
  }
}

/** Moves one bar through all tasks; the one at work stands behind it, with its score so far. */
function progressMover(total: number): (bar: ProgressBar, progress: Progress) => void {
  const done = new Map<string, number>();
  return (bar, progress) => {
    done.set(`${progress.task} ${progress.track}`, progress.done);
    const { running } = progress;
    const score = running === undefined ? "" : ` ${running.metric} ${running.value.toFixed(3)}`;
    bar.update(
      [...done.values()].reduce((sum, count) => sum + count, 0),
      total,
      `${progress.task}${score}`,
    );
  };
}

/** What a finished run leaves for people: prompts, the report, and the files that benchmarks want to be sent. */
async function writeOutputs(
  folder: string,
  tasks: readonly Task[],
  loaded: readonly LoadedTask[],
  result: RunResult,
): Promise<void> {
  await writePrompts(
    folder,
    tasks.map((task, i) => ({ task, loaded: loaded[i]! })),
  );
  await writeReport(folder);
  for (const { name, submission } of tasks) {
    if (submission === undefined) continue;
    const file = join(folder, `${name}.submission.json`);
    try {
      await writeFile(file, `${JSON.stringify(submission(result.scores.get(name)!), null, 2)}\n`);
    } catch (error) {
      throw fromSystemError(error, `write ${file}`);
    }
  }
}

async function runTasks(
  model: LanguageModel,
  run: Run,
  folder: RunFolder | undefined,
  options: EvaluateOptions,
): Promise<void> {
  const sink =
    options.traceSink?.(folder?.tracePath) ?? (folder === undefined ? run.traceSink() : shardsOf(folder, run));
  const { batchSize = 8, trace } = options;
  const signal = withAmbientSignal(options.signal);
  const counts = await countsOf(model, folder, trace);
  // Sums are taken when a call is done, so nothing of another may be among them: a kill would leave it counted twice.
  const concurrency = counts === undefined ? (options.concurrency ?? 3) : 1;
  try {
    for (const [i, task] of run.tasks.entries()) {
      const loaded = run.loaded[i]!;
      const meter = new ProgressMeter(
        task,
        loaded.samples.length,
        run.scoresOf(task.name).map(({ scores }) => scores),
      );
      const report = (requestsDone?: number, requestsTotal?: number): void =>
        options.onProgress?.(meter.event(requestsDone, requestsTotal));
      report();
      await runSamples(
        model,
        task,
        loaded,
        { batchSize, concurrency, trace, signal, onRequests: report },
        (sample) => run.has({ task: task.name, sample_id: sample.id, epoch: 0 }),
        async ({ rows, traces }) => {
          if (traces.length > 0) await sink.write(traces);
          await folder?.append(rows);
          await counts?.add(task.name);
          for (const row of rows) {
            run.add(row);
            meter.add(row.scores);
          }
          report();
        },
      );
    }
  } finally {
    await sink.close();
  }
}

/** At level `counts` a run folder keeps the sums of a model that counts. */
async function countsOf(
  model: LanguageModel,
  folder: RunFolder | undefined,
  trace: TraceRequest | undefined,
): Promise<LoadCounts | undefined> {
  if (trace !== "counts" || folder === undefined || model.expertLoad === undefined) return undefined;
  return await LoadCounts.open(join(folder.tracePath, COUNTS_FILE), () => model.expertLoad!());
}

function shardsOf(folder: RunFolder, run: Run): TraceSink {
  return routerTraceSink(folder.tracePath, basename(folder.path), ({ task, sampleId, epoch }) => {
    return run.has({ task, sample_id: sampleId, epoch });
  });
}

/** What a callback without a name does cannot be compared with what it did when the run began. */
function refuseUnnamed({ interventions = [] }: ModelDescription): void {
  const unnamed = (interventions as readonly Intervention[]).find((item) => !isNamed(item));
  if (unnamed === undefined) return;
  const hook = unnamed.kind === "callback" ? ` at ${unnamed.hook}` : "";
  throw new MoescopeError(
    "RUN_CONFLICT",
    `Expected callbacks with id and version to resume a run, the one${hook} has none: begin a new run.`,
  );
}

function checkArguments(tasks: readonly Task[], options: EvaluateOptions): void {
  if (tasks.length === 0) throw invalidArgument("tasks", "at least one task", tasks);
  const names = tasks.map((task) => task.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw invalidArgument("tasks", "tasks with different names in one run", twice);
  for (const name of ["batchSize", "concurrency"] as const) {
    const value = options[name];
    if (value !== undefined && (!Number.isInteger(value) || value < 1)) {
      throw invalidArgument(name, "a whole number, at least 1", value);
    }
  }
}
