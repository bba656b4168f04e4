/** The same tokens through two models: teacher forcing, so that one different token does not change all that follow. */

import { InvalidArgumentError } from "../errors.js";
import type { ForwardResult } from "../model/forward.js";
import type { Model } from "../model/model.js";
import { replay } from "../router/intervention-builders.js";
import type { Intervention } from "../router/interventions.js";
import { ORIGINS } from "../router/schema.js";
import type { RouterTrace } from "../router/trace.js";
import type { Questions, TracedItem } from "./questions.js";

/** A text as tokens, and the item that it belongs to. */
export interface TokenDocument {
  task: string;
  sampleId: string;
  group: string;
  tokenIds: Int32Array;
  /** First row whose next token is part of the answer: written by the model, or scored. */
  answerStart: number;
}

/**
 * The tokens that a model reads (and, where it writes, wrote) for each item: of several requests the first one's. Longer documents are
 * cut at `maxTokens`.
 */
export async function documentsOf(
  model: Model,
  questions: Questions,
  {
    maxTokens,
    signal,
    onProgress,
  }: { maxTokens: number; signal?: AbortSignal; onProgress?: (done: number, total: number) => void },
): Promise<TokenDocument[]> {
  const documents: TokenDocument[] = [];
  const take = ({ request, trace, task, sampleId, group }: TracedItem) => {
    if (request !== 0) return;
    const tokenIds = trace.columns.tokenIds.slice(0, maxTokens);
    documents.push({ task, sampleId, group, tokenIds, answerStart: answerStartOf(trace) });
  };
  await questions.ask(model, { signal, onProgress, level: "topk", onTrace: take });
  return documents.filter(({ tokenIds }) => tokenIds.length > 1);
}

function answerStartOf({ columns: { origins, segments }, layout, numTokens }: RouterTrace): number {
  const choice = layout.segments.indexOf("choice");
  const first = segments.findIndex((segment, token) => segment === choice || ORIGINS[origins[token]!] === "generated");
  return first < 0 ? numTokens - 1 : Math.max(0, first - 1);
}

/** Logits of every token and routes at level `logits`. */
export async function forced(model: Model, tokenIds: Int32Array, signal?: AbortSignal): Promise<Forced> {
  const { logits, trace } = await model.forward(tokenIds, { logits: "all", trace: "logits", signal });
  return { logits, trace: requireTrace(trace), width: logits.length / tokenIds.length };
}

export interface Forced {
  /** [tokens, width] */
  logits: Float32Array;
  trace: RouterTrace;
  /** Vocabulary size. */
  width: number;
}

function requireTrace(trace: ForwardResult["trace"]): RouterTrace {
  if (trace !== undefined) return trace;
  throw new InvalidArgumentError("Expected a model with routed experts, this one records no routes.");
}

/** The replay of a trace's routes; `layers` names some of them, by default all. */
export function replayOf(trace: RouterTrace, weights: "model" | "recorded", layers?: readonly number[]): Intervention {
  return replay({ layers: layers === undefined ? [...trace.layers] : [...layers], weights, route: trace.route() });
}

/** KL(A || B) of two rows of logits in nats, and each one's likeliest token (ties to the lower id). */
export function compareRows(a: Float32Array, b: Float32Array): { kl: number; topA: number; topB: number } {
  const [normA, topA] = logSumExp(a);
  const [normB, topB] = logSumExp(b);
  let kl = 0;
  for (let token = 0; token < a.length; token++) {
    const logA = a[token]! - normA;
    if (logA > Number.NEGATIVE_INFINITY) kl += Math.exp(logA) * (logA - (b[token]! - normB));
  }
  return { kl, topA, topB };
}

/** ln p of a token under a row of logits. */
export function logprobOf(row: Float32Array, token: number): number {
  return row[token]! - logSumExp(row)[0];
}

function logSumExp(row: Float32Array): [norm: number, top: number] {
  let top = 0;
  for (let token = 1; token < row.length; token++) if (row[token]! > row[top]!) top = token;
  let total = 0;
  for (let token = 0; token < row.length; token++) total += Math.exp(row[token]! - row[top]!);
  return [row[top]! + Math.log(total), top];
}

/** @throws InvalidArgumentError unless routes can be compared and exchanged: the same MoE layers, experts and k, and one vocabulary. */
export function requireSameShape(a: Model, b: Model): void {
  const describe = ({ parts: { shape }, config }: Model) =>
    `MoE layers ${shape.moeLayers.join(", ") || "none"} with ${shape.numExpertsPerToken} of ${shape.numExperts} experts and ${config.vocabSize} tokens`;
  if (describe(a) !== describe(b) || a.parts.shape.moeLayers.length === 0) {
    throw new InvalidArgumentError(
      `Expected two files of one mixture of experts, got ${describe(a)} against ${describe(b)}.`,
    );
  }
}

/** @throws InvalidArgumentError where the two models do not read the same text as the same tokens. */
export async function requireSameTokens(b: Model, text: string, ids: Int32Array): Promise<void> {
  const other = await b.tokenizer.encode(text);
  const at = ids.findIndex((id, index) => id !== other[index]);
  if (at < 0 && ids.length === other.length) return;
  throw new InvalidArgumentError(
    `Expected two models with one tokenizer, they read ${JSON.stringify(text)} as other tokens from token ${at < 0 ? ids.length : at} on.`,
  );
}

/** Text on which two tokenizers of equal size are told apart. */
export const TOKENIZER_PROBE = "The quick brown fox: 12,345 + 6 = ? 你好，世界 def f(x):\n    return x";
