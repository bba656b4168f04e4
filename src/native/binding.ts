/**
 * The native surface, declared once: every method of the addon in the order of `native/addon/addon.cpp`. No policy here and no
 * defaults; the friendly nouns are in `model/`. Sizes are in elements unless the name ends in `Bytes`; positions count from 0.
 */

/** Storage types of a weight, by the names that GGUF and safetensors use. Block layouts: `native/core/blocks.h`. */
export type DType =
  | "F32"
  | "F16"
  | "BF16"
  | "Q4_0"
  | "Q4_1"
  | "Q5_0"
  | "Q5_1"
  | "Q8_0"
  | "Q2_K"
  | "Q3_K"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K"
  | "IQ1_S"
  | "IQ1_M"
  | "IQ2_XXS"
  | "IQ2_XS"
  | "IQ2_S"
  | "IQ3_XXS"
  | "IQ3_S"
  | "IQ4_NL"
  | "IQ4_XS"
  | "TQ1_0"
  | "TQ2_0"
  | "MXFP4"
  | "NVFP4";

/** One matrix (or vector: rows 1) in a file. `cols` is the input width, contiguous; rows are output neurons. */
export interface PlanTensor {
  /**
   * What the tensor is: `embed`, `final_norm`, `head` (absent: tied to `embed`), and with the prefix `layers.N.`:
   * `attn_norm q q_bias k k_bias v v_bias o ffn_norm`, dense layers `gate up down`, MoE layers `router experts.E.gate
   * experts.E.up experts.E.down`, with a shared expert also `shared.gate shared.up shared.down shared_gate`.
   */
  role: string;
  /** Name in the file, for messages. */
  name: string;
  /** Index into `LoadPlan.files`. */
  file: number;
  /** Bytes from the start of the file; no alignment is promised. */
  offset: number;
  dtype: DType;
  rows: number;
  cols: number;
}

/** Hyper-parameters as the forward pass needs them; names as in Hugging Face configs. */
export interface PlanConfig {
  /** `qwen2_moe`, `mixtral`, `llama` or `qwen2`: for messages only, the flags below decide. */
  architecture: string;
  numLayers: number;
  hiddenSize: number;
  /** Width of a dense layer's FFN; 0 where there is none. */
  intermediateSize: number;
  numAttentionHeads: number;
  numKeyValueHeads: number;
  headDim: number;
  vocabSize: number;
  rmsNormEps: number;
  /** Longest sequence, in tokens. */
  maxContext: number;
  /** "half": pairs (i, i + headDim/2); "interleaved": pairs (2i, 2i + 1), as in GGUF files of architecture `llama`. */
  ropeLayout: "half" | "interleaved";
  /** Angle per position of each pair, after YaRN, rounded to float32. [headDim / 2] */
  ropeInvFreq: Float32Array;
  /** Factor on cos and sin (YaRN's attention factor); 1 without scaling. */
  ropeAttentionFactor: number;
  /** 1 for a mixture-of-experts layer, 0 for a dense one. [numLayers] */
  isMoeLayer: Uint8Array;
  /** Routed experts; 0 in a dense model. */
  numExperts: number;
  numExpertsPerToken: number;
  normTopkProb: boolean;
  moeIntermediateSize: number;
  /** Width of the shared expert; 0 where there is none. */
  sharedExpertIntermediateSize: number;
}

/** A checked description of a model: all that native code needs, no text left to parse. */
export interface LoadPlan {
  config: PlanConfig;
  /** Absolute paths. */
  files: string[];
  tensors: PlanTensor[];
}

/** What native code tells a callback about its values. Rows are of one sequence, in ascending positions. */
export interface NativeHookPlace {
  hook: string;
  /** Absent behind the last layer. */
  layer?: number;
  /** At `expert.output`: the expert whose weights ran. */
  expert?: number;
  /** The sequence: tells rows of texts that run side by side apart. */
  request: number;
  width: number;
  positions: Int32Array; // [rows]
  tokenIds: Int32Array; // [rows]
  origins: Uint8Array; // [rows] 0 prompt, 1 generated
  segments: Int32Array; // [rows] labels
}

/** Values [rows, width] are a copy; a Float32Array of the same length takes their place. */
export type NativeCallback = (
  values: Float32Array,
  where: NativeHookPlace,
) => Float32Array | undefined | Promise<Float32Array | undefined>;

