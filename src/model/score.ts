/**
 * Log-likelihoods of many (context, continuation) pairs. The pairs' tokens form a tree, computed level by level: whatever several
 * pairs share is computed once, and pairs that differ in the last token alone read the same row.
 */
import type { CaptureLevel, RouteRule, StepSegment } from "../native/binding.js";
import type { TraceMetadata } from "../router/schema.js";
import { RouterTrace } from "../router/trace.js";
import { type Engine, throwIfAborted } from "./engine.js";
import { commonPrefix, type PrefixKind } from "./prefix-cache.js";
import { SEGMENT, tracesOf } from "./step-traces.js";

/** Tokens to read, and how many of the last ones (with the one that follows) are scored. */
export interface ScoredPair {
  /** Context and continuation without its last token. */
  inputIds: Int32Array;
  continuationIds: Int32Array;
}

export interface PairScore {
  /** Natural log-probability of each token of the continuation. */
  tokenLogprobs: Float32Array;
  isGreedy: boolean;
  /** Rows of `inputIds`; absent at level `counts`. A row that several pairs share counts as computed for the first of them. */
  trace?: RouterTrace;
}

export interface ScoringContext {
  engine: Engine;
  rules: readonly RouteRule[];
  rulesKey: string;
  level: CaptureLevel;
  traceMetadata: TraceMetadata;
  signal?: AbortSignal;
  /** Called as pairs finish. */
  onProgress?: (done: number, total: number) => void;
}

/** Positions that one tree may hold at once. */
const MAX_TREE_POSITIONS = 32_768;

/** A stretch of tokens that the pairs [low, high) of the sorted list have in common. */
interface Node {
  parent: Node | undefined;
  /** Positions [from, to) of their tokens. */
  from: number;
  to: number;
  low: number;
  high: number;
  /** First position that was computed for it; those before were there. */
  start: number;
  sequence?: number;
  children: Node[];
  /** Routes of positions [0, to). */
  trace?: RouterTrace;
}

/** One scored token: row `row` of its node predicts it. */
interface Target {
  pair: number;
  index: number;
  row: number;
  tokenId: number;
}

/** The pairs in the order of their tokens, and what the tree is built over. */
interface Forest {
  pairs: readonly ScoredPair[];
  order: readonly number[];
  /** Rows of pairs are the same row only where these are equal. [pair] */
  keys: readonly Int32Array[];
  /** Whether no node may hold rows of both context and continuation. */
  splitsAtChoice: boolean;
}

export async function scorePairs(pairs: readonly ScoredPair[], context: ScoringContext): Promise<PairScore[]> {
  const scores: PairScore[] = pairs.map((pair) => ({
    tokenLogprobs: new Float32Array(pair.continuationIds.length).fill(Number.NaN),
    isGreedy: true,
  }));
  // Where a rule asks what a row's text is, a token of a context and the same token of a continuation are two different rows.
  const splitsAtChoice = context.rules.some((rule) => rule.segments !== undefined);
  const keys = pairs.map((pair) => (splitsAtChoice ? labelledIds(pair) : pair.inputIds));
  const order = pairs.map((_, index) => index).sort((a, b) => compareIds(keys[a]!, keys[b]!));
  let done = 0;
  for (const [low, high] of windows(keys, order)) {
    throwIfAborted(context.signal);
    await scoreTree({ pairs, order: order.slice(low, high), keys, splitsAtChoice }, scores, context);
    done += high - low;
    context.onProgress?.(done, pairs.length);
  }
  return scores;
}

/** First row of `inputIds` that belongs to the continuation. */
function choiceStart({ inputIds, continuationIds }: ScoredPair): number {
  return inputIds.length - continuationIds.length + 1;
}

function labelledIds(pair: ScoredPair): Int32Array {
  return pair.inputIds.map((id, row) => 2 * id + (row < choiceStart(pair) ? 0 : 1));
}

