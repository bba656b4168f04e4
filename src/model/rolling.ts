/**
 * Log-likelihoods of whole texts by windows, for perplexity: the rule of lm-evaluation-harness (`get_rolling_token_windows` and
 * `make_disjoint_window`, release 0.4.13), in which every token is predicted exactly once.
 */
import { withProgress } from "../ambient-progress.js";
import { invalidArgument, MoescopeError } from "../errors.js";
import { PYTHON_WHITESPACE } from "../tokenizer/encode-pair.js";
import { type LikelihoodRequest, loglikelihood } from "./likelihood.js";
import type { Model } from "./model.js";

/** Tokens to condition on and tokens to score. */
export interface RollingWindow {
  contextIds: Int32Array;
  continuationIds: Int32Array;
}

export interface RollingOptions {
  /** Longest input of one window in tokens. Default: the model's context. */
  window?: number;
  /** Read special-token text as special tokens, as lm-evaluation-harness does. Default false. */
  parseSpecial?: boolean;
  signal?: AbortSignal;
  onProgress?: (tokensDone: number, tokensTotal: number) => void;
}

/** The log-likelihood of a text, with what perplexities are divided by. */
export interface RollingResult {
  /** Sum of all tokens' natural log-probabilities. */
  logprob: number;
  tokenLogprobs: Float32Array;
  tokenIds: Int32Array;
  /** Length of the text in UTF-8. */
  numBytes: number;
  /** Pieces between runs of white space; empty ones at the ends count, as in the harness. */
  numWords: number;
}

/** Perplexities of one or more texts: the sums are divided, not the ratios averaged. */
export interface Perplexity {
  perToken: number;
  perWord: number;
  perByte: number;
  bitsPerByte: number;
}

/**
 * Cuts a text into windows. The first predicts up to `maxLength` tokens from the prefix token; each further one predicts the next
 * `maxLength` from the one token before them; the last, shorter one keeps `maxLength` tokens of input, so it sees more context.
 */
export function rollingWindows(tokenIds: Int32Array, prefixTokenId: number, maxLength: number): RollingWindow[] {
  const windows: RollingWindow[] = [];
  for (let start = 0; start < tokenIds.length; start += maxLength) {
    const end = Math.min(start + maxLength, tokenIds.length);
    const contextIds =
      start === 0 ? Int32Array.of(prefixTokenId) : tokenIds.slice(Math.min(start, end - maxLength) - 1, start);
    windows.push({ contextIds, continuationIds: tokenIds.slice(start, end) });
  }
  return windows;
}

/** The windows of a text as a model scores it. Throws INVALID_ARGUMENT where the tokenizer has no token to begin with. */
export async function windowsOf(
  model: Model,
  text: string,
  { window = model.config.maxContext, parseSpecial = false }: RollingOptions,
): Promise<RollingWindow[]> {
  const { maxContext, bosTokenId, eosTokenIds } = model.config;
  if (!(Number.isInteger(window) && window >= 1)) throw invalidArgument("window", "a whole number from 1 up", window);
  if (window > maxContext) {
    throw new MoescopeError(
      "CONTEXT_TOO_LONG",
      `The window has ${window} tokens, the model's context holds ${maxContext}.`,
    );
  }
  const prefix = model.tokenizer.bosTokenId ?? model.tokenizer.eosTokenId ?? bosTokenId ?? eosTokenIds[0];
  if (prefix === undefined) throw invalidArgument("the model", "a tokenizer with a BOS or EOS token", null);
  const tokenIds = await model.tokenizer.encode(text, { addSpecial: false, parseSpecial });
  return rollingWindows(tokenIds, prefix, window);
}

/** One result per text. */
export function loglikelihoodRolling(
  model: Model,
  texts: readonly string[],
  options: RollingOptions,
): Promise<RollingResult[]> {
  return withProgress(
    options.onProgress,
    { label: "loglikelihood", unit: "tokens", move: (bar, done, total) => bar.update(done, total) },
    (onProgress) => scoreWindows(model, texts, { ...options, onProgress }),
  );
}

async function scoreWindows(model: Model, texts: readonly string[], options: RollingOptions): Promise<RollingResult[]> {
  const windows = await Promise.all(texts.map((text) => windowsOf(model, text, options)));
  const total = windows.flat().reduce((sum, { continuationIds }) => sum + continuationIds.length, 0);
  const results: RollingResult[] = [];
  let done = 0;
  for (const [index, text] of texts.entries()) {
    const pieces: Float32Array[] = [];
    // One window at a time: each is as long as the context, and no two share a beginning.
    for (const request of windows[index]!) {
      const [score] = await loglikelihood(model, [request satisfies LikelihoodRequest], { signal: options.signal });
      pieces.push(score!.tokenLogprobs);
      done += request.continuationIds.length;
      options.onProgress?.(done, total);
    }
    const tokenIds = Int32Array.from(windows[index]!.flatMap(({ continuationIds }) => [...continuationIds]));
    const tokenLogprobs = Float32Array.from(pieces.flatMap((piece) => [...piece]));
    results.push({ ...textSizes(text), logprob: sum(tokenLogprobs), tokenLogprobs, tokenIds });
  }
  return results;
}

/** Perplexities over several texts together. NaN where there is nothing to divide by. */
export function perplexityOf(
  results: readonly Pick<RollingResult, "logprob" | "tokenIds" | "numBytes" | "numWords">[],
): Perplexity {
  const logprob = results.reduce((total, result) => total + result.logprob, 0);
  const over = (size: (result: (typeof results)[number]) => number) =>
    -logprob / results.reduce((total, result) => total + size(result), 0);
  const perByte = over(({ numBytes }) => numBytes);
  return {
    perToken: Math.exp(over(({ tokenIds }) => tokenIds.length)),
    perWord: Math.exp(over(({ numWords }) => numWords)),
    perByte: Math.exp(perByte),
    bitsPerByte: perByte / Math.LN2,
  };
}

/** Bytes in UTF-8, and words by Python's `re.split(r"\s+")`. */
export function textSizes(text: string): { numBytes: number; numWords: number } {
  return {
    numBytes: Buffer.byteLength(text, "utf8"),
    numWords: text.split(new RegExp(`[${PYTHON_WHITESPACE}]+`, "u")).length,
  };
}

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0);
}
