import type {
  ChatRequest,
  GenerateRequest,
  GenerateResult,
  LogLikelihoodRequest,
  LogLikelihoodResult,
} from "./language-model.js";

/**
 * A task is one benchmark in one track: a dataset, the requests that each sample makes of a model, and how the answers are scored.
 * Tasks are plain objects; nothing is read before `load()`.
 */

/** `ref`: as the community harness does it. `qwen`: as near as is known to what the model card's authors ran. Never mixed. */
export type Track = "ref" | "qwen";

/** Plain JSON, as it is stored in run.json. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A file of a dataset as it was read. */
export interface DatasetFile {
  /** Path inside the data folder. */
  path: string;
  rows: number;
  sha256: string;
}

/** Where the samples came from: recorded with every run. */
export interface DatasetInfo {
  name: string;
  licence: string;
  source: string;
  split: string;
  files: readonly DatasetFile[];
  /** Rows of the split that was read; of the official one where that is a known number. Others are not the official benchmark. */
  rows: number;
  officialRows?: number;
}

/** One item of a benchmark. `doc` is the benchmark's own record. */
export interface Sample<Doc = unknown> {
  /** Unique within the task and stable: it joins scores, traces and other runs. */
  id: string;
  /** The leaf group that it belongs to (a subject), or "" where the task has none. */
  group: string;
  /** The question itself, without examples: what a report shows. */
  input: string;
  /** The right answer as a report shows it. */
  target: string;
  doc: Doc;
}

/** What a sample asks of the model. */
export type SampleRequest =
  | ({ kind: "loglikelihood" } & LogLikelihoodRequest)
  | ({ kind: "generate" } & GenerateRequest)
  | ({ kind: "chat" } & ChatRequest);

/** The answers to a sample's requests, in their order. */
export type SampleResponse =
  | ({ kind: "loglikelihood" } & LogLikelihoodResult)
  | ({ kind: "generate" | "chat" } & GenerateResult);

/**
 * The verdict of one scorer on one sample. "Wrong", "no answer found" and "not scored" are three different things: the first two
 * have value 0 and differ in `answer`; the third has value null and counts in no metric.
 */
export interface Verdict {
  value: number | null;
  /** What was extracted from the output; null when nothing was found. */
  answer: string | null;
  /** Why it was not scored, or anything a reader of the report should know. */
  note?: string;
}

/** Verdicts by the name of the scorer, for example `acc` or `strict-match`. A scorer may pass over a sample that it has no say on. */
export type Scores = Readonly<Record<string, Verdict>>;

/** A leaf has a subject's samples; an inner node pools its children. */
export interface Group {
  name: string;
  children?: readonly Group[];
}

/** How a number is made of the verdicts of one scorer. `micro` weighs groups by size; `macro` weighs the leaves equally. */
export interface Metric {
  name: string;
  scorer: string;
  average: "micro" | "macro";
}

/** A task with its data read. The same answers give the same scores, however often they are asked for. */
export interface LoadedTask<Doc = unknown> {
  dataset: DatasetInfo;
  /** What scoring rests on besides the settings, found out when loading: a sandbox and its versions. Part of the run's identity. */
  environment?: Readonly<Record<string, Json>>;
  samples: readonly Sample<Doc>[];
  /** The tree of groups; a single leaf named "" where there are none. */
  groups: Group;
  requests(sample: Sample<Doc>): SampleRequest[];
  /** A promise where scoring is more than arithmetic, such as running programs; it is rejected when `signal` fires. */
  score(sample: Sample<Doc>, responses: readonly SampleResponse[], signal?: AbortSignal): Scores | Promise<Scores>;
}

/** One benchmark in one track, with every setting that changes a score. */
export interface Task<Doc = unknown> {
  name: string;
  track: Track;
  /** Changes whenever prompts, extraction or scoring change. */
  version: string;
  /** Every setting that changes a score: shots, prompt variant, limits, sampling. Printed and stored. */
  settings: Readonly<Record<string, Json>>;
  metrics: readonly Metric[];
  /** The file that the benchmark's authors score, where they keep the answers: a run folder gets it as `NAME.submission.json`. */
  submission?(answers: readonly { sampleId: string; scores: Scores }[]): Json;
  load(): Promise<LoadedTask<Doc>>;
}