function compareIds(a: Int32Array, b: Int32Array): number {
  const at = commonPrefix(a, b);
  return at < a.length && at < b.length ? a[at]! - b[at]! : a.length - b.length;
}

/** Cuts the sorted pairs so that no tree holds more positions than allowed (a single pair may). */
function* windows(keys: readonly Int32Array[], order: readonly number[]): Generator<[number, number]> {
  let low = 0;
  let positions = 0;
  for (let i = 0; i < order.length; i++) {
    const ids = keys[order[i]!]!;
    const fresh = i === low ? ids.length : ids.length - commonPrefix(keys[order[i - 1]!]!, ids);
    if (i > low && positions + fresh > MAX_TREE_POSITIONS) {
      yield [low, i];
      low = i;
      positions = ids.length;
    } else {
      positions += fresh;
    }
  }
  if (low < order.length) yield [low, order.length];
}

async function scoreTree(forest: Forest, scores: PairScore[], context: ScoringContext): Promise<void> {
  const root: Node = { parent: undefined, from: 0, to: 0, low: 0, high: forest.order.length, start: 0, children: [] };
  grow(root, forest);
  let level = root.to > 0 ? [root] : root.children;
  const owned = new Set<number>();
  try {
    while (level.length > 0) {
      await computeLevel(level, forest, scores, context, owned);
      const finished = level.flatMap((node) => (node.parent === undefined ? [] : [node.parent]));
      await release(
        finished.filter((node) => node.children.every((child) => child.sequence !== undefined)),
        owned,
        context,
      );
      await release(
        level.filter((node) => node.children.length === 0),
        owned,
        context,
      );
      level = level.flatMap((node) => node.children);
    }
  } finally {
    await context.engine.releaseSequences(owned);
  }
}

async function release(nodes: Node[], owned: Set<number>, context: ScoringContext): Promise<void> {
  const sequences = [...new Set(nodes.map((node) => node.sequence))].filter((id) => id !== undefined && owned.has(id));
  for (const sequence of sequences) owned.delete(sequence!);
  await context.engine.releaseSequences(sequences as number[]);
}

/** Extends a node as far as its pairs agree, then splits it by the next token. */
function grow(node: Node, forest: Forest): void {
  const idsOf = (place: number) => forest.keys[forest.order[place]!]!;
  node.to = commonPrefix(idsOf(node.low), idsOf(node.high - 1));
  const border = choiceStart(forest.pairs[forest.order[node.low]!]!);
  if (forest.splitsAtChoice && node.from < border) node.to = Math.min(node.to, border);
  let low = node.low;
  while (low < node.high && idsOf(low).length === node.to) low++;
  while (low < node.high) {
    const token = idsOf(low)[node.to]!;
    let high = low + 1;
    while (high < node.high && idsOf(high)[node.to] === token) high++;
    const child: Node = { parent: node, from: node.to, to: node.to, low, high, start: node.to, children: [] };
    node.children.push(child);
    grow(child, forest);
    low = high;
  }
}

async function computeLevel(
  nodes: Node[],
  forest: Forest,
  scores: PairScore[],
  context: ScoringContext,
  owned: Set<number>,
): Promise<void> {
  const { pairs, order } = forest;
  const { engine, level, signal } = context;
  const targets = nodes.map((node) => targetsOf(node, forest));
  for (const [i, node] of nodes.entries()) await placeNode(node, targets[i]!, forest, context, owned);
  const segments = nodes.map((node, i) => segmentOf(node, targets[i]!, forest));
  const result = await engine.step({ segments, capture: level }, { signal });
  for (const [next, { pair, index }] of targets.flat().entries()) {
    scores[pair]!.tokenLogprobs[index] = result.logprobs[next]!;
    scores[pair]!.isGreedy &&= result.isGreedy[next] === 1;
  }
  const starts = nodes.map(({ start }) => start);
  const traces = tracesOf(result, segments, starts, context.traceMetadata, level);
  for (const [i, trace] of traces.entries()) attachTrace(nodes[i]!, trace);
  for (const node of nodes) {
    const prefixIds = pairs[order[node.low]!]!.inputIds.subarray(0, node.to);
    if (node.high - node.low > 1) {
      await engine.prefixes.store(node.sequence!, prefixIds.slice(), kindOf(context), node.trace);
    }
    for (let place = node.low; place < node.high; place++) {
      const pair = pairs[order[place]!]!;
      if (pair.inputIds.length === node.to) scores[order[place]!]!.trace = traceOf(node, place, pair);
    }
  }
}