/** One declared change to routing, compiled from `router/interventions.ts`. Unused fields are absent. */
export interface RouteRule {
  kind: "zero" | "mask" | "swap" | "bias" | "force" | "top-k" | "replay" | "callback";
  /** Global layer numbers; empty for a callback behind the last layer. */
  layers: Int32Array;
  /** callback: its hook point, and the function. Held by the sequence until that is released. */
  hook?: string;
  callback?: NativeCallback;
  /** zero, mask, force. */
  experts?: Int32Array;
  /** zero: also the shared expert. */
  shared?: boolean;
  /** bias: one number per expert. [numExperts] */
  bias?: Float32Array;
  /** swap. */
  from?: number;
  to?: number;
  /** top-k. */
  k?: number;
  /** replay: recorded ids, and recorded weights if those are to be applied. [positions, layers.length, k] */
  routeExperts?: Uint16Array;
  routeWeights?: Float32Array;
  /** replay: absolute position of the first recorded row, and the recorded k. */
  routeStart?: number;
  routeK?: number;
  /** Scope: positions [start, end), origin 0 prompt / 1 generated, segment labels. Absent: everywhere. */
  positionStart?: number;
  positionEnd?: number;
  origin?: 0 | 1;
  segments?: Int32Array;
}

/** How the next token is drawn from a row of logits. Applied in this order. */
export interface SampleSpec {
  /** > 1 makes tokens of `penaltyTokens` less likely (Keskar et al. 2019, as in transformers). 1: off. */
  repetitionPenalty: number;
  /** Subtracted once / per occurrence of a generated token (OpenAI). 0: off. */
  presencePenalty: number;
  frequencyPenalty: number;
  /** Tokens so far: prompt and generated for the repetition penalty; from `generatedStart` on for presence and frequency. */
  penaltyTokens: Int32Array;
  generatedStart: number;
  /** Bit t of this mask allows token t. [ceil(vocabSize / 32)] Absent: all allowed. */
  allowedTokens?: Uint32Array;
  /** 0: greedy, ties to the lower id. */
  temperature: number;
  /** 0: off. */
  topK: number;
  /** 1: off. */
  topP: number;
  /** 0: off. */
  minP: number;
  /** The random number depends on (seed, stream, position) alone, so the batch does not matter. */
  seed: number;
  stream: number;
}

/** What is computed from the final hidden states of a segment's rows. */
export type HeadSpec =
  | { kind: "none" }
  /** Full logits of the last row or of all rows. */
  | { kind: "logits"; rows: "last" | "all" }
  /** log p(targets[i]) given the tokens up to rows[i], and whether it is the argmax. Rows ascending; one may come several times. */
  | { kind: "targets"; rows: Int32Array; targets: Int32Array }
  /** The n most likely tokens of the last row or of all rows, with log-probabilities. */
  | { kind: "top"; rows: "last" | "all"; n: number }
  /** One token drawn from the last row, its log-probability under the unmodified softmax. */
  | { kind: "sample"; spec: SampleSpec };

/** Tokens that are appended to one sequence in a step. */
export interface StepSegment {
  sequence: number;
  tokenIds: Int32Array;
  /** 0 prompt, 1 generated: what the tokens are, however they are computed. */
  origin: 0 | 1;
  /** Label of the part of the text that these tokens belong to; meaning is the caller's. */
  segment: number;
  head: HeadSpec;
  /** False: the rows are not in the trace. */
  isRecorded?: boolean;
}

/**
 * "ref": fp32 arithmetic on dequantised weights. "fast": weights as they are stored, met by activations rounded to bf16 or 8 bits.
 */
export type Precision = "ref" | "fast";

/** Types of the key/value cache. q8_0: bytes, and a half-precision scale for every 32 elements of a head. */
export const CACHE_TYPES = ["f32", "bf16", "f16", "q8_0"] as const;
export type CacheType = (typeof CACHE_TYPES)[number];

export type CaptureLevel = "counts" | "topk" | "logits" | "hidden";

export interface StepRequest {
  segments: StepSegment[];
  /** Number of the block that the rows of recorded segments go to, one after another from `traceRow` on. Absent: nowhere. */
  traceBlock?: number;
  traceRow?: number;
  /** Whether to sum what experts contribute over the rows. */
  contributions?: boolean;
}

