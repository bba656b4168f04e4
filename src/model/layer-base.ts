/**
 * What interventions on layers from L upwards have in common: keys and values of the layers below, and the residual stream before layer L.
 * A scan over the experts of a layer computes it once per text (contracts: two interventions that first differ at layer L share the layers
 * below it, and texts that begin alike share their beginning). Bits are those of a model without it.
 */
import { createHash } from "node:crypto";
import { InvalidArgumentError, invalidArgument, MoescopeError } from "../errors.js";
import { loadAddon } from "../native/addon.js";
import type { NativeSession, RouteRule, StepRequest, StepResult } from "../native/binding.js";
import { checkInterventions } from "../router/intervention-check.js";
import { firstTouchedLayer, isNamed } from "../router/intervention-keys.js";
import { type Intervention, parseInterventions } from "../router/interventions.js";
import { CHUNK_ROWS } from "./forward.js";
import type { Model } from "./model.js";
import { fromNativeError, throwIfAborted } from "./native-error.js";
import type { PairScore, ScoredPair } from "./score.js";
import { SEGMENT } from "./segments.js";
import { type TrieNode, trieLevels } from "./token-trie.js";

export interface LayerBaseOptions {
  /** Bytes that kept texts may take (keys, values, residual stream); the least recently used go first. Default 2 GiB. */
  maxBytes?: number;
}

/** Texts that are kept: the sequences that computed each stretch of their tree. */
interface KeptTexts {
  levels: TrieNode[][];
  sequences: Map<TrieNode, number>;
  positions: number;
}

interface Target {
  pair: number;
  index: number;
  row: number;
  tokenId: number;
}

const DEFAULT_MAX_BYTES = 2 * 2 ** 30;

/** Made by `Model.sharedBelow`; the caller disposes it. */
export class LayerBase {
  readonly layer: number;
  readonly #model: Model;
  readonly #session: NativeSession;
  readonly #maxPositions: number;
  /** Least recently used first. */
  readonly #kept = new Map<string, KeptTexts>();
  #turn: Promise<unknown> = Promise.resolve();
  #isDisposed = false;

  /** @internal */
  constructor(model: Model, layer: number, { maxBytes = DEFAULT_MAX_BYTES }: LayerBaseOptions = {}) {
    const { numLayers } = model.parts.shape;
    if (!(Number.isInteger(layer) && layer >= 1 && layer < numLayers)) {
      throw invalidArgument("layer", `a layer from 1 to ${numLayers - 1} to share those below`, layer);
    }
    if (!model.interventions.every(isNamed)) {
      throw new InvalidArgumentError("Expected callbacks with id and version on a model whose layers are shared.");
    }
    const { numKeyValueHeads, headDim, hiddenSize } = model.config;
    const { cacheType, engine } = model.parts;
    const cacheBytes = numLayers * 2 * numKeyValueHeads * headDim * (cacheType === "f32" ? 4 : 2);
    this.layer = layer;
    this.#model = model;
    this.#maxPositions = Math.max(1, Math.floor(maxBytes / (cacheBytes + 4 * hiddenSize)));
    this.#session = engine.newSession({ cacheType, chunkRows: CHUNK_ROWS });
  }

  /**
   * A variant of the model whose log-likelihoods start from what is shared. Everything else it does as any variant.
   * @throws InvalidArgumentError where one of the interventions acts below the layer, or asks for segments of a text
   */
  with(interventions: Intervention | readonly Intervention[]): Model {
    const parsed = parseInterventions([interventions].flat());
    const { shape } = this.#model.parts;
    const first = firstTouchedLayer(checkInterventions(parsed, shape), shape);
    if (first < this.layer) {
      throw new InvalidArgumentError(
        `Expected interventions from layer ${this.layer} upwards on a model that shares those below, got layer ${first}.`,
      );
    }
    return this.#model.with(parsed).withBase(this);
  }

