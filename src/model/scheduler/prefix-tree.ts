/**
 * Beginnings of sequences that may come again (few-shot prefixes, earlier turns of a chat) as a radix tree over their tokens. A node
 * holds a native sequence whose pages it shares with its parent and with whoever uses it, and the routes that were captured there. A
 * hit gives the same bits as computing the prefix. Nothing here waits: the scheduler calls it between steps.
 */
import type { CaptureLevel } from "../../native/binding.js";
import { CAPTURE_LEVELS, coversLayers } from "../../router/capture.js";
import { RouterTrace } from "../../router/trace.js";
import { joinParts } from "../../router/trace-columns.js";

/** What keys, values and routes depend on beside the tokens. */
export interface PrefixKind {
  /** Identity of all that acts before the last layer's keys and values are made; undefined: nothing may be shared. */
  cacheKey: string | undefined;
  /** Identity of all that acts on the routes. */
  routesKey: string;
  level: CaptureLevel;
  /** Layers whose routes are recorded. Absent: all. */
  layers?: readonly number[];
}

/** Native sequences as the tree needs them. */
export interface SequenceStore {
  fork(sequence: number, length: number): number;
  release(sequence: number): void;
  /** Bytes of the pages that positions [from, to) add to those before them. */
  bytesOf(from: number, to: number): number;
}

/** A stretch of tokens; its path from the root says which. Only the tree changes one. */
export interface PrefixNode {
  parent: PrefixNode | undefined;
  /** By the first symbol of the child. */
  children: Map<number, PrefixNode>;
  /** Positions [from, to). */
  from: number;
  to: number;
  symbols: Int32Array;
  /** Holds at least `to` positions. */
  sequence: number;
  routes: { key: string; level: CaptureLevel; layers: readonly number[] | undefined; trace: RouterTrace } | undefined;
  /** Sequences under way that began with it. */
  pins: number;
  bytes: number;
}

export interface PrefixMatch {
  node: PrefixNode;
  /** Positions that are there, at the level asked for. */
  length: number;
}

/** Shorter prefixes cost less to compute than to keep. */
export const MIN_PREFIX: number = 16;

/** Whether what is computed for one kind answers another. */
export function answers(stored: PrefixKind, asked: PrefixKind): boolean {
  if (stored.cacheKey === undefined || stored.cacheKey !== asked.cacheKey) return false;
  return asked.level === "counts" || (stored.routesKey === asked.routesKey && holds(stored, asked));
}

/** Whether one capture has all of another. */
function holds(stored: Pick<PrefixKind, "level" | "layers">, asked: Pick<PrefixKind, "level" | "layers">): boolean {
  const isHigh = CAPTURE_LEVELS.indexOf(stored.level) >= CAPTURE_LEVELS.indexOf(asked.level);
  return isHigh && coversLayers(stored.layers, asked.layers);
}

export class PrefixTree {
  readonly #store: SequenceStore;
  readonly #roots = new Map<string, PrefixNode>();
  /** All nodes but the roots, the least recently used first. */
  readonly #byUse = new Set<PrefixNode>();
  #bytes = 0;

  constructor(store: SequenceStore) {
    this.#store = store;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get numNodes(): number {
    return this.#byUse.size;
  }

  /** The longest stored beginning of `symbols` of at least MIN_PREFIX positions. */
  match(symbols: Int32Array, kind: PrefixKind): PrefixMatch | undefined {
    let node = kind.cacheKey === undefined ? undefined : this.#roots.get(kind.cacheKey);
    let best: PrefixMatch | undefined;
    while (node !== undefined) {
      const next: PrefixNode | undefined = node.children.get(symbols[node.to] ?? -1);
      if (next === undefined || !hasRoutes(next, kind)) break;
      const length = next.from + commonPrefix(next.symbols, symbols.subarray(next.from));
      best = { node: next, length };
      node = length === next.to ? next : undefined;
    }
    return best !== undefined && best.length >= MIN_PREFIX ? best : undefined;
  }

  /** Marks a node and what leads to it as just used. */
  touch(node: PrefixNode): void {
    for (let at: PrefixNode | undefined = node; at?.parent !== undefined; at = at.parent) {
      this.#byUse.delete(at);
      this.#byUse.add(at);
    }
  }

  /** Routes of the first `length` positions at the level of `kind`, from a match; nothing at level `counts`. */
  routesOf({ node, length }: PrefixMatch, { level, layers }: PrefixKind): RouterTrace | undefined {
    if (level === "counts") return undefined;
    const parts: RouterTrace[] = [];
    for (let at: PrefixNode | undefined = node; at?.parent !== undefined; at = at.parent) {
      const stored = at.routes!.trace.slice(0, length - at.from).atLevel(level);
      parts.unshift(layers === undefined ? stored : stored.selectLayers(layers));
    }
    return RouterTrace.concat(parts);
  }