/** What the router did, row by row. */
export interface StepTrace {
  /** Rows, recorded MoE layers, experts per token in each row-layer, experts. */
  rows: number;
  numMoeLayers: number;
  topK: number;
  numExperts: number;
  /** Slots in descending z'; 65535 where a top-k intervention left a slot empty. [rows, numMoeLayers, topK] */
  topkExperts: Uint16Array;
  /** As applied. [rows, numMoeLayers, topK] */
  topkWeights: Float32Array;
  /** After the sigmoid; empty without a shared expert. [rows, numMoeLayers] */
  sharedGate: Float32Array;
  /** z'_(k) - z'_(k+1); +inf where all experts are chosen. [rows, numMoeLayers] */
  margin: Float32Array;
  /** 1 where an intervention acted. [rows, numMoeLayers] */
  intervened: Uint8Array;
  /** Raw z; empty below level `logits`. [rows, numMoeLayers, numExperts] */
  routerLogits: Float32Array;
  /** Absent below level `hidden`. */
  hidden?: StepHidden;
}

/** Arrays that steps write into: views of native memory, which lives as long as any of them. */
export interface TraceBlock extends StepTrace {
  /** Its name in a request of its session. */
  number: number;
}

export interface TraceBlockOptions {
  level: Exclude<CaptureLevel, "counts">;
  rows: number;
  /** Slots of a row: at least the model's top-k, and what interventions on recorded sequences can choose. */
  topK: number;
  /** Layers to record, by global number. Absent: all. */
  layers?: Int32Array;
}

/** What level `hidden` adds. */
export interface StepHidden {
  /** The normed input of the MoE block, which router and experts read. [rows, numMoeLayers, hiddenSize] */
  routerInput: Float32Array;
  /** Euclidean norm of each chosen expert's output before its gate; NaN where it did not run. [rows, numMoeLayers, topK] */
  expertNorms: Float32Array;
  /** The same of the shared expert; empty without one. [rows, numMoeLayers] */
  sharedNorm: Float32Array;
  /** Residual stream after each recorded layer, dense ones included. [rows, recorded layers, hiddenSize] */
  residual: Float32Array;
}

/**
 * Sums over the rows of a step. f_e is the output of expert e before its gate g; a row counts for e where e ran with a gate other than 0.
 * L: MoE layers of the model, E: experts.
 */
export interface StepContributions {
  rows: Float64Array; // [L, E]
  gate: Float64Array; // [L, E] g
  norm: Float64Array; // [L, E] |f|
  squaredNorm: Float64Array; // [L, E] |f|^2
  gatedNorm: Float64Array; // [L, E] g |f|
  maxAbs: Float32Array; // [L, E] the largest |f_i|; 0 where no row counts
  pairRows: Float64Array; // [L, E, E] rows of both; a < b only
  pairCosine: Float64Array; // [L, E, E] cos(f_a, f_b) over them
  sharedRows: Float64Array; // [L] rows whose routed sum is not 0; all 0 without a shared expert
  sharedNorm: Float64Array; // [L] |s f_shared|
  routedNorm: Float64Array; // [L] |sum of g f|
  sharedRatio: Float64Array; // [L] |s f_shared| / |sum of g f|
}

/** Outputs of a step, concatenated over segments in order; a segment that asked for nothing adds nothing. */
export interface StepResult {
  /** [logit rows, vocabSize] */
  logits: Float32Array;
  /** One per target of `targets` segments, and one per `sample` segment. */
  logprobs: Float32Array;
  isGreedy: Uint8Array;
  /** [top rows, n] */
  topIds: Int32Array;
  topLogprobs: Float32Array;
  sampledIds: Int32Array;
  /** Absent unless asked for. */
  contributions?: StepContributions;
  /**
   * Segments whose callback failed, with what it threw. Their sequences are as long as before the step, and their rows of the arrays above
   * mean nothing. Absent: none.
   */
  failures?: { segment: number; error: unknown }[];
}

/** Set from any thread; long native calls poll it and end with code ABORTED. */
export interface CancelFlag {
  set(): void;
}

/** Sequences with their KV cache on one model. One step runs at a time. */
export interface NativeSession {
  /** A new empty sequence; its rules are part of its identity and cannot change. */
  createSequence(rules: RouteRule[]): number;
  /** A new sequence with the first `length` positions of another, sharing its cache pages. */
  forkSequence(sequence: number, length: number, rules: RouteRule[]): number;
  /** Forgets the positions from `length` on. */
  truncateSequence(sequence: number, length: number): void;
  sequenceLength(sequence: number): number;
  releaseSequence(sequence: number): void;
  /** Keeps the residual stream before `layer` for every position that the sequence computes from now on. */
  keepResiduals(sequence: number, layer: number): void;
  /**
   * Layers below `layer` of a sequence become those of `base` for the positions that it holds: tokens equal to the base's that are
   * appended from now on are computed from `layer` upwards, from the residual stream that the base keeps before it (and has kept from
   * this sequence's length on). Same bits as computing all, as long as both have the same rules below `layer` and the same tokens so far.
   * A token that differs from the base's ends the sharing.
   */
  shareLowerLayers(sequence: number, base: number, layer: number): void;
  /** Room for `rows` rows of routes, allocated once. */
  createTraceBlock(options: TraceBlockOptions): TraceBlock;
  step(
    request: StepRequest,
    cancel: CancelFlag | null,
    onProgress: ((rowsDone: number) => void) | null,
  ): Promise<StepResult>;
  /** Assignments computed so far. [numMoeLayers, numExperts] */
  expertCounts(): Float64Array;
  kvCacheBytes(): number;
  dispose(): void;
}

