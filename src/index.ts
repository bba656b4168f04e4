/** The public entry `moescope`: re-exports only, one section for each folder. The benchmarks are in `moescope/evals`. */

// notebook
export type { ProgressBar } from "./ambient-progress.js";
// ambient-signal
export { ambientSignal, runWithSignal } from "./ambient-signal.js";
// analysis
export {
  analyze,
  type DocumentKey,
  RoutingAccumulator,
  type RoutingShape,
  type TokenSubset,
  type TraceBatch,
} from "./analysis/accumulator.js";
export { AdjacentTokens, uniformAdjacency } from "./analysis/adjacent-tokens.js";
export { AnswerMargins, flipRateByOutcome, type MarginByOutcome } from "./analysis/answer-margin.js";
export { type Bootstrap, type BootstrapOptions, documentBootstrap } from "./analysis/bootstrap.js";
export { Coactivation, type CoactivationPairs, expertPairs, uniformCoactivation } from "./analysis/coactivation.js";
export {
  type ContributionFigure,
  Contributions,
  type DocumentSums,
  type SuperExpert,
} from "./analysis/contribution.js";
export { GateRatios, type SkippedShare } from "./analysis/dynamic-skip.js";
export { FlipsByMargin, type MarginFlips } from "./analysis/flips-by-margin.js";
export { entropy, jensenShannon, millerMadow, mutualInformation } from "./analysis/information.js";
export { LayerTransitions } from "./analysis/layer-transitions.js";
export {
  balancedness,
  balancednessPerLayerMean,
  balancednessPooled,
  coverageCurve,
  deadFraction,
  deadFractionRarefied,
  effectiveExperts,
  effectiveExpertsFraction,
  gini,
  giniRescaled,
  importanceCv2,
  klFromUniform,
  loadBalanceLoss,
  loadBalanceLossPooled,
  loadCv,
  loadCvSampleSd,
  loadEntropy,
  loadEntropyNormalized,
  loadEntropyRescaled,
  maxViolation,
  oversubscribedFraction,
  tvBalance,
} from "./analysis/load-balance.js";
export {
  expectedSquaredCv,
  LOAD_METRICS,
  type LoadMetric,
  type UniformCase,
  uniformNull,
} from "./analysis/load-metrics.js";
export { benjaminiHochberg, benjaminiYekutieli, holm } from "./analysis/multiple-testing.js";
export { joinOutcomes, type OutcomeJoin, type OutcomeOptions, type OutcomeSlot } from "./analysis/outcome-join.js";
export { type JoinedOutcome, joinDocuments, type Outcome, subjectAndLength } from "./analysis/outcomes.js";
export { exactDifferencePValue, permutationPValue, signFlipPValue } from "./analysis/permutation.js";
export { type OutcomeProbe, type ProbeResult, probeOutcomes } from "./analysis/probe.js";
export { cohenKappa, kendallTauB, rocAuc, spearman } from "./analysis/rank.js";
export { RouteAgreement } from "./analysis/route-agreement.js";
export { kthMargin, RouteMargins } from "./analysis/route-margins.js";
export {
  RouterConfidence,
  routingEntropyAlong,
  type TokenConfidence,
  tokenConfidence,
} from "./analysis/router-confidence.js";
export { type LoadFigure, RoutingLoad } from "./analysis/routing-load.js";
export { linearCka, outputSimilarity, SIMILARITY_MEASURES, type SimilarityMeasure } from "./analysis/similarity.js";
export { type InformationNull, Specialization } from "./analysis/specialization.js";
export { type TableOptions, traceOfTable } from "./analysis/table.js";
export { type SqlRow, type SqlValue, TraceDatabase, type TraceDatabaseOptions } from "./analysis/trace-database.js";
export { readTraces } from "./analysis/trace-folder.js";
export {
  sqlAdjacentTokens,
  sqlCoactivation,
  sqlConfidence,
  sqlLoad,
  sqlMargins,
  sqlTransitions,
  sqlVocabulary,
} from "./analysis/trace-sql.js";
export { type TokenIdOf, type VocabularyId, VocabularySpecialization } from "./analysis/vocabulary.js";
// checkpoint
export { type Checkpoint, type Licence, type OpenOptions, openCheckpoint } from "./checkpoint/checkpoint.js";
export type { GenerationDefaults } from "./checkpoint/generation-defaults.js";
export type { Architecture, ModelConfig } from "./checkpoint/model-config.js";
export type { RopeScaling } from "./checkpoint/rope.js";
export type { RopeScalingOverride } from "./checkpoint/rope-scaling.js";
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
  csvRows,
  type DataFile,
  type DataFolder,
  type DataText,
  dataFolder,
  defaultDataFolder,
  readArchive,
  readCsv,
  readJsonArray,
  readJsonl,
  readText,
  requireFiles,
  withStrings,
} from "./eval/dataset.js";
export type { ClientOptions } from "./eval/endpoint/client.js";
export { type EndpointOptions, openEndpoint } from "./eval/endpoint/endpoint-model.js";
export { type EvaluateOptions, evaluate, RunAbortedError } from "./eval/evaluate.js";
export { type CevalChoice, type CevalQuestion, cevalChoice } from "./eval/extract/ceval-choice.js";
export { firstOption } from "./eval/extract/first-option.js";
export {
  equalForOpenCompass,
  equalForQwen,
  lastNumberOfOpenCompass,
  lastNumberOfQwen,
} from "./eval/extract/last-number.js";
export { exactMatch, regexFilter } from "./eval/extract/regex-filter.js";
export {
  type DatasetPart,
  type DatasetSource,
  type FetchedPart,
  type FetchOptions,
  fetchDataset,
  hasPart,
  type Origin,
} from "./eval/fetch-dataset.js";
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
export { CARD_MODELS, type CardRow, type CardRun, cardRows, type OurScore } from "./eval/model-card.js";
export { type Attempt, programEnvironment, scorePrograms } from "./eval/program-scores.js";
export type { Progress } from "./eval/progress.js";
export { findAll, pythonFloat, pythonInt, pythonRegex, pythonStrip } from "./eval/python-text.js";
export { writeReport } from "./eval/report/write-report.js";
export { generatedText, greedyChoice } from "./eval/responses.js";
export type { RunResult, SampleScore, TaskResult } from "./eval/result.js";
export type { RowResponse, SampleRow } from "./eval/row.js";
export type { RunIdentity } from "./eval/run.js";
export { RUN_FORMAT_VERSION, type RunFile, readRunFile } from "./eval/run-folder.js";
export { readRows } from "./eval/run-rows.js";
export type { SandboxOptions } from "./eval/sandbox/pooled-sandbox.js";
export { openSandbox, SANDBOX_NAMES, type SandboxName } from "./eval/sandbox/registry.js";
export {
  PROGRAM_LIMITS,
  type Program,
  type ProgramLimits,
  type ProgramResult,
  type ProgramVerdict,
  type RunProgramOptions,
  type Sandbox,
  type SandboxStatus,
} from "./eval/sandbox/sandbox.js";
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
// experiment
export {
  type AblationScan,
  ablationScan,
  type ScannedExpert,
  type ScanOptions,
  scanForest,
} from "./experiment/ablation-scan.js";
export { ABLATION_MODES, type AblationMode, type AblationOptions, Ablations } from "./experiment/ablations.js";
export {
  type DomainExpert,
  type DomainRoutes,
  type DomainRoutesOptions,
  domainPlot,
  domainRoutes,
  domainsOfLoad,
  favourites,
  type LayerSpecialization,
} from "./experiment/domain-routes.js";
export {
  type ChangedAnswer,
  type Drift,
  type DriftOptions,
  drift,
  driftPlot,
  type RouteFlip,
} from "./experiment/drift.js";
export {
  type ExpertSimilarity,
  expertSimilarity,
  type SimilarityOptions,
} from "./experiment/expert-similarity.js";
export { allSlots, CRITERIA, type Criterion, type ExpertSlot, matchedControls } from "./experiment/expert-slots.js";
export { type ExplainedClaim, type ExplainOptions, type Explanation, explain } from "./experiment/explain.js";
export { type Effect, type Measure, pairedEffects } from "./experiment/paired-effect.js";
export { writePrunedCheckpoint } from "./experiment/prune-checkpoint.js";
export { type PruneOptions, type PruneReport, type PruneStep, pruneReport } from "./experiment/prune-report.js";
export {
  type Answer,
  type AskOptions,
  lineQuestions,
  type Questions,
  type TracedItem,
  taskQuestions,
} from "./experiment/questions.js";
export {
  type GoldText,
  type RegretOptions,
  type RouteRegret,
  routeRegret,
  type TextRegret,
} from "./experiment/route-regret.js";
export { type ReplayOptions, type RouteReplay, routeReplay } from "./experiment/route-replay.js";
export { readScoredLines, type ScoredLine } from "./experiment/scored-lines.js";
export {
  type ReconstructionOptions,
  type SubsetReconstruction,
  subsetReconstruction,
} from "./experiment/subset-reconstruction.js";
export {
  expertWeightSimilarity,
  WEIGHT_MEASURES,
  type WeightMeasure,
  type WeightSimilarity,
  type WeightSimilarityOptions,
} from "./experiment/weight-similarity.js";
export type { ContributionOptions } from "./model/contributions.js";
// model
export { type Divergence, divergence } from "./model/divergence.js";
export { type ForwardOptions, type ForwardResult, TRACE_PIECE_BYTES } from "./model/forward.js";
export type { FinishReason } from "./model/generate.js";
export type {
  GenerateOptions,
  Generation,
  Sample as GeneratedSample,
  StreamChunk,
  Timing,
  Usage,
} from "./model/generation.js";
export type { LayerBase, LayerBaseOptions } from "./model/layer-base.js";
export type { LikelihoodOptions, LikelihoodRequest, LikelihoodResult } from "./model/likelihood.js";
export type { LoadOptions } from "./model/load-options.js";
export type { MemoryPlan, Paging } from "./model/memory-plan.js";
export { Model } from "./model/model.js";
export {
  type Perplexity,
  perplexityOf,
  type RollingOptions,
  type RollingResult,
  type RollingWindow,
  rollingWindows,
} from "./model/rolling.js";
export {
  type AppliedSampling,
  formatSampling,
  type SamplingOptions,
  type SamplingParameters,
  type SamplingSource,
} from "./model/sampling.js";
export { type ProfileRow, StepProfile } from "./model/step-profile.js";
// native
export { packageRoot } from "./native/addon.js";
export type { CaptureLevel } from "./native/binding.js";
export { clearOutput, display, input, isNotebook } from "./notebook/display.js";
export type { DisplayMessage } from "./notebook/host.js";
export { progressBar } from "./notebook/progress.js";
export { type ShowOptions, show, showBundle } from "./notebook/show/show.js";
// plot
export { type ConfidenceLineData, confidenceLine } from "./plot/confidence-line.js";
export { type DomainHeatmapData, domainHeatmap } from "./plot/domain-heatmap.js";
export { draw, mimeBundleOf, type PlotData } from "./plot/draw.js";
export {
  type CoactivationData,
  coactivationHeatmap,
  type TransitionData,
  transitionHeatmap,
} from "./plot/expert-matrix.js";
export { type ExpertTextData, expertText } from "./plot/expert-text.js";
export { type Displayable, Figure, HtmlFigure, type MimeBundle } from "./plot/figure.js";
export { type ForestData, type ForestRow, forestPlot } from "./plot/forest-plot.js";
export { type LoadHeatmapData, loadHeatmap } from "./plot/load-heatmap.js";
export { type MarginBin, type MarginHistogramData, marginHistogram } from "./plot/margin-histogram.js";
// quantize
export { FILE_TYPE_NAMES, type FileType } from "./quantize/file-type.js";
export { type QuantizeOptions, type QuantizeReport, quantizeModel } from "./quantize/quantize.js";
// router
export type { Capture, CaptureOptions } from "./router/capture.js";
export { ExpertLoad, type LoadHeatmap } from "./router/expert-load.js";
export { ablate, bias, force, mask, on, replay, swap, topK, zero } from "./router/intervention-builders.js";
export {
  type BiasIntervention,
  type CallbackIntervention,
  type ForceIntervention,
  type HookCallback,
  type HookPlace,
  INTERVENTIONS_VERSION,
  type Intervention,
  LAYER_HOOKS,
  type Layers,
  type MaskIntervention,
  MODEL_HOOKS,
  parseInterventions,
  type ReplayIntervention,
  resolveRoutes,
  type Scope,
  type SwapIntervention,
  type TopKIntervention,
  type ZeroIntervention,
} from "./router/interventions.js";
export { checkTrace, type TraceCheck, type TraceExpectations } from "./router/invariants.js";
export type { RecordedRoute } from "./router/route.js";
export {
  EMPTY_SLOT,
  type RecordedLevel,
  STANDARD_SEGMENTS,
  TRACE_SCHEMA_VERSION,
  type TraceKey,
  type TraceLayout,
  type TraceMetadata,
} from "./router/schema.js";
export type { RouterShape } from "./router/shape.js";
export { RouterTrace } from "./router/trace.js";
export type { TraceColumns } from "./router/trace-columns.js";
export { loadTrace, saveTrace, TraceShards } from "./router/trace-files.js";
// tokenizer
export {
  type ChatMessage as TemplateMessage,
  ChatTemplate,
  type RenderedChat,
  type RenderOptions,
  type TemplateSource,
} from "./tokenizer/chat-template.js";
export { loadTokenizer, type ModelText, type ModelTextOptions } from "./tokenizer/load.js";
export { StreamDecoder, type StreamDecoderOptions } from "./tokenizer/stream-decoder.js";
export { type DecodeOptions, type EncodeOptions, Tokenizer } from "./tokenizer/tokenizer.js";
