/** The public entry `moescope`: re-exports only, one section for each folder. The benchmarks are in `moescope/evals`. */

// errors
export {
  AbortError,
  CheckpointError,
  type ErrorCode,
  InvalidArgumentError,
  invalidArgument,
  MoescopeError,
} from "./errors.js";

// eval
export { type Comparison, compare } from "./eval/compare.js";
export {
  type DataFile,
  type DataFolder,
  dataFolder,
  readCsv,
  readJsonArray,
  readJsonl,
  readText,
  requireFiles,
  withStrings,
} from "./eval/dataset.js";
export { type EvaluateOptions, evaluate, RunAbortedError } from "./eval/evaluate.js";
export { firstOption } from "./eval/extract/first-option.js";
export {
  equalForOpenCompass,
  equalForQwen,
  lastNumberOfOpenCompass,
  lastNumberOfQwen,
} from "./eval/extract/last-number.js";
export { exactMatch, regexFilter } from "./eval/extract/regex-filter.js";
export {
  chatPrompt,
  choiceContinuation,
  type FewShotPrompt,
  type PromptForm,
  promptRequest,
  randomShots,
  type Shot,
  textPrompt,
} from "./eval/few-shot.js";
export {
  asLanguageModel,
  type CallOptions,
  type ChatMessage,
  type ChatRequest,
  type GenerateRequest,
  type GenerateResult,
  type GenerationLimits,
  GREEDY,
  type LanguageModel,
  type LanguageModelSource,
  type LogLikelihoodRequest,
  type LogLikelihoodResult,
  type ModelDescription,
  type ModelFile,
  type SamplingSettings,
  type TraceLevel,
} from "./eval/language-model.js";
export { type Estimate, type MetricRow, metricRows } from "./eval/metric.js";
export type { Progress } from "./eval/progress.js";
export { findAll, pythonFloat, pythonInt, pythonRegex, pythonStrip } from "./eval/python-text.js";
export { generatedText, greedyChoice } from "./eval/responses.js";
export type { RunResult, SampleScore, TaskResult } from "./eval/result.js";
export type { RowResponse, SampleRow } from "./eval/row.js";
export type { RunIdentity } from "./eval/run.js";
export { RUN_FORMAT_VERSION, type RunFile, readRunFile } from "./eval/run-folder.js";
export { readRows } from "./eval/run-rows.js";
export { readRun } from "./eval/saved-run.js";
export { type Script, scriptedModel } from "./eval/scripted-model.js";
export { type Selection, selectSamples } from "./eval/select.js";
export {
  bootstrapInterval,
  clusteredStandardError,
  type Interval,
  macroStandardError,
  mcnemarExact,
  mcnemarOfItems,
  mean,
  normalInterval,
  pairedStandardError,
  passAtK,
  pooledStandardError,
  quantile,
  standardError,
  wilson,
} from "./eval/statistics.js";
export { comparisonTable, runTable } from "./eval/table.js";
export type {
  DatasetFile,
  DatasetInfo,
  Group,
  Json,
  LoadedTask,
  Metric,
  Sample,
  SampleRequest,
  SampleResponse,
  Scores,
  Task,
  Track,
  Verdict,
} from "./eval/task.js";
export type { TraceEntry, TraceSink } from "./eval/trace-sink.js";