/** What a node adds to a step: its rows from `start` on. */
function segmentOf(node: Node, targets: readonly Target[], { pairs, order }: Forest): StepSegment {
  const pair = pairs[order[node.low]!]!;
  const { start, to } = node;
  return {
    sequence: node.sequence!,
    tokenIds: pair.inputIds.subarray(start, to),
    origin: 0,
    segment: start < choiceStart(pair) ? SEGMENT.question : SEGMENT.choice,
    head:
      targets.length === 0
        ? { kind: "none" }
        : {
            kind: "targets",
            rows: Int32Array.from(targets, (target) => target.row - start),
            targets: Int32Array.from(targets, (target) => target.tokenId),
          },
  };
}

/** Scored tokens whose rows lie in a node, ascending by row. */
function targetsOf(node: Node, { pairs, order }: Forest): Target[] {
  const targets: Target[] = [];
  for (let place = node.low; place < node.high; place++) {
    const pair = order[place]!;
    const { inputIds, continuationIds } = pairs[pair]!;
    const firstRow = inputIds.length - continuationIds.length;
    for (let index = Math.max(0, node.from - firstRow); index < continuationIds.length; index++) {
      const row = firstRow + index;
      if (row >= node.to) break;
      targets.push({ pair, index, row, tokenId: continuationIds[index]! });
    }
  }
  return targets.sort((a, b) => a.row - b.row);
}

/** Gives a node its sequence, a fork of the longest thing known, and its `start`. */
async function placeNode(
  node: Node,
  targets: readonly Target[],
  { pairs, order }: Forest,
  context: ScoringContext,
  owned: Set<number>,
): Promise<void> {
  const { engine, rules } = context;
  const ids = pairs[order[node.low]!]!.inputIds;
  const limit = Math.min(targets[0]?.row ?? node.to, node.to - 1);
  const hit = await engine.prefixes.lookup(ids.subarray(0, node.to), kindOf(context), limit, node.from);
  if (hit !== undefined) {
    node.sequence = hit.sequence;
    node.trace = hit.trace;
  } else if (node.parent?.sequence !== undefined) {
    node.sequence = await engine.forkSequence(node.parent.sequence, node.from, rules);
    node.trace = node.parent.trace;
  } else {
    node.sequence = await engine.createSequence(rules);
  }
  owned.add(node.sequence);
  node.start = hit?.length ?? node.from;
}

function kindOf({ rules, rulesKey, level }: ScoringContext): PrefixKind {
  return { rules, rulesKey, level };
}

function attachTrace(node: Node, computed: RouterTrace): void {
  node.trace = node.trace === undefined ? computed : RouterTrace.fromParts(node.trace, computed);
}

/** The routes of the pair at `place`, which ends in `node`: rows of its own, and which of them ran for it. */
function traceOf(node: Node, place: number, pair: ScoredPair): RouterTrace | undefined {
  if (node.trace === undefined) return undefined;
  const computed = new Uint8Array(node.to);
  for (let at: Node | undefined = node; at !== undefined; at = at.parent) {
    if (at.low === place) computed.fill(1, at.start, at.to);
  }
  const segments = new Int32Array(node.to).fill(SEGMENT.question).fill(SEGMENT.choice, choiceStart(pair));
  return new RouterTrace({ ...node.trace, columns: { ...node.trace.columns, computed, segments } });
}
