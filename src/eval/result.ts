import type { MetricRow } from "./metric.js";
import type { DatasetInfo, Json, Scores, Track } from "./task.js";
import type { TraceEntry } from "./trace-sink.js";

/** What a run found: small enough to keep, whole enough to compare with another run item by item. */

/** One sample's verdicts, without its texts. */
export interface SampleScore {
  sampleId: string;
  epoch: number;
  group: string;
  /** Two runs that asked the same question in the same words have the same. */
  promptSha256: string;
  scores: Scores;
}

/** One task's numbers and the settings they rest on. */
export interface TaskResult {
  name: string;
  track: Track;
  version: string;
  settings: Readonly<Record<string, Json>>;
  dataset: DatasetInfo;
  /** What scoring rested on besides the settings, such as the sandbox that programs ran in. */
  environment?: Readonly<Record<string, Json>>;
  /** Samples that were to be run, and those that are done. */
  samples: number;
  done: number;
  /** The scorer that says right or wrong: that of the first metric. */
  scorer: string;
  metrics: readonly MetricRow[];
}

export interface RunResult {
  /** The run folder, if there is one. */
  folder?: string;
  model: string;
  tasks: readonly TaskResult[];
  /** Over all rows, without times: a resumed run has the digest of an uninterrupted one. */
  digest: string;
  /** By task name. */
  scores: ReadonlyMap<string, readonly SampleScore[]>;
  /** Routes that were asked for and had no other place to go. */
  traces: readonly TraceEntry[];
}
