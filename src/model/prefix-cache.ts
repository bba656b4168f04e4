/**
 * Sequences that are kept because their beginning may come again: few-shot prefixes, earlier turns of a chat. Bounded in positions,
 * the least recently used goes first. A hit gives the same bits as computing the prefix, and the routes that were stored with it.
 */
import type { CaptureLevel, RouteRule } from "../native/binding.js";
import type { RouterTrace } from "../router/trace.js";
import type { Engine } from "./engine.js";

/** What keys and values depend on beside the tokens, and which routes came with them. */
export interface PrefixKind {
  /** Identity of the interventions. */
  rulesKey: string;
  rules: readonly RouteRule[];
  level: CaptureLevel;
}

export interface PrefixHit {
  /** A new sequence that holds exactly `length` positions; the caller releases it. */
  sequence: number;
  length: number;
  /** Routes of those positions, at the level asked for; absent at level `counts`. */
  trace?: RouterTrace;
}

interface Entry {
  tokenIds: Int32Array;
  sequence: number;
  kind: PrefixKind;
  trace?: RouterTrace;
}

const MAX_POSITIONS = 16_384;
/** Shorter prefixes cost less to compute than to keep. */
const MIN_LENGTH = 16;
const LEVELS: readonly CaptureLevel[] = ["counts", "topk", "logits", "hidden"];

export class PrefixCache {
  readonly #engine: Engine;
  /** Least recently used first. */
  #entries: Entry[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** The longest stored beginning of `tokenIds`, at most `maxLength` positions and longer than `minLength`, or nothing. */
  async lookup(
    tokenIds: Int32Array,
    kind: PrefixKind,
    maxLength: number,
    minLength: number = 0,
  ): Promise<PrefixHit | undefined> {
    if (!isReusable(kind)) return undefined;
    let best: Entry | undefined;
    let length = Math.max(minLength, MIN_LENGTH - 1);
    for (const entry of this.#entries) {
      if (entry.kind.rulesKey !== kind.rulesKey || LEVELS.indexOf(entry.kind.level) < LEVELS.indexOf(kind.level))
        continue;
      const common = Math.min(commonPrefix(entry.tokenIds, tokenIds), maxLength);
      if (common > length) {
        best = entry;
        length = common;
      }
    }
    if (best === undefined) return undefined;
    const sequence = await this.#engine.forkSequence(best.sequence, length, kind.rules);
    this.#entries = [...this.#entries.filter((entry) => entry !== best), best];
    const { level } = kind;
    return { sequence, length, trace: level === "counts" ? undefined : best.trace?.slice(0, length).atLevel(level) };
  }

  /** Keeps a copy-on-write fork of a sequence whose positions hold `tokenIds`. */
  async store(sequence: number, tokenIds: Int32Array, kind: PrefixKind, trace: RouterTrace | undefined): Promise<void> {
    if (!isReusable(kind) || tokenIds.length < MIN_LENGTH || tokenIds.length > MAX_POSITIONS) return;
    const covered = (entry: Entry) =>
      entry.kind.rulesKey === kind.rulesKey &&
      LEVELS.indexOf(entry.kind.level) <= LEVELS.indexOf(kind.level) &&
      commonPrefix(entry.tokenIds, tokenIds) === entry.tokenIds.length;
    const fork = await this.#engine.forkSequence(sequence, tokenIds.length, kind.rules);
    const doomed = this.#entries.filter(covered);
    this.#entries = [...this.#entries.filter((entry) => !covered(entry)), { tokenIds, sequence: fork, kind, trace }];
    let positions = this.#entries.reduce((sum, entry) => sum + entry.tokenIds.length, 0);
    while (positions > MAX_POSITIONS) {
      const oldest = this.#entries.shift()!;
      positions -= oldest.tokenIds.length;
      doomed.push(oldest);
    }
    await this.#engine.releaseSequences(doomed.map((entry) => entry.sequence));
  }

  async clear(): Promise<void> {
    const sequences = this.#entries.map((entry) => entry.sequence);
    this.#entries = [];
    await this.#engine.releaseSequences(sequences);
  }
}

/** Rules scoped by origin or segment depend on more than the tokens, so what they computed serves nobody else. */
function isReusable({ rules }: PrefixKind): boolean {
  return rules.every((rule) => rule.origin === undefined && rule.segments === undefined);
}

/** Number of equal elements at the start. */
export function commonPrefix(a: Int32Array, b: Int32Array): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a[length] === b[length]) length++;
  return length;
}
