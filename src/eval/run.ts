import type { ModelDescription, TraceRequest } from "./language-model.js";
import { metricRows } from "./metric.js";
import type { RunResult, SampleScore, TaskResult } from "./result.js";
import { digestOfRows, rowDigest, rowKey, type SampleRow } from "./row.js";
import type { LoadedTask, Task } from "./task.js";
import type { TraceEntry, TraceSink } from "./trace-sink.js";

/** What makes two runs the same one: a run is resumed only with the same. */
export interface RunIdentity {
  model: ModelDescription;
  tasks: readonly Pick<TaskResult, "name" | "track" | "version" | "settings" | "dataset" | "environment">[];
  trace: TraceRequest | null;
}

/** The rows of a run so far, reduced to what the numbers, the digest and a comparison need. */
export class Run {
  readonly model: string;
  readonly tasks: readonly Task[];
  readonly loaded: readonly LoadedTask[];
  readonly #digests: Map<string, string> = new Map();
  readonly #scores: Map<string, SampleScore[]> = new Map();
  readonly #traces: TraceEntry[] = [];

  constructor(model: string, tasks: readonly Task[], loaded: readonly LoadedTask[]) {
    this.model = model;
    this.tasks = tasks;
    this.loaded = loaded;
    for (const task of tasks) this.#scores.set(task.name, []);
  }

  has(row: Pick<SampleRow, "task" | "sample_id" | "epoch">): boolean {
    return this.#digests.has(rowKey(row));
  }

  add(row: SampleRow): void {
    const scores = this.#scores.get(row.task);
    if (scores === undefined || this.has(row)) return;
    this.#digests.set(rowKey(row), rowDigest(row));
    scores.push(scoreOf(row));
  }

  scoresOf(task: string): readonly SampleScore[] {
    return this.#scores.get(task) ?? [];
  }

  /** Keeps routes in memory, for the result. */
  traceSink(): TraceSink {
    return {
      write: async (entries) => {
        this.#traces.push(...entries);
      },
      close: async () => undefined,
    };
  }

  /** The numbers so far. Scores are put in dataset order first, so that no sum depends on the order of arrival. */
  result(folder: string | undefined): RunResult {
    const scores = new Map(
      this.tasks.map((task, i) => [task.name, inDatasetOrder(this.loaded[i]!, this.scoresOf(task.name))] as const),
    );
    return {
      folder,
      model: this.model,
      tasks: this.tasks.map((task, i) => taskResult(task, this.loaded[i]!, scores.get(task.name)!)),
      digest: digestOfRows(this.#digests),
      scores,
      traces: this.#traces,
    };
  }
}

/** A row without its texts. */
export function scoreOf(row: SampleRow): SampleScore {
  const { sample_id: sampleId, epoch, group, prompt_sha256: promptSha256, scores } = row;
  return { sampleId, epoch, group, promptSha256, scores };
}

function inDatasetOrder(loaded: LoadedTask, scores: readonly SampleScore[]): SampleScore[] {
  const position = new Map(loaded.samples.map((sample, i) => [sample.id, i]));
  return [...scores].sort((a, b) => position.get(a.sampleId)! - position.get(b.sampleId)! || a.epoch - b.epoch);
}

function taskResult(task: Task, loaded: LoadedTask, scores: readonly SampleScore[]): TaskResult {
  const { name, track, version, settings, metrics } = task;
  return {
    name,
    track,
    version,
    settings,
    dataset: loaded.dataset,
    environment: loaded.environment,
    samples: loaded.samples.length,
    done: scores.length,
    scorer: metrics[0]?.scorer ?? "",
    metrics: metrics.flatMap((metric) =>
      metricRows(
        metric,
        loaded.groups,
        scores.flatMap(({ group, scores: { [metric.scorer]: verdict } }) =>
          verdict === undefined ? [] : { group, verdict },
        ),
      ),
    ),
  };
}
