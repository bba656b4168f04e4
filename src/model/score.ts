/**
 * Log-likelihoods of many (context, continuation) pairs. The pairs' tokens form a tree, computed level by level: whatever several
 * pairs share is computed once, and pairs that differ in the last token alone read the same row.
 */
import type { CaptureLevel, RouteRule, StepSegment } from "../native/binding.js";
import type { TraceMetadata } from "../router/schema.js";
import { RouterTrace } from "../router/trace.js";

import { type Engine, throwIfAborted } from "./engine.js";
import { commonPrefix, type PrefixKind } from "./prefix-cache.js";
import { tracesOf } from "./step-traces.js";

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
  /** Rows of `inputIds`; absent at level `counts`. */
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
/** Labels in router/schema.ts's STANDARD_SEGMENTS. */
const PREFIX_SEGMENT = 0;
const QUESTION_SEGMENT = 1;

/** A stretch of tokens that the pairs [low, high) of the sorted list have in common. */
interface Node {
  parent: Node | undefined;
  /** Positions [from, to) of their tokens. */
  from: number;
  to: number;
  low: number;
  high: number;
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

export async function scorePairs(pairs: readonly ScoredPair[], context: ScoringContext): Promise<PairScore[]> {
  const scores: PairScore[] = pairs.map((pair) => ({
    tokenLogprobs: new Float32Array(pair.continuationIds.length).fill(Number.NaN),
    isGreedy: true,
  }));
  const order = pairs.map((_, index) => index).sort((a, b) => compareIds(pairs[a]!.inputIds, pairs[b]!.inputIds));
  let done = 0;
  for (const [low, high] of windows(pairs, order)) {
    throwIfAborted(context.signal);
    await scoreTree(pairs, order.slice(low, high), scores, context);
    done += high - low;
    context.onProgress?.(done, pairs.length);
  }
  return scores;
}

function compareIds(a: Int32Array, b: Int32Array): number {
  const at = commonPrefix(a, b);
  return at < a.length && at < b.length ? a[at]! - b[at]! : a.length - b.length;
}

/** Cuts the sorted pairs so that no tree holds more positions than allowed (a single pair may). */
function* windows(pairs: readonly ScoredPair[], order: readonly number[]): Generator<[number, number]> {
  let low = 0;
  let positions = 0;
  for (let i = 0; i < order.length; i++) {
    const ids = pairs[order[i]!]!.inputIds;
    const fresh = i === low ? ids.length : ids.length - commonPrefix(pairs[order[i - 1]!]!.inputIds, ids);
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

async function scoreTree(
  pairs: readonly ScoredPair[],
  order: readonly number[],
  scores: PairScore[],
  context: ScoringContext,
): Promise<void> {
  const idsOf = (place: number) => pairs[order[place]!]!.inputIds;
  const root: Node = { parent: undefined, from: 0, to: 0, low: 0, high: order.length, children: [] };
  grow(root, idsOf);
  let level = root.to > 0 ? [root] : root.children;
  const owned = new Set<number>();
  try {
    while (level.length > 0) {
      await computeLevel(level, pairs, order, scores, context, owned);
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
function grow(node: Node, idsOf: (place: number) => Int32Array): void {
  const first = idsOf(node.low);
  node.to = commonPrefix(first, idsOf(node.high - 1));
  let low = node.low;
  while (low < node.high && idsOf(low).length === node.to) low++;
  while (low < node.high) {
    const token = idsOf(low)[node.to]!;
    let high = low + 1;
    while (high < node.high && idsOf(high)[node.to] === token) high++;
    const child: Node = { parent: node, from: node.to, to: node.to, low, high, children: [] };
    node.children.push(child);
    grow(child, idsOf);
    low = high;
  }
}

async function computeLevel(
  nodes: Node[],
  pairs: readonly ScoredPair[],
  order: readonly number[],
  scores: PairScore[],
  context: ScoringContext,
  owned: Set<number>,
): Promise<void> {
  const { engine, level, signal } = context;
  const plans: { node: Node; targets: Target[]; start: number }[] = [];
  for (const node of nodes) {
    const targets = targetsOf(node, pairs, order);
    plans.push({
      node,
      targets,
      start: await placeNode(node, targets, pairs[order[node.low]!]!.inputIds, context, owned),
    });
  }
  const segments: StepSegment[] = plans.map(({ node, targets, start }) => ({
    sequence: node.sequence!,
    tokenIds: pairs[order[node.low]!]!.inputIds.subarray(start, node.to),
    origin: 0,
    segment: node.high - node.low > 1 ? PREFIX_SEGMENT : QUESTION_SEGMENT,
    head:
      targets.length === 0
        ? { kind: "none" }
        : {
            kind: "targets",
            rows: Int32Array.from(targets, (target) => target.row - start),
            targets: Int32Array.from(targets, (target) => target.tokenId),
          },
  }));
  const result = await engine.step({ segments, capture: level }, { signal });
  let next = 0;
  for (const { targets } of plans) {
    for (const { pair, index } of targets) {
      scores[pair]!.tokenLogprobs[index] = result.logprobs[next]!;
      scores[pair]!.isGreedy &&= result.isGreedy[next] === 1;
      next++;
    }
  }
  const starts = plans.map(({ start }) => start);
  const traces = tracesOf(result, segments, starts, context.traceMetadata, level);
  for (const [i, trace] of traces.entries()) attachTrace(plans[i]!.node, trace);
  for (const { node } of plans) {
    const prefixIds = pairs[order[node.low]!]!.inputIds.subarray(0, node.to);
    if (node.high - node.low > 1) {
      await engine.prefixes.store(node.sequence!, prefixIds.slice(), kindOf(context), node.trace);
    }
    if (node.trace === undefined) continue;
    for (let place = node.low; place < node.high; place++) {
      const pair = order[place]!;
      if (pairs[pair]!.inputIds.length === node.to) scores[pair]!.trace = node.trace;
    }
  }
}

/** Scored tokens whose rows lie in a node, ascending by row. */
function targetsOf(node: Node, pairs: readonly ScoredPair[], order: readonly number[]): Target[] {
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

/** Gives a node its sequence: a fork of the longest thing known, and returns the first position that must be computed. */
async function placeNode(
  node: Node,
  targets: readonly Target[],
  ids: Int32Array,
  context: ScoringContext,
  owned: Set<number>,
): Promise<number> {
  const { engine, rules } = context;
  const limit = Math.min(targets[0]?.row ?? node.to, node.to - 1);
  const hit = await engine.prefixes.lookup(ids.subarray(0, node.to), kindOf(context), limit, node.from);
  if (hit !== undefined) {
    node.sequence = hit.sequence;
    node.trace = hit.trace?.attributedTo({});
  } else if (node.parent?.sequence !== undefined) {
    node.sequence = await engine.forkSequence(node.parent.sequence, node.from, rules);
    node.trace = node.parent.trace;
  } else {
    node.sequence = await engine.createSequence(rules);
  }
  owned.add(node.sequence);
  return hit?.length ?? node.from;
}

function kindOf({ rules, rulesKey, level }: ScoringContext): PrefixKind {
  return { rules, rulesKey, level };
}

function attachTrace(node: Node, computed: RouterTrace): void {
  node.trace = node.trace === undefined ? computed : RouterTrace.fromParts(node.trace, computed);
}
