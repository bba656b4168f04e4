/**
 * Two files of one model (bf16 and Q4_K_M, say) on the same tokens: how far logits and routes move, which routes flip by the margin that
 * they had, and whether it is the flipped routes that change an answer.
 */

import { withProgress } from "../ambient-progress.js";
import { FlipsByMargin, type MarginFlips } from "../analysis/flips-by-margin.js";
import { quantileOfSorted } from "../analysis/numbers.js";
import { RouteAgreement, sharedExperts } from "../analysis/route-agreement.js";
import { marginOf } from "../analysis/route-margins.js";
import type { Model } from "../model/model.js";
import type { MarginHistogramData } from "../plot/margin-histogram.js";
import type { RouterTrace } from "../router/trace.js";
import {
  compareRows,
  documentsOf,
  type Forced,
  forced,
  replayOf,
  requireSameShape,
  requireSameTokens,
  TOKENIZER_PROBE,
  type TokenDocument,
} from "./forced.js";
import { type Effect, pairedEffects } from "./paired-effect.js";
import type { Questions } from "./questions.js";

export interface DriftOptions {
  /** Tokens of a document that are compared; default 256. */
  maxTokens?: number;
  signal?: AbortSignal;
  /** What is being done, and how far. */
  onProgress?: (stage: "answers of A" | "answers of B" | "comparing", done: number, total: number) => void;
}

/** A token whose experts differ in a layer. */
export interface RouteFlip {
  position: number;
  layer: number;
  /** z_(k) - z_(k+1) in A. */
  margin: number;
  /** Experts that A chose and B did not, and the other way round. */
  lost: readonly number[];
  gained: readonly number[];
}

/**
 * A document in whose answer the two models would write another token. The test: B is run again with A's routes (its own weights and gates). If
 * it then agrees with A, the flipped routes changed the token; if not, the weights did.
 */
export interface ChangedAnswer {
  task: string;
  sampleId: string;
  /** First position of the answer whose likeliest next token differs, and the two tokens. */
  position: number;
  tokenA: number;
  tokenB: number;
  /** Scores of the item under both, where it has some. */
  correct?: readonly [a: number | null, b: number | null];
  /** Flips up to that position. */
  flips: number;
  /** Of these the nearest ones, at most 8, by margin. */
  nearest: readonly RouteFlip[];
  causedByRoutes: boolean;
  /** Layers whose routes alone bring A's token back; empty where only several together do. */
  sufficientLayers: readonly number[];
}

export interface Drift {
  documents: number;
  tokens: number;
  /** Root mean square and largest difference of a logit, each row shifted by its mean difference, over A's sd of logits. */
  logitError: { rms: number; max: number; sd: number };
  /** KL(A || B) in nats per token. */
  kl: { mean: number; median: number; max: number };
  top1Agreement: number;
  layers: readonly number[];
  /** Mean share of common experts, and share of tokens whose set differs, by layer. */
  agreement: Float64Array;
  differs: Float64Array;
  differsInAnyLayer: number;
  flips: readonly MarginFlips[];
  /** Change of the scores from A to B on the same items. */
  scores: readonly Effect[];
  changedAnswers: readonly ChangedAnswer[];
}

const NEAREST = 8;

/**
 * Compares `b` with `a` on the tokens that `a` reads and writes.
 *
 * @throws InvalidArgumentError unless both are files of one mixture of experts with one tokenizer.
 */
export function drift(a: Model, b: Model, questions: Questions, options: DriftOptions = {}): Promise<Drift> {
  return withProgress(
    options.onProgress,
    { label: "drift", unit: "documents", move: (bar, stage, done, total) => bar.update(done, total, stage) },
    (onProgress) => compareOn(a, b, questions, { ...options, onProgress }),
  );
}

async function compareOn(a: Model, b: Model, questions: Questions, options: DriftOptions): Promise<Drift> {
  const { maxTokens = 256, signal, onProgress } = options;
  requireSameShape(a, b);
  await requireSameTokens(b, TOKENIZER_PROBE, await a.tokenizer.encode(TOKENIZER_PROBE));
  const stage = (name: Parameters<NonNullable<DriftOptions["onProgress"]>>[0]) => (done: number, total: number) =>
    onProgress?.(name, done, total);
  const answersA = await questions.ask(a, { signal, onProgress: stage("answers of A") });
  const answersB = await questions.ask(b, { signal, onProgress: stage("answers of B") });
  const documents = await documentsOf(a, questions, { maxTokens, signal });
  const totals = new DriftTotals();
  const changedAnswers: ChangedAnswer[] = [];
  for (const [done, document] of documents.entries()) {
    onProgress?.("comparing", done, documents.length);
    const first = await forced(a, document.tokenIds, signal);
    const second = await forced(b, document.tokenIds, signal);
    const position = totals.add(document, first, second);
    if (position === undefined) continue;
    const at = answersA.findIndex((answer) => answer.task === document.task && answer.sampleId === document.sampleId);
    const correct = at < 0 ? undefined : ([answersA[at]!.correct, answersB[at]!.correct] as const);
    changedAnswers.push(await changedAnswer(b, document, first, second, position, correct, signal));
  }
  onProgress?.("comparing", documents.length, documents.length);
  return { ...totals.figures(), scores: pairedEffects(answersA, answersB), changedAnswers };
}

