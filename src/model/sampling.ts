/** Sampling parameters: what a caller may say, what a model file suggests, and what is applied in the end. */
import { randomInt } from "node:crypto";
import type { GenerationDefaults } from "../checkpoint/generation-defaults.js";
import { invalidArgument } from "../errors.js";
import type { SampleSpec } from "../native/binding.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";

/** What a call may state; the rest comes from the model's files, else greedy. */
export interface SamplingOptions {
  /** 0: greedy, the largest logit, ties to the lower id. */
  temperature?: number;
  /** Only the k most likely tokens; 0: all. */
  topK?: number;
  /** The smallest set of tokens whose probability reaches this; 1: all. */
  topP?: number;
  /** Only tokens at least this fraction as likely as the likeliest; 0: all. */
  minP?: number;
  /** Above 1: tokens of the text so far become less likely (Keskar et al. 2019). 1: off. */
  repetitionPenalty?: number;
  /** Subtracted from the logit of every token that was generated. 0: off. */
  presencePenalty?: number;
  /** Subtracted for each time that a token was generated. 0: off. */
  frequencyPenalty?: number;
  /** Same seed, same text, whatever else runs in the batch. Default: drawn, and reported. */
  seed?: number;
}

export type SamplingParameters = Required<SamplingOptions>;

/** Where each parameter came from. */
export type SamplingSource = "call" | "ollama" | "generation_config" | "default";

/** What was applied, and where each of it came from. */
export interface AppliedSampling extends SamplingParameters {
  sources: Readonly<Record<keyof SamplingParameters, SamplingSource>>;
}

const GREEDY: Omit<SamplingParameters, "seed"> = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
};

const NAMES = Object.keys(GREEDY) as (keyof typeof GREEDY)[];

const RANGES: Readonly<Record<keyof typeof GREEDY, readonly [low: number, high: number, words: string]>> = {
  temperature: [0, 1000, "a number from 0 to 1000"],
  topK: [0, 2 ** 31 - 1, "an integer of at least 0"],
  topP: [0, 1, "a number from 0 to 1"],
  minP: [0, 1, "a number from 0 to 1"],
  repetitionPenalty: [1e-6, 1000, "a number above 0"],
  presencePenalty: [-100, 100, "a number from -100 to 100"],
  frequencyPenalty: [-100, 100, "a number from -100 to 100"],
};

/**
 * Each parameter from the call, else from ollama's parameters, else from the model's files, else greedy. Throws INVALID_ARGUMENT for a
 * value out of range.
 */
export function resolveSampling(
  call: SamplingOptions,
  defaults: GenerationDefaults,
  ollama: SamplingOptions = {},
): AppliedSampling {
  checkSampling(call);
  checkSampling(ollama);
  const suggested = { ...defaults, temperature: suggestedTemperature(defaults) };
  const applied = { ...GREEDY, seed: call.seed ?? randomInt(2 ** 31) };
  const sources = { seed: call.seed === undefined ? "default" : "call" } as Record<
    keyof SamplingParameters,
    SamplingSource
  >;
  for (const name of NAMES) {
    const stated: readonly [SamplingSource, number | undefined][] = [
      ["call", call[name]],
      ["ollama", ollama[name]],
      ["generation_config", suggested[name]],
      ["default", GREEDY[name]],
    ];
    const [source, value] = stated.find(([, value]) => value !== undefined)!;
    applied[name] = value!;
    sources[name] = source;
  }
  return { ...applied, sources };
}

/** As in transformers: do_sample false is greedy whatever temperature is named, and true without one draws at temperature 1. */
function suggestedTemperature({ doSample, temperature }: GenerationDefaults): number | undefined {
  if (doSample === false) return 0;
  return temperature ?? (doSample === true ? 1 : undefined);
}

function checkSampling(call: SamplingOptions): void {
  for (const name of NAMES) {
    const value = call[name];
    if (value === undefined) continue;
    const [low, high, words] = RANGES[name];
    const isFine =
      typeof value === "number" && value >= low && value <= high && (name !== "topK" || Number.isInteger(value));
    if (!isFine) throw invalidArgument(name, words, value);
  }
  const { seed } = call;
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) {
    throw invalidArgument("seed", "an integer from 0 to 2^53 - 1", seed);
  }
}

/** The native form. `tokensSoFar` is called only if a penalty needs it; `stream` tells the samples of one prompt apart. */
export function toSampleSpec(
  sampling: SamplingParameters,
  tokensSoFar: () => Int32Array,
  generatedStart: number,
  stream: number,
): SampleSpec {
  const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty, seed } = sampling;
  return {
    ...{ temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty, seed },
    penaltyTokens: usesHistory(sampling) ? tokensSoFar() : new Int32Array(0),
    generatedStart,
    stream,
  };
}

function usesHistory(sampling: SamplingParameters): boolean {
  return sampling.repetitionPenalty !== 1 || sampling.presencePenalty !== 0 || sampling.frequencyPenalty !== 0;
}

/**
 * The rows of a vocabulary that stand for text, as SampleSpec's mask; undefined where all do. Embeddings are padded to round sizes,
 * and a row that no training has touched is no answer.
 */
export function tokensWithText(tokenizer: Tokenizer, vocabSize: number): Uint32Array | undefined {
  const allowed = new Uint32Array(Math.ceil(vocabSize / 32));
  let numAllowed = 0;
  for (let id = 0; id < vocabSize; id++) {
    if (tokenizer.tokenPiece(id) === undefined && tokenizer.tokenBytes(id).length === 0) continue;
    allowed[id >>> 5]! |= 1 << (id & 31);
    numAllowed++;
  }
  return numAllowed === vocabSize ? undefined : allowed;
}

/** One line for people: "greedy", or the parameters that differ from it. */
export function formatSampling(sampling: AppliedSampling): string {
  const parts = NAMES.filter((name) => sampling[name] !== GREEDY[name]).map(
    (name) => `${name} ${sampling[name]}${sampling.sources[name] === "call" ? "" : ` (${sampling.sources[name]})`}`,
  );
  if (sampling.temperature === 0) parts.unshift("greedy");
  else parts.push(`seed ${sampling.seed}`);
  return parts.join(", ");
}
