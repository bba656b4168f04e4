/** `generate`, `chat` and their streams, as people call them: prompts in, text with all that led to it out. */
import { withProgress } from "../ambient-progress.js";
import { AbortError, invalidArgument } from "../errors.js";
import { type Capture, isRecorded } from "../router/capture.js";
import { checkTrace } from "../router/invariants.js";
import type { RouterTrace } from "../router/trace.js";
import type { ChatMessage } from "../tokenizer/chat-template.js";
import {
  type FinishReason,
  type GeneratedText,
  type GenerationContext,
  type GenerationJob,
  generateTexts,
} from "./generate.js";
import type { Model } from "./model.js";
import { type AppliedSampling, resolveSampling, type SamplingOptions } from "./sampling.js";
import { SEGMENT } from "./segments.js";

export interface GenerateOptions extends SamplingOptions {
  /** New tokens at most. Default 256, or what the model's generation_config says. */
  maxTokens?: number;
  /** The text ends before the first of these. */
  stop?: string | readonly string[];
  /** Texts to draw. Default 1. */
  n?: number;
  /** How much of the routing to record, and of which layers and rows. Default "counts": none of it row by row. */
  trace?: Capture;
  signal?: AbortSignal;
}

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

export interface Timing {
  /** Until the first token, and from then on. */
  promptMs: number;
  generateMs: number;
  /** Generated tokens per second after the first. */
  tokensPerSecond: number;
}

/** One text of a generation. */
export interface Sample {
  text: string;
  tokenIds: Int32Array;
  /** Natural log-probability of each token under the unmodified softmax. */
  logprobs: Float32Array;
  finishReason: FinishReason;
  trace?: RouterTrace;
  timing: Timing;
}

/** The first text, how it was drawn, and the others where `n` > 1. */
export interface Generation extends Sample {
  /** All texts; the first is the one above. */
  samples: readonly Sample[];
  promptIds: Int32Array;
  usage: Usage;
  /** What was applied, and where each parameter came from. */
  sampling: AppliedSampling;
}

/** Text that became certain with one token; often empty, since a token may be half a character or begin a stop string. */
export interface StreamChunk {
  text: string;
  tokenId: number;
  logprob: number;
  /** Which of the `n` texts. */
  sample: number;
}

export type Prompt = { prompt: string | ArrayLike<number> } | { messages: readonly ChatMessage[] };

const DEFAULT_MAX_TOKENS = 256;

export async function generate(model: Model, prompt: Prompt, options: GenerateOptions): Promise<Generation> {
  const { job, sampling, context } = await prepare(model, prompt, options);
  const started = performance.now();
  let numTokens = 0;
  const texts = await withProgress(
    undefined,
    {
      label: "generate",
      unit: "tokens",
      move: (bar, done: number) => {
        const perSecond = (1000 * done) / (performance.now() - started);
        bar.update(done, job.maxTokens * job.numSamples, `${perSecond.toFixed(1)} tokens/s`);
      },
    },
    async (report) => {
      const onToken = (): void => report(++numTokens);
      return (await generateTexts([job], context, { signal: options.signal, onToken }))[0];
    },
  );
  return generationOf(job, sampling, context, texts!);
}

/** Yields chunks, returns the generation. Ending the loop early cancels the native work that is under way. */
export async function* stream(
  model: Model,
  prompt: Prompt,
  options: GenerateOptions,
): AsyncGenerator<StreamChunk, Generation> {
  const { job, sampling, context } = await prepare(model, prompt, options);
  const ended = new AbortController();
  const signal = options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal]);
  const chunks: StreamChunk[] = [];
  let wake: () => void = () => {};
  let outcome: { texts: GeneratedText[] } | { error: unknown } | undefined;
  const work = generateTexts([job], context, {
    signal,
    onToken: ({ text, tokenId, logprob, sample }) => {
      chunks.push({ text, tokenId, logprob, sample });
      wake();
    },
  }).then(
    ([texts]) => {
      outcome = { texts: texts! };
      wake();
    },
    (error) => {
      outcome = { error };
      wake();
    },
  );
  try {
    while (true) {
      const arrival = new Promise<void>((resolve) => {
        wake = resolve;
      });
      while (chunks.length > 0) yield chunks.shift()!;
      if (outcome !== undefined) break;
      await arrival;
    }
  } finally {
    ended.abort(new AbortError("The reader of the stream has left."));
    await work;
  }
  if ("error" in outcome) throw outcome.error;
  return generationOf(job, sampling, context, outcome.texts);
}

