/** How far two models of one vocabulary are apart on a text: a quantised file and its original, a model and its ablation. */
import { InvalidArgumentError } from "../errors.js";
import type { HeadSpec } from "../native/binding.js";
import type { Model } from "./model.js";
import { type RollingOptions, type RollingResult, textSizes, windowsOf } from "./rolling.js";
import type { Sequence } from "./scheduler/sequence.js";
import { SEGMENT } from "./segments.js";

/** Over the predicted tokens of a text; A is the model that was asked about, B the other. */
export interface Divergence {
  numTokens: number;
  /** KL(A || B) in nats per predicted token. */
  kl: { mean: number; median: number; max: number };
  /** Share of the tokens for which both have the same likeliest token (ties to the lower id). */
  top1Agreement: number;
  /** Absent unless both are mixtures of experts of one shape. */
  routes?: {
    /** Share of (token, layer) pairs for which the same set of experts was chosen. */
    sameSet: number;
    /** Mean share of A's experts that B chose too. */
    overlap: number;
  };
  /** Log-likelihoods under both, by the same windows as `loglikelihoodRolling`. */
  a: RollingResult;
  b: RollingResult;
}

/** Rows whose logits are held at once: 64 of 151,936 numbers are 39 MB for each model. */
const PIECE_ROWS = 64;

/** Sums over rows as they come. */
interface Totals {
  kl: number[];
  sameTop: number;
  routeRows: number;
  sameSets: number;
  overlap: number;
  logprobs: { a: number[]; b: number[] };
}

/** Compares two models on a text. Throws INVALID_ARGUMENT where they do not read it as the same tokens. */
export async function divergence(a: Model, b: Model, text: string, options: RollingOptions = {}): Promise<Divergence> {
  const window = options.window ?? Math.min(a.config.maxContext, b.config.maxContext);
  const windows = await windowsOf(a, text, { ...options, window });
  const others = await windowsOf(b, text, { ...options, window });
  const tokenIds = Int32Array.from(windows.flatMap(({ continuationIds }) => [...continuationIds]));
  const otherIds = Int32Array.from(others.flatMap(({ continuationIds }) => [...continuationIds]));
  requireOneVocabulary(a, b, tokenIds, otherIds);
  const totals: Totals = {
    kl: [],
    sameTop: 0,
    routeRows: 0,
    sameSets: 0,
    overlap: 0,
    logprobs: { a: [], b: [] },
  };
  for (const { contextIds, continuationIds } of windows) {
    await addWindow(a, b, contextIds, continuationIds, totals, options.signal);
    options.onProgress?.(totals.kl.length, tokenIds.length);
  }
  return summary(totals, tokenIds, text);
}

function requireOneVocabulary(a: Model, b: Model, aIds: Int32Array, bIds: Int32Array): void {
  const [sizeA, sizeB] = [a.config.vocabSize, b.config.vocabSize];
  if (sizeA !== sizeB) {
    throw new InvalidArgumentError(`Expected two models of one vocabulary, got ${sizeA} and ${sizeB} tokens.`);
  }
  const at = aIds.findIndex((id, index) => id !== bIds[index]);
  if (at >= 0 || aIds.length !== bIds.length) {
    throw new InvalidArgumentError(
      `Expected two models that read the text alike, their tokens differ from token ${at < 0 ? aIds.length : at} on.`,
    );
  }
}

