/**
 * Log-likelihoods of many (context, continuation) pairs. Pairs of one context read it once, and its last row predicts all their first
 * tokens; what contexts have in common the scheduler computes once.
 */
import type { HeadSpec } from "../native/binding.js";
import type { RouterTrace } from "../router/trace.js";
import type { Engine } from "./engine.js";
import type { Call } from "./scheduler/call.js";
import { commonPrefix } from "./scheduler/prefix-tree.js";
import type { Sequence, SequenceKind } from "./scheduler/sequence.js";
import type { AppendResult } from "./scheduler/work.js";
import { SEGMENT } from "./segments.js";

/** Tokens to read, and tokens whose likelihood is asked. */
export interface ScoredPair {
  contextIds: Int32Array;
  continuationIds: Int32Array;
}

export interface PairScore {
  /** Natural log-probability of each token of the continuation. */
  tokenLogprobs: Float32Array;
  isGreedy: boolean;
  /** Rows of the context and of the continuation but its last token; absent at level `counts`. Rows of a shared context count as
   * computed for the first of its pairs. */
  trace?: RouterTrace;
}

export interface ScoringContext {
  engine: Engine;
  kind: SequenceKind;
  signal?: AbortSignal;
  /** Called as pairs finish. */
  onProgress?: (done: number, total: number) => void;
}

/** Pairs with one context, by their places in the caller's list. */
interface Group {
  contextIds: Int32Array;
  pairs: number[];
}

export function scorePairs(pairs: readonly ScoredPair[], context: ScoringContext): Promise<PairScore[]> {
  return context.engine.run(context.signal, async (call) => {
    const scores = new Array<PairScore>(pairs.length);
    let done = 0;
    const onScore = (place: number, score: PairScore) => {
      scores[place] = score;
      context.onProgress?.(++done, pairs.length);
    };
    await Promise.all(groupsOf(pairs).map((group) => scoreGroup(call, group, pairs, context.kind, onScore)));
    return scores;
  });
}

/** Groups in the order of their tokens, so that neighbours have the most in common. */
function groupsOf(pairs: readonly ScoredPair[]): Group[] {
  const order = pairs.map((_, place) => place);
  order.sort((a, b) => compareIds(pairs[a]!.contextIds, pairs[b]!.contextIds) || a - b);
  const groups: Group[] = [];
  for (const place of order) {
    const { contextIds } = pairs[place]!;
    const last = groups.at(-1);
    if (last !== undefined && compareIds(last.contextIds, contextIds) === 0) last.pairs.push(place);
    else groups.push({ contextIds, pairs: [place] });
  }
  return groups;
}

function compareIds(a: Int32Array, b: Int32Array): number {
  const at = commonPrefix(a, b);
  return at < a.length && at < b.length ? a[at]! - b[at]! : a.length - b.length;
}

/** Reads a context and scores its pairs: the first goes on in the same sequence, each other in one that begins with the context. */
async function scoreGroup(
  call: Call,
  group: Group,
  all: readonly ScoredPair[],
  kind: SequenceKind,
  onScore: (place: number, score: PairScore) => void,
): Promise<void> {
  const pairs = group.pairs.map((place) => all[place]!);
  const sequence = openFor(call, pairs[0]!, kind);
  try {
    const targets = Int32Array.from(pairs, ({ continuationIds }) => continuationIds[0]!);
    const rows = new Int32Array(pairs.length).fill(group.contextIds.length - 1);
    const { logprobs, isGreedy } = await readContext(sequence, pairs[0]!, { kind: "targets", rows, targets });
    const routes = sequence.trace;
    const scoreOne = async (place: number, index: number) => {
      const rest = await scoreRest(call, pairs[index]!, index === 0 ? sequence : undefined, kind);
      onScore(place, {
        tokenLogprobs: Float32Array.of(logprobs[index]!, ...(rest?.logprobs ?? [])),
        isGreedy: isGreedy[index] === 1 && (rest?.isGreedy.every((flag) => flag === 1) ?? true),
        trace: rest === undefined && index > 0 ? routes?.attributedTo({}) : (rest?.trace ?? routes),
      });
    };
    await Promise.all(group.pairs.map(scoreOne));
  } finally {
    sequence.close();
  }
}

/** The tokens behind the first of a continuation, and the routes of all rows. `sequence`: one that holds the context, if any. */
async function scoreRest(
  call: Call,
  pair: ScoredPair,
  sequence: Sequence | undefined,
  kind: SequenceKind,
): Promise<{ logprobs: Float32Array; isGreedy: Uint8Array; trace: RouterTrace | undefined } | undefined> {
  if (pair.continuationIds.length === 1) return undefined;
  const own = sequence ?? openFor(call, pair, kind);
  try {
    if (sequence === undefined) await readContext(own, pair, { kind: "none" });
    const tokenIds = pair.continuationIds.subarray(0, -1);
    const head = {
      kind: "targets",
      rows: tokenIds.map((_, row) => row),
      targets: pair.continuationIds.subarray(1),
    } as const;
    const { logprobs, isGreedy } = await own.append({ tokenIds, origin: 0, segment: SEGMENT.choice, head });
    return { logprobs, isGreedy, trace: own.trace };
  } finally {
    if (sequence === undefined) own.close();
  }
}

function openFor(call: Call, { contextIds, continuationIds }: ScoredPair, kind: SequenceKind): Sequence {
  const { length } = contextIds;
  return call.open(kind, { maxLength: length + continuationIds.length - 1, keep: length });
}

function readContext(sequence: Sequence, { contextIds }: ScoredPair, head: HeadSpec): Promise<AppendResult> {
  return sequence.append({ tokenIds: contextIds, origin: 0, segment: SEGMENT.question, head });
}
