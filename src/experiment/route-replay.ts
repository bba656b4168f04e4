/** One model's routes through another's weights: how much of the difference between two models is where they send their tokens. */

import { withProgress } from "../ambient-progress.js";
import type { Model } from "../model/model.js";
import {
  compareRows,
  documentsOf,
  forced,
  logprobOf,
  replayOf,
  requireSameShape,
  requireSameTokens,
  TOKENIZER_PROBE,
} from "./forced.js";
import { type Effect, effectOf } from "./paired-effect.js";
import type { Questions } from "./questions.js";

export interface ReplayOptions {
  /** Gates of the replayed experts: the running model's own, or those that were recorded. Default "model". */
  weights?: "model" | "recorded";
  /** Tokens of a document; default 256. */
  maxTokens?: number;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

/** Model A's weights under routes of its own, and under B's. */
export interface RouteReplay {
  documents: number;
  tokens: number;
  weights: "model" | "recorded";
  /** Mean ln p of the next token, by document. */
  logprob: { own: number; replayed: number; other: number };
  /** B's routes against A's own, document by document. */
  effect: Omit<Effect, "group" | "measure">;
  /** Mean KL in nats per token: B against A, and B against A under B's routes. */
  kl: { own: number; replayed: number };
  /** Share of KL(B || A) that B's routes take away; at most 1, below 0 where they make it worse. NaN where A and B do not differ. */
  explained: number;
  /** Share of tokens with B's likeliest token, under A's own routes and under B's. */
  top1: { own: number; replayed: number };
  /** The same replay of one layer at a time. */
  perLayer: readonly { layer: number; kl: number; explained: number }[];
}

/**
 * Runs `a` with the routes that `b` takes over the same tokens. A model's own routes change no bit of it.
 *
 * @throws InvalidArgumentError unless both are of one shape and one tokenizer.
 */
export function routeReplay(
  a: Model,
  b: Model,
  questions: Questions,
  options: ReplayOptions = {},
): Promise<RouteReplay> {
  return withProgress(
    options.onProgress,
    { label: "replay", unit: "documents", move: (bar, done, total) => bar.update(done, total) },
    (onProgress) => replayOn(a, b, questions, { ...options, onProgress }),
  );
}

async function replayOn(a: Model, b: Model, questions: Questions, options: ReplayOptions): Promise<RouteReplay> {
  const { weights = "model", maxTokens = 256, signal, onProgress } = options;
  requireSameShape(a, b);
  await requireSameTokens(b, TOKENIZER_PROBE, await a.tokenizer.encode(TOKENIZER_PROBE));
  const documents = await documentsOf(a, questions, { maxTokens, signal });
  const layers = a.parts.shape.moeLayers;
  const sums = { own: new Sums(), replayed: new Sums(), other: new Sums() };
  const perLayer = layers.map(() => new Sums());
  for (const [done, { tokenIds }] of documents.entries()) {
    onProgress?.(done, documents.length);
    const target = await forced(b, tokenIds, signal);
    const run = async (only?: readonly number[]) =>
      (await a.with(replayOf(target.trace, weights, only)).forward(tokenIds, { logits: "all", signal })).logits;
    sums.own.add(target.logits, (await forced(a, tokenIds, signal)).logits, tokenIds);
    sums.replayed.add(target.logits, await run(), tokenIds);
    sums.other.add(target.logits, target.logits, tokenIds);
    for (const [index, layer] of layers.entries()) perLayer[index]!.add(target.logits, await run([layer]), tokenIds);
  }
  onProgress?.(documents.length, documents.length);
  const { own, replayed, other } = sums;
  const explained = (kl: number) => (own.kl === 0 ? Number.NaN : 1 - kl / own.kl);
  return {
    ...{ documents: documents.length, tokens: own.tokens, weights },
    logprob: { own: own.logprob, replayed: replayed.logprob, other: other.logprob },
    effect: effectOf(own.documents, replayed.documents),
    kl: { own: own.kl, replayed: replayed.kl },
    explained: explained(replayed.kl),
    top1: { own: own.top1, replayed: replayed.top1 },
    perLayer: layers.map((layer, index) => {
      return { layer, kl: perLayer[index]!.kl, explained: explained(perLayer[index]!.kl) };
    }),
  };
}

/** Sums over documents of one way to run. */
class Sums {
  /** Mean ln p of the next token. */
  readonly documents: number[] = [];
  tokens = 0;
  #kl = 0;
  #same = 0;

  add(target: Float32Array, logits: Float32Array, tokenIds: Int32Array): void {
    const width = logits.length / tokenIds.length;
    let logprob = 0;
    for (let row = 0; row < tokenIds.length; row++) {
      const own = logits.subarray(row * width, (row + 1) * width);
      const { kl, topA, topB } = compareRows(target.subarray(row * width, (row + 1) * width), own);
      this.#kl += kl;
      if (topA === topB) this.#same++;
      if (row + 1 < tokenIds.length) logprob += logprobOf(own, tokenIds[row + 1]!);
    }
    this.tokens += tokenIds.length;
    this.documents.push(logprob / (tokenIds.length - 1));
  }

  get kl(): number {
    return this.#kl / this.tokens;
  }

  get top1(): number {
    return this.#same / this.tokens;
  }

  get logprob(): number {
    return this.documents.reduce((sum, value) => sum + value, 0) / this.documents.length;
  }
}