/** Where the time of steps went, by op and layer; the last column is what belongs to no layer. */
export interface NativeProfile {
  /** Parts of a step in the order of the forward pass; `native/core/profile.h`. */
  ops: string[];
  numLayers: number;
  threads: number;
  /** Steps that ended, their rows, and the time that they took. */
  steps: number;
  rows: number;
  stepSeconds: number;
  /** [ops, numLayers + 1], as all below. */
  calls: Float64Array;
  seconds: Float64Array;
  /** Time that threads spent in work, all threads together. */
  busySeconds: Float64Array;
  /** Weights, keys and values that were needed, each counted once per call. */
  bytes: Float64Array;
  /** Multiply-accumulates of matrices. */
  macs: Float64Array;
}

export interface NativeModel {
  /** `chunkRows`: rows that are computed at once; the workspace grows with it, the bits do not depend on it. */
  createSession(options: { cacheType: CacheType; chunkRows: number }): NativeSession;
  /** Bytes of weights that stay mapped, and bytes that were copied (norms, biases, routers). */
  mappedBytes(): number;
  copiedBytes(): number;
  /** Times the ops of all steps from now on. Throws INTERNAL while a step runs, as `stopProfile` does. */
  startProfile(): void;
  stopProfile(): NativeProfile;
  dispose(): void;
}

/** Rows of one storage type that are wanted in another. */
export interface ConvertRequest {
  from: DType;
  /** Whole rows. */
  source: Uint8Array;
  to: DType;
  cols: number;
  /** Number of the first row, for messages. */
  firstRow: number;
  /** Threads that divide the rows; the bytes do not depend on them. */
  threads: number;
}

/** Reading memory, or multiply-accumulates with factors of a type, by the name of the instruction set. */
export interface Ceiling {
  kind: "read" | "f32" | "bf16" | "int8";
  instructions: string;
}

export interface NativeAddon {
  /** Instruction set that products use on this machine, e.g. "avx512vnni", "avx512", "avx2", "portable", "neon". */
  instructionSet(precision: Precision): string;
  /** Cores that this process may use (affinity and cgroup limits). */
  availableCores(): number;
  /**
   * The card that a device library would use, and its memory. Throws UNSUPPORTED where there is none, its driver is too old, or the file
   * is no such library.
   */
  deviceInfo(library: string): { name: string; totalBytes: number; freeBytes: number };
  CancelFlag: new () => CancelFlag;
  /** Maps the files, checks every tensor against the config, and returns a model that is ready to run. */
  loadModel(
    plan: LoadPlan,
    /** `library`: of the device that computes in place of the CPU. */
    options: { threads: number; precision: Precision; library?: string },
    cancel: CancelFlag | null,
  ): Promise<NativeModel>;
  /** Elements per block and bytes per block of a storage type. */
  blockShape(dtype: DType): { elements: number; bytes: number };
  /** Dequantises whole blocks. */
  dequantize(dtype: DType, blocks: Uint8Array): Float32Array;
  /**
   * Blocks whose values are nearest to `values`, rows of `cols`. Throws UNSUPPORTED for a type that can only be read, BAD_FILE
   * for a value that is not finite or too large for F16, naming row and column.
   */
  quantize(dtype: DType, values: Float32Array, cols: number): Uint8Array;
  /** The same for rows of any type, off the JavaScript thread; equal types are copied. */
  convertRows(request: ConvertRequest): Promise<Uint8Array>;
  /** What of this machine can be measured, the fastest instruction set of each kind last. */
  ceilings(): Ceiling[];
  /** Bytes, or multiply-accumulates, per second of `ceilings()[index]`; `readBytes` of memory are read over and over. */
  measureCeiling(index: number, options: { threads: number; seconds: number; readBytes: number }): Promise<number>;
}
