import type { ExpertLoad } from "../router/expert-load.js";

/**
 * All that the eval harness knows of a model: three kinds of request and a description. The native model, a remote endpoint and
 * a scripted model serve alike. The harness hands requests over in batches and never asks how they are computed.
 */

/** One turn of a conversation; the model's own chat template turns the list into text. */
export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

/**
 * How likely is this continuation? The pair is encoded by `tokenizer/encode-pair.ts`. A conversation as context is rendered by the
 * chat template with the header of the answer appended, and the rendered text then obeys the same rule (so the template's last
 * newline is scored with the continuation).
 */
export interface LogLikelihoodRequest {
  context: string | readonly ChatMessage[];
  continuation: string;
  /** Read the text of special tokens in a context that is a text, and in its continuation, as these tokens. Default false. */
  parseSpecial?: boolean;
}

export interface LogLikelihoodResult {
  /** Sum of the natural log-probabilities of the continuation's tokens, not normalised. */
  logprob: number;
  /** One natural log-probability per token of the continuation. */
  tokenLogprobs: readonly number[] | Float32Array | Float64Array;
  tokenIds: readonly number[] | Int32Array | Uint32Array;
  /** Whether greedy decoding would have produced exactly these tokens. */
  isGreedy: boolean;
  /** What the router did, if it was asked for; opaque to the harness, which hands it to the run's `TraceSink`. */
  trace?: unknown;
}

/** Every sampling parameter, always stated: an eval never inherits a model's defaults. */
export interface SamplingSettings {
  /** 0 means greedy: the token with the largest logit, ties to the lower id. */
  temperature: number;
  topP: number;
  /** 0 means no limit. */
  topK: number;
  minP: number;
  repetitionPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
  /** Seed of the random stream; without effect at temperature 0. */
  seed: number;
}

/** Greedy decoding without penalties: what every benchmark here uses unless it says otherwise. */
export const GREEDY: Readonly<SamplingSettings> = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 0,
};

/** Limits of one generation. */
export interface GenerationLimits {
  /** Generation ends at the first of these; the text is cut at the first occurrence of each, in this order. */
  stop: readonly string[];
  maxTokens: number;
  sampling: Readonly<SamplingSettings>;
}

/** Continue this text, encoded as it is, trailing spaces included, and cut from the left to leave room for `maxTokens`. */
export interface GenerateRequest extends GenerationLimits {
  prompt: string;
  /** Read the text of special tokens in the prompt as these tokens: for a conversation that is written out. Default false. */
  parseSpecial?: boolean;
}

/** Answer this conversation. */
export interface ChatRequest extends GenerationLimits {
  messages: readonly ChatMessage[];
}

export interface GenerateResult {
  /** The generated text without special tokens, cut at stop strings. */
  text: string;
  tokenIds: readonly number[] | Int32Array | Uint32Array;
  /** Number of generated tokens, where a server counts them and does not say which they are. */
  numTokens?: number;
  finishReason: "eos" | "stop" | "length";
  promptTokens: number;
  trace?: unknown;
}

/** How much of the routing to record; levels as in the trace contract. */
export type TraceLevel = "counts" | "topk" | "logits" | "hidden";

/** A level for all rows and layers, or for some of them: those of some layers, parts of the text, or origin. */
export type TraceRequest =
  | TraceLevel
  | { level: TraceLevel; layers?: readonly number[]; segments?: readonly string[]; origin?: "prompt" | "generated" };

export interface CallOptions {
  signal?: AbortSignal;
  trace?: TraceRequest;
  /** Called as requests of this call finish. */
  onProgress?: (done: number, total: number) => void;
}

/** A file that a model consists of. */
export interface ModelFile {
  name: string;
  bytes: number;
  sha256: string;
}

/** What a run must record about the model it measured. Two runs with the same description measured the same thing. */
export interface ModelDescription {
  name: string;
  kind: "native" | "endpoint" | "scripted";
  files: readonly ModelFile[];
  licence?: string;
  /** SHA-256 of the tokenizer's definition and of the chat template, and where the template came from. */
  tokenizerSha256?: string;
  chatTemplateSha256?: string;
  chatTemplateSource?: string;
  /** Arithmetic and weights: for example "ref", "Q5_K_M". */
  precision?: string;
  weightType?: string;
  device?: string;
  maxContext?: number;
  /** Active interventions, as plain objects. */
  interventions?: readonly unknown[];
  /** The engine that answered and its version. */
  engine?: string;
}

/** A model that can be evaluated. Results come in the order of the requests; a failed request rejects the whole call. */
export interface LanguageModel {
  loglikelihood(requests: readonly LogLikelihoodRequest[], options?: CallOptions): Promise<LogLikelihoodResult[]>;
  generate(requests: readonly GenerateRequest[], options?: CallOptions): Promise<GenerateResult[]>;
  chat(requests: readonly ChatRequest[], options?: CallOptions): Promise<GenerateResult[]>;
  describe(): ModelDescription | Promise<ModelDescription>;
  /** Assignments that the model has computed since it was loaded, where it counts them. */
  expertLoad?(): Promise<ExpertLoad>;
}

/** Something that can give such a view of itself: the native `Model`, whose own methods are shaped for people. */
export interface LanguageModelSource {
  toLanguageModel(): LanguageModel;
}

/** The view that the harness uses, of either. */
export function asLanguageModel(model: LanguageModel | LanguageModelSource): LanguageModel {
  return "toLanguageModel" in model ? model.toLanguageModel() : model;
}