class DriftTotals {
  readonly #agreement = new RouteAgreement();
  readonly #flips = new FlipsByMargin();
  readonly #kl: number[] = [];
  #documents = 0;
  #sameTop = 0;
  #squares = 0;
  #largest = 0;
  #values = 0;
  #variance = 0;

  /** Adds a document; returns the first position of its answer at which the likeliest token differs. */
  add({ task, sampleId, tokenIds, answerStart }: TokenDocument, a: Forced, b: Forced): number | undefined {
    const key = { task, sampleId };
    this.#agreement.addPair(a.trace.withKey(key), b.trace.withKey(key));
    this.#flips.addPair(a.trace, b.trace);
    this.#documents++;
    let changed: number | undefined;
    for (let row = 0; row < tokenIds.length; row++) {
      const rowA = a.logits.subarray(row * a.width, (row + 1) * a.width);
      const rowB = b.logits.subarray(row * b.width, (row + 1) * b.width);
      const { kl, topA, topB } = compareRows(rowA, rowB);
      this.#kl.push(kl);
      this.#addError(rowA, rowB);
      if (topA === topB) this.#sameTop++;
      else if (row >= answerStart) changed ??= row;
    }
    return changed;
  }

  figures(): Omit<Drift, "scores" | "changedAnswers"> {
    const tokens = this.#kl.length;
    const sorted = Float64Array.from(this.#kl).sort();
    const sd = Math.sqrt(this.#variance / this.#values);
    return {
      ...{ documents: this.#documents, tokens, layers: this.#agreement.shape.layers },
      logitError: { rms: Math.sqrt(this.#squares / this.#values) / sd, max: this.#largest / sd, sd },
      kl: {
        mean: this.#kl.reduce((sum, value) => sum + value, 0) / tokens,
        median: quantileOfSorted(sorted, 0.5),
        max: sorted.at(-1)!,
      },
      top1Agreement: this.#sameTop / tokens,
      agreement: this.#agreement.agreement(),
      differs: this.#agreement.differs(),
      differsInAnyLayer: this.#agreement.differsInAnyLayer(),
      flips: this.#flips.bins(),
    };
  }

  /** A shift of a whole row changes no probability, so it is taken out. */
  #addError(a: Float32Array, b: Float32Array): void {
    let [shift, mean] = [0, 0];
    for (let token = 0; token < a.length; token++) {
      shift += (b[token]! - a[token]!) / a.length;
      mean += a[token]! / a.length;
    }
    for (let token = 0; token < a.length; token++) {
      const error = Math.abs(b[token]! - a[token]! - shift);
      this.#squares += error * error;
      this.#largest = Math.max(this.#largest, error);
      this.#variance += (a[token]! - mean) ** 2;
    }
    this.#values += a.length;
  }
}

async function changedAnswer(
  b: Model,
  { task, sampleId, tokenIds }: TokenDocument,
  first: Forced,
  second: Forced,
  position: number,
  correct: ChangedAnswer["correct"],
  signal: AbortSignal | undefined,
): Promise<ChangedAnswer> {
  const row = ({ logits, width }: Forced) => logits.subarray(position * width, (position + 1) * width);
  const { topA: tokenA, topB: tokenB } = compareRows(row(first), row(second));
  const flips = flipsBetween(first.trace, second.trace, position);
  // Only the tokens up to the changed one matter, and a route covers exactly the tokens that it was recorded over.
  const ids = tokenIds.slice(0, position + 1);
  const route = first.trace.slice(0, position + 1);
  const bringsBack = async (layers: readonly number[]) => {
    const { logits } = await b.with(replayOf(route, "model", layers)).forward(ids, { logits: "last", signal });
    return compareRows(logits, logits).topA === tokenA;
  };
  const flippedLayers = [...new Set(flips.map(({ layer }) => layer))].sort((x, y) => x - y);
  const causedByRoutes = flips.length > 0 && (await bringsBack(route.layers));
  const sufficientLayers: number[] = [];
  if (causedByRoutes) {
    for (const layer of flippedLayers) if (await bringsBack([layer])) sufficientLayers.push(layer);
  }
  const nearest = [...flips].sort((x, y) => x.margin - y.margin).slice(0, NEAREST);
  const where = { task, sampleId, position, tokenA, tokenB, correct };
  return { ...where, flips: flips.length, nearest, causedByRoutes, sufficientLayers };
}

/** Flips at positions up to `last`. */
export function flipsBetween(a: RouterTrace, b: RouterTrace, last: number): RouteFlip[] {
  const flips: RouteFlip[] = [];
  const k = a.topK;
  const experts = (trace: RouterTrace, row: number) => [...trace.columns.topkExperts.subarray(row * k, (row + 1) * k)];
  for (let token = 0; token <= last && token < a.numTokens; token++) {
    for (const [index, layer] of a.layers.entries()) {
      const row = token * a.layers.length + index;
      if (sharedExperts(a, row, b, row) === k) continue;
      const [chosenA, chosenB] = [experts(a, row), experts(b, row)];
      flips.push({
        ...{ position: a.columns.positions[token]!, layer, margin: marginOf(a, row) },
        lost: chosenA.filter((expert) => !chosenB.includes(expert)),
        gained: chosenB.filter((expert) => !chosenA.includes(expert)),
      });
    }
  }
  return flips;
}

/** The margin histogram of a drift, without the empty bins at its end. */
export function driftPlot({ flips }: Drift, title?: string): MarginHistogramData {
  const last = flips.findLastIndex(({ tokens }) => tokens > 0);
  return { bins: flips.slice(0, last + 1), title };
}