/** Runs both models over a window in pieces; only the rows that predict a token of the continuation count. */
function addWindow(
  a: Model,
  b: Model,
  contextIds: Int32Array,
  continuationIds: Int32Array,
  totals: Totals,
  signal: AbortSignal | undefined,
): Promise<void> {
  const inputIds = Int32Array.from([...contextIds, ...continuationIds.subarray(0, -1)]);
  const firstRow = contextIds.length - 1;
  const level = sameShape(a, b) ? "topk" : "counts";
  const open = <T>(model: Model, use: (sequence: Sequence) => Promise<T>) =>
    model.parts.engine.run(signal, (call) =>
      use(call.open(model.kindAt(level), { maxLength: inputIds.length, keep: 0 })),
    );
  return open(a, (sequenceA) =>
    open(b, async (sequenceB) => {
      for (let start = 0; start < inputIds.length; ) {
        const isContext = start < firstRow;
        const end = isContext ? firstRow : Math.min(start + PIECE_ROWS, inputIds.length);
        const head: HeadSpec = isContext ? { kind: "none" } : { kind: "logits", rows: "all" };
        const append = { tokenIds: inputIds.slice(start, end), origin: 0, segment: SEGMENT.question, head } as const;
        const [{ logits: logitsA }, { logits: logitsB }] = await Promise.all([
          sequenceA.append(append),
          sequenceB.append(append),
        ]);
        if (!isContext) addRows(logitsA, logitsB, continuationIds.subarray(start - firstRow, end - firstRow), totals);
        start = end;
      }
      const [routesA, routesB] = [sequenceA.trace?.slice(firstRow), sequenceB.trace?.slice(firstRow)];
      if (routesA && routesB) {
        addRoutes(routesA.columns.topkExperts, routesB.columns.topkExperts, routesA.topK, totals);
      }
    }),
  );
}

/** Whether routes can be compared slot by slot. */
function sameShape({ parts: { shape: a } }: Model, { parts: { shape: b } }: Model): boolean {
  return (
    a.moeLayers.length > 0 &&
    a.moeLayers.join() === b.moeLayers.join() &&
    a.numExperts === b.numExperts &&
    a.numExpertsPerToken === b.numExpertsPerToken
  );
}

function addRows(a: Float32Array, b: Float32Array, targets: Int32Array, totals: Totals): void {
  const width = a.length / targets.length;
  for (const [row, target] of targets.entries()) {
    const rowA = a.subarray(row * width, (row + 1) * width);
    const rowB = b.subarray(row * width, (row + 1) * width);
    const [normA, topA] = logSumExp(rowA);
    const [normB, topB] = logSumExp(rowB);
    let kl = 0;
    for (let token = 0; token < width; token++) {
      const logA = rowA[token]! - normA;
      kl += Math.exp(logA) * (logA - (rowB[token]! - normB));
    }
    totals.kl.push(kl);
    if (topA === topB) totals.sameTop++;
    totals.logprobs.a.push(rowA[target]! - normA);
    totals.logprobs.b.push(rowB[target]! - normB);
  }
}

/** ln of the sum of exponentials, and the index of the largest. */
function logSumExp(row: Float32Array): [norm: number, top: number] {
  let top = 0;
  for (let token = 1; token < row.length; token++) if (row[token]! > row[top]!) top = token;
  let total = 0;
  for (const logit of row) total += Math.exp(logit - row[top]!);
  return [row[top]! + Math.log(total), top];
}

function addRoutes(a: Uint16Array, b: Uint16Array, k: number, totals: Totals): void {
  for (let start = 0; start < a.length; start += k) {
    const chosen = new Set(b.subarray(start, start + k));
    const common = a.subarray(start, start + k).reduce((count, expert) => count + (chosen.has(expert) ? 1 : 0), 0);
    totals.routeRows++;
    totals.overlap += common / k;
    if (common === k) totals.sameSets++;
  }
}

function summary(totals: Totals, tokenIds: Int32Array, text: string): Divergence {
  const { kl, routeRows } = totals;
  const sorted = [...kl].sort((x, y) => x - y);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
  const resultOf = (logprobs: number[]): RollingResult => ({
    ...textSizes(text),
    logprob: logprobs.reduce((total, value) => total + value, 0),
    tokenLogprobs: Float32Array.from(logprobs),
    tokenIds,
  });
  return {
    numTokens: kl.length,
    kl: { mean: kl.reduce((total, value) => total + value, 0) / kl.length, median, max: sorted.at(-1) ?? Number.NaN },
    top1Agreement: totals.sameTop / kl.length,
    routes: routeRows === 0 ? undefined : { sameSet: totals.sameSets / routeRows, overlap: totals.overlap / routeRows },
    a: resultOf(totals.logprobs.a),
    b: resultOf(totals.logprobs.b),
  };
}
