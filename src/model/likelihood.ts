/** `loglikelihood` as people call it: texts or token ids in, sums and single tokens out. */
import { withProgress } from "../ambient-progress.js";
import { withAmbientSignal } from "../ambient-signal.js";
import { invalidArgument, MoescopeError } from "../errors.js";
import { type Capture, isRecorded } from "../router/capture.js";
import { checkTrace } from "../router/invariants.js";
import type { RouterTrace } from "../router/trace.js";
import { type ChatMessage, missingChatTemplate } from "../tokenizer/chat-template.js";
import { encodePair, truncatePair } from "../tokenizer/encode-pair.js";
import { dependsOnSegments } from "./layer-base.js";
import type { Model } from "./model.js";
import { type ScoredPair, scorePairs } from "./score.js";
import { SEGMENT } from "./segments.js";

/**
 * A continuation and what comes before it: as text, as a conversation, or as token ids that are taken as they are. With
 * `parseSpecial` the text of special tokens is read as these tokens; a conversation's continuation is always a user's text.
 */
export type LikelihoodRequest =
  | { context: string | readonly ChatMessage[]; continuation: string; parseSpecial?: boolean }
  | { contextIds: ArrayLike<number>; continuationIds: ArrayLike<number> };

export interface LikelihoodOptions {
  /** How much of the routing to record, and of which layers and rows. Default "counts": none of it row by row. */
  trace?: Capture;
  /** Cut contexts that are too long from the left, as lm-evaluation-harness does. Default false: they are an error. */
  truncate?: boolean;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

export interface LikelihoodResult {
  /** Sum of the tokens' natural log-probabilities; not normalised by length. */
  logprob: number;
  /** One per token of the continuation. */
  tokenLogprobs: Float32Array;
  tokenIds: Int32Array;
  /** Whether each token is the likeliest given those before it. */
  isGreedy: boolean;
  /** Rows that were read and are recorded: of context and continuation without its last token. Absent at level "counts". */
  trace?: RouterTrace;
}

export async function loglikelihood(
  model: Model,
  requests: readonly LikelihoodRequest[],
  options: LikelihoodOptions,
): Promise<LikelihoodResult[]> {
  const pairs: ScoredPair[] = [];
  for (const [index, request] of requests.entries())
    pairs.push(await pairOf(model, request, index, options.truncate ?? false));
  for (const pair of pairs) model.checkReplay(inputIdsOf(pair));
  const { trace: capture = "counts", signal } = options;
  const kind = model.kindAt(capture);
  const { rules, base } = model;
  const { engine } = model.parts;
  const scores = await withProgress(
    options.onProgress,
    { label: "loglikelihood", unit: "requests", move: (bar, done, total) => bar.update(done, total) },
    (onProgress) =>
      // Routes of the shared layers were not computed for the variant, and are the caller's to ask of a plain one.
      base !== undefined && kind.level === "counts" && !dependsOnSegments(rules)
        ? base.score(pairs, rules, { signal: withAmbientSignal(signal), onProgress })
        : scorePairs(pairs, { engine, kind, signal, onProgress }),
  );
  return scores.map(({ tokenLogprobs, isGreedy, trace }, index) => {
    const { contextIds, continuationIds } = pairs[index]!;
    const numTokens =
      (isRecorded(kind, { origin: 0, segment: SEGMENT.question }) ? contextIds.length : 0) +
      (isRecorded(kind, { origin: 0, segment: SEGMENT.choice }) ? continuationIds.length - 1 : 0);
    if (trace !== undefined) checkTrace(trace, { numTokens, rules });
    const logprob = tokenLogprobs.reduce((sum, value) => sum + value, 0);
    if (Number.isNaN(logprob))
      throw new MoescopeError("INTERNAL", `The log-likelihood of request ${index} was not computed.`);
    return { logprob, tokenLogprobs, tokenIds: continuationIds, isGreedy, trace };
  });
}

/** @internal The tokens of a request, number `index` of its call. */
export async function pairOf(
  model: Model,
  request: LikelihoodRequest,
  index: number,
  truncate: boolean,
): Promise<ScoredPair> {
  let pair = "contextIds" in request ? idsOf(request, index) : await encoded(model, request);
  const { maxContext } = model.config;
  const length = pair.contextIds.length + pair.continuationIds.length - 1;
  if (length > maxContext) {
    if (!truncate) {
      throw new MoescopeError(
        "CONTEXT_TOO_LONG",
        `Request ${index} needs ${length} positions, the model's context holds ${maxContext}.`,
      );
    }
    pair = truncatePair(pair, maxContext);
  }
  return { contextIds: Int32Array.from(pair.contextIds), continuationIds: Int32Array.from(pair.continuationIds) };
}

/** What the model reads: the last token is only predicted. */
function inputIdsOf({ contextIds, continuationIds }: ScoredPair): Int32Array {
  return Int32Array.from([...contextIds, ...continuationIds.subarray(0, -1)]);
}

function idsOf(
  request: { contextIds: ArrayLike<number>; continuationIds: ArrayLike<number> },
  index: number,
): { contextIds: number[]; continuationIds: number[] } {
  const contextIds = Array.from(request.contextIds);
  const continuationIds = Array.from(request.continuationIds);
  if (contextIds.length === 0) throw invalidArgument(`requests[${index}].contextIds`, "at least one token", contextIds);
  if (continuationIds.length === 0) {
    throw invalidArgument(`requests[${index}].continuationIds`, "at least one token", continuationIds);
  }
  return { contextIds, continuationIds };
}

async function encoded(
  model: Model,
  request: { context: string | readonly ChatMessage[]; continuation: string; parseSpecial?: boolean },
): Promise<{ contextIds: number[]; continuationIds: number[] }> {
  const { context, continuation, parseSpecial } = request;
  const { tokenizer, chatTemplate } = model;
  const prefix = tokenizer.bosTokenId ?? tokenizer.eosTokenId ?? undefined;
  if (typeof context === "string") {
    return encodePair((text) => tokenizer.encode(text, { parseSpecial }), context, continuation, prefix);
  }
  if (chatTemplate === null) throw missingChatTemplate(model.parts.checkpoint.path);
  const rendered = chatTemplate.render(context);
  // A continuation is a user's text: special tokens are read only in what the template wrote.
  const encode = (text: string) => {
    const fromTemplate = new Uint8Array(text.length);
    fromTemplate.set(rendered.fromTemplate.subarray(0, text.length));
    return tokenizer.encodeTrusted(text, fromTemplate);
  };
  return encodePair(encode, rendered.text, continuation, prefix);
}