/** What one prompt becomes for the batch loop. */
export async function prepare(
  model: Model,
  prompt: Prompt,
  options: GenerateOptions,
): Promise<{ job: GenerationJob; sampling: AppliedSampling; context: GenerationContext }> {
  const { checkpoint, ollama } = model.parts;
  const { generationDefaults } = checkpoint;
  const suggestedTokens = ollama?.maxTokens ?? generationDefaults.maxNewTokens ?? DEFAULT_MAX_TOKENS;
  const { maxTokens = suggestedTokens, n = 1, stop = ollama?.stop ?? [] } = options;
  if (!(Number.isInteger(maxTokens) && maxTokens >= 1))
    throw invalidArgument("maxTokens", "an integer of at least 1", maxTokens);
  if (!(Number.isInteger(n) && n >= 1 && n <= 1024)) throw invalidArgument("n", "an integer from 1 to 1024", n);
  const stops = typeof stop === "string" ? [stop] : [...stop];
  const fault = stops.find((text) => typeof text !== "string");
  if (fault !== undefined) throw invalidArgument("stop", "a string or a list of strings", fault);
  const sampling = resolveSampling(options, generationDefaults, ollama?.sampling);
  const promptIds = await promptIdsOf(model, prompt);
  model.checkReplay(promptIds);
  return {
    job: { promptIds, maxTokens, stop: stops, sampling, numSamples: n },
    sampling,
    context: generationContext(model, options.trace ?? "counts"),
  };
}

export function generationContext(model: Model, capture: Capture): GenerationContext {
  return {
    engine: model.parts.engine,
    tokenizer: model.tokenizer,
    // The config's files and the tokenizer's: a GGUF file names one id, and its vocabulary holds the other ends of a turn.
    eosTokenIds: new Set([...model.config.eosTokenIds, ...model.tokenizer.eosTokenIds]),
    allowedTokens: model.parts.allowedTokens,
    maxContext: model.config.maxContext,
    kind: model.kindAt(capture),
  };
}

async function promptIdsOf(model: Model, prompt: Prompt): Promise<Int32Array> {
  if ("messages" in prompt) return (await model.encodeChat(prompt.messages)).ids;
  if (typeof prompt.prompt === "string") return model.tokenizer.encode(prompt.prompt);
  return Int32Array.from(prompt.prompt);
}

/** Throws INVARIANT where the routes of a text are not those of its rows: the prompt, and what was drawn but its last token. */
export function checkRoutes(
  { trace, tokenIds }: Pick<GeneratedText, "trace" | "tokenIds">,
  { promptIds }: GenerationJob,
  { kind }: GenerationContext,
): void {
  if (trace === undefined) return;
  const numTokens =
    (isRecorded(kind, { origin: 0, segment: SEGMENT.question }) ? promptIds.length : 0) +
    (isRecorded(kind, { origin: 1, segment: SEGMENT.generated }) ? tokenIds.length - 1 : 0);
  checkTrace(trace, { numTokens, rules: kind.rules });
}

function generationOf(
  job: GenerationJob,
  sampling: AppliedSampling,
  context: GenerationContext,
  texts: readonly GeneratedText[],
): Generation {
  const samples = texts.map((text): Sample => {
    checkRoutes(text, job, context);
    const { promptMs, generateMs } = text.timing;
    const tokensPerSecond = generateMs > 0 ? ((text.tokenIds.length - 1) / generateMs) * 1000 : 0;
    return { ...text, timing: { promptMs, generateMs, tokensPerSecond } };
  });
  const completionTokens = samples.reduce((sum, sample) => sum + sample.tokenIds.length, 0);
  const usage = { promptTokens: job.promptIds.length, completionTokens };
  return { ...samples[0]!, samples, promptIds: job.promptIds, usage, sampling };
}