  /** Keeps the positions of `sequence` that `symbols` name, and `trace`, their routes. Copies nothing that is there already. */
  insert(symbols: Int32Array, sequence: number, kind: PrefixKind, trace: RouterTrace | undefined): void {
    if (kind.cacheKey === undefined || symbols.length < MIN_PREFIX) return;
    let node = this.#rootOf(kind.cacheKey);
    while (node.to < symbols.length) {
      const next = node.children.get(symbols[node.to]!);
      if (next === undefined) {
        node = this.#addLeaf(node, symbols, sequence);
      } else {
        const shared = next.from + commonPrefix(next.symbols, symbols.subarray(next.from));
        node = shared === next.to ? next : this.#split(next, shared);
      }
      this.#improveRoutes(node, kind, trace);
    }
    this.touch(node);
  }

  pin(node: PrefixNode): void {
    node.pins++;
  }

  unpin(node: PrefixNode): void {
    node.pins--;
  }

  /** Lets go of the leaf that was not used for longest; false where all are in use. */
  evictOne(): boolean {
    for (const node of this.#byUse) {
      if (node.children.size > 0 || node.pins > 0) continue;
      const parent = node.parent!;
      parent.children.delete(node.symbols[0]!);
      if (parent.parent === undefined && parent.children.size === 0) this.#forgetRoot(parent);
      this.#byUse.delete(node);
      this.#bytes -= node.bytes;
      this.#store.release(node.sequence);
      return true;
    }
    return false;
  }

  /** Lets go of all that is not in use. */
  clear(): void {
    while (this.evictOne());
  }

  #rootOf(cacheKey: string): PrefixNode {
    let root = this.#roots.get(cacheKey);
    if (root === undefined) {
      const symbols = new Int32Array(0);
      const fields = { parent: undefined, routes: undefined, sequence: -1, pins: 0, bytes: 0 };
      root = { ...fields, children: new Map(), from: 0, to: 0, symbols };
      this.#roots.set(cacheKey, root);
    }
    return root;
  }

  #forgetRoot(root: PrefixNode): void {
    for (const [key, other] of this.#roots) if (other === root) this.#roots.delete(key);
  }

  #addLeaf(parent: PrefixNode, symbols: Int32Array, sequence: number): PrefixNode {
    const { to: from } = parent;
    const to = symbols.length;
    const leaf: PrefixNode = {
      ...{ parent, children: new Map(), from, to, pins: 0, routes: undefined },
      symbols: symbols.slice(from, to),
      sequence: this.#store.fork(sequence, to),
      bytes: this.#store.bytesOf(from, to),
    };
    parent.children.set(leaf.symbols[0]!, leaf);
    this.#byUse.add(leaf);
    this.#bytes += leaf.bytes;
    return leaf;
  }

  /** Cuts a node in two at position `at`; what lies below stays with the lower part. @returns the upper part */
  #split(lower: PrefixNode, at: number): PrefixNode {
    const { parent, from, to, symbols, routes } = lower;
    const upper: PrefixNode = {
      ...{ parent, from, to: at, pins: 0 },
      children: new Map([[symbols[at - from]!, lower]]),
      symbols: symbols.slice(0, at - from),
      sequence: this.#store.fork(lower.sequence, at),
      routes: routes && { ...routes, trace: copyRows(routes.trace, 0, at - from) },
      bytes: 0,
    };
    parent!.children.set(symbols[0]!, upper);
    Object.assign(lower, { parent: upper, from: at, symbols: symbols.slice(at - from) });
    if (routes !== undefined) lower.routes = { ...routes, trace: copyRows(routes.trace, at - from, to - from) };
    this.#byUse.add(upper);
    for (const node of [upper, lower]) this.#weigh(node);
    return upper;
  }

  /** Puts routes in place of lesser ones, or of those of another intervention on the same keys and values. */
  #improveRoutes(node: PrefixNode, kind: PrefixKind, trace: RouterTrace | undefined): void {
    if (trace === undefined || kind.level === "counts" || hasRoutes(node, kind)) return;
    const { routesKey: key, level, layers } = kind;
    node.routes = { key, level, layers, trace: copyRows(trace, node.from, node.to) };
    this.#weigh(node);
  }

  #weigh(node: PrefixNode): void {
    const bytes =
      this.#store.bytesOf(node.from, node.to) + (node.routes === undefined ? 0 : node.routes.trace.byteLength);
    this.#bytes += bytes - node.bytes;
    node.bytes = bytes;
  }
}

function hasRoutes({ routes }: PrefixNode, asked: PrefixKind): boolean {
  return asked.level === "counts" || (routes !== undefined && routes.key === asked.routesKey && holds(routes, asked));
}

/** Rows [from, to) in arrays of their own: a view would keep the whole alive. */
function copyRows(trace: RouterTrace, from: number, to: number): RouterTrace {
  return new RouterTrace(joinParts([trace.slice(from, to)]));
}

/** Number of equal elements at the start. */
export function commonPrefix(a: Int32Array, b: Int32Array): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a[length] === b[length]) length++;
  return length;
}