  /** @internal Scores pairs under `rules`, which are those of the shared model and more from the layer upwards. */
  score(
    pairs: readonly ScoredPair[],
    rules: readonly RouteRule[],
    options: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void },
  ): Promise<PairScore[]> {
    const turn = this.#turn.then(async () => {
      if (this.#isDisposed) throw new MoescopeError("DISPOSED", "The shared layers were disposed.");
      const scores = pairs.map(({ continuationIds }) => ({
        tokenLogprobs: new Float32Array(continuationIds.length).fill(Number.NaN),
        isGreedy: true,
      }));
      let done = 0;
      for (const places of this.#portions(pairs)) {
        const portion = places.map((place) => pairs[place]!);
        const own = places.map((place) => scores[place]!);
        await this.#scorePortion(portion, own, rules, options.signal);
        done += places.length;
        options.onProgress?.(done, pairs.length);
      }
      return scores;
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Lets go of all that is kept, when what runs is done. Twice is once. */
  async dispose(): Promise<void> {
    this.#isDisposed = true;
    await this.#turn;
    this.#kept.clear();
    this.#session.dispose();
  }

  /** Cuts the pairs, in order, so that each portion's texts may be kept at once (a single text may exceed it). */
  #portions(pairs: readonly ScoredPair[]): number[][] {
    const portions: number[][] = [];
    let positions = Number.POSITIVE_INFINITY;
    for (const [place, pair] of pairs.entries()) {
      const length = pair.contextIds.length + pair.continuationIds.length;
      if (positions + length > this.#maxPositions) {
        portions.push([]);
        positions = 0;
      }
      portions.at(-1)!.push(place);
      positions += length;
    }
    return portions;
  }

  async #scorePortion(
    pairs: readonly ScoredPair[],
    scores: PairScore[],
    rules: readonly RouteRule[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { levels, sequences } = await this.#textsOf(pairs, signal);
    const live = new Map<TrieNode, number>();
    const release = (node: TrieNode) => {
      const sequence = live.get(node);
      live.delete(node);
      if (sequence !== undefined) this.#session.releaseSequence(sequence);
    };
    try {
      for (const level of levels) {
        for (const node of level) {
          const sequence = this.#open(node, live, rules);
          live.set(node, sequence);
          this.#session.shareLowerLayers(sequence, sequences.get(node)!, this.layer);
        }
        for (const node of level) if (node.parent !== undefined) release(node.parent);
        const targets = level.map((node) => targetsOf(node, pairs));
        const { logprobs, isGreedy } = await this.#step(level, live, targets, signal);
        for (const [at, { pair, index }] of targets.flat().entries()) {
          scores[pair]!.tokenLogprobs[index] = logprobs[at]!;
          scores[pair]!.isGreedy &&= isGreedy[at] === 1;
        }
        for (const node of level) if (node.children.length === 0) release(node);
      }
    } finally {
      for (const node of [...live.keys()]) release(node);
    }
  }

  /** The tree of the pairs' texts with what the shared model computed of it. */
  async #textsOf(pairs: readonly ScoredPair[], signal: AbortSignal | undefined): Promise<KeptTexts> {
    const texts = pairs.map(({ contextIds, continuationIds }) =>
      Int32Array.from([...contextIds, ...continuationIds.subarray(0, -1)]),
    );
    const key = digestOf(texts);
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known;
    }
    const levels = trieLevels(texts);
    const positions = levels.flat().reduce((sum, { from, to }) => sum + to - from, 0);
    this.#makeRoom(positions);
    const sequences = new Map<TrieNode, number>();
    try {
      for (const level of levels) {
        for (const node of level) {
          const sequence = this.#open(node, sequences, this.#model.rules);
          sequences.set(node, sequence);
          if (node.parent === undefined) this.#session.keepResiduals(sequence, this.layer);
        }
        const none = level.map(() => []);
        await this.#step(level, sequences, none, signal);
      }
    } catch (error) {
      for (const sequence of sequences.values()) this.#session.releaseSequence(sequence);
      throw error;
    }
    const made = { levels, sequences, positions };
    this.#kept.set(key, made);
    return made;
  }

  #makeRoom(positions: number): void {
    let held = positions;
    for (const texts of this.#kept.values()) held += texts.positions;
    for (const [key, texts] of this.#kept) {
      if (held <= this.#maxPositions) return;
      for (const sequence of texts.sequences.values()) this.#session.releaseSequence(sequence);
      this.#kept.delete(key);
      held -= texts.positions;
    }
  }

  /** A new sequence that holds what comes before a node. */
  #open(node: TrieNode, sequences: ReadonlyMap<TrieNode, number>, rules: readonly RouteRule[]): number {
    if (node.parent === undefined) return this.#session.createSequence([...rules]);
    return this.#session.forkSequence(sequences.get(node.parent)!, node.from, [...rules]);
  }

  /** Computes the stretches of one level. */
  async #step(
    level: readonly TrieNode[],
    sequences: ReadonlyMap<TrieNode, number>,
    targets: readonly Target[][],
    signal: AbortSignal | undefined,
  ): Promise<StepResult> {
    const segments = level.map((node, i): StepRequest["segments"][number] => ({
      sequence: sequences.get(node)!,
      tokenIds: node.ids.slice(node.from, node.to),
      origin: 0,
      segment: SEGMENT.question,
      head:
        targets[i]!.length === 0
          ? { kind: "none" }
          : {
              kind: "targets",
              rows: Int32Array.from(targets[i]!, ({ row }) => row - node.from),
              targets: Int32Array.from(targets[i]!, ({ tokenId }) => tokenId),
            },
    }));
    throwIfAborted(signal);
    const flag = new (loadAddon().CancelFlag)();
    const cancel = () => flag.set();
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      const result = await this.#session.step({ segments }, flag, null);
      if (result.failures !== undefined) throw result.failures[0]!.error;
      return result;
    } catch (error) {
      throw fromNativeError(error);
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }
}

/** Whether what a rule does depends on the part of the text that a token is: then rows of equal tokens are not one row. */
export function dependsOnSegments(rules: readonly RouteRule[]): boolean {
  return rules.some(({ segments }) => segments !== undefined);
}

/** Scored tokens whose rows lie in a node, ascending by row. */
function targetsOf({ from, to, texts }: TrieNode, pairs: readonly ScoredPair[]): Target[] {
  const targets: Target[] = [];
  for (const pair of texts) {
    const { contextIds, continuationIds } = pairs[pair]!;
    const firstRow = contextIds.length - 1;
    for (let index = Math.max(0, from - firstRow); index < continuationIds.length; index++) {
      const row = firstRow + index;
      if (row >= to) break;
      targets.push({ pair, index, row, tokenId: continuationIds[index]! });
    }
  }
  return targets.sort((a, b) => a.row - b.row);
}

function digestOf(texts: readonly Int32Array[]): string {
  const hash = createHash("sha256");
  for (const text of texts) {
    hash.update(Int32Array.of(text.length));
    hash.update(text);
  }
  return hash.digest("hex");
}
