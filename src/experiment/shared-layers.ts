/**
 * Lines under many ablations at once. An ablation that first acts in layer l leaves everything below l as it is, so those layers are
 * computed once for all of them, and so is what the choices of a line have in common. The bits are those of asking one by one.
 */

import { CHUNK_ROWS } from "../model/forward.js";
import { pairOf } from "../model/likelihood.js";
import type { Model } from "../model/model.js";
import { fromNativeError, throwIfAborted } from "../model/native-error.js";
import type { ScoredPair } from "../model/score.js";
import { SEGMENT } from "../model/segments.js";
import type { NativeSession, RouteRule, StepSegment } from "../native/binding.js";
import { type Answer, lineAnswer, requestsOf } from "./questions.js";
import type { ScoredLine } from "./scored-lines.js";

/** One ablation: the model with its interventions, and the first layer in which they act. */
export interface SharedAblation {
  model: Model;
  firstLayer: number;
}

/** Positions whose keys, values and residual stream are held at once. */
const MAX_POSITIONS = 8192;

/** A line's requests: what they have in common, then each one's own rows. */
interface LineTree {
  pairs: ScoredPair[];
  inputs: Int32Array[];
  /** Rows that all inputs share; at least one. */
  common: number;
}

/** Sequences of the lines of a batch in one pass: a trunk, and a branch for each request that goes beyond it. */
interface Pass {
  trunks: number[];
  branches: (number | undefined)[][];
}

/**
 * Answers of every ablation to the lines, in the order of both. `onAnswers` is called once for each ablation, as soon as its last line is
 * answered.
 */
export async function askSharingLayers(
  model: Model,
  lines: readonly ScoredLine[],
  ablations: readonly SharedAblation[],
  { signal, onAnswers }: { signal?: AbortSignal; onAnswers: (ablation: number, answers: Answer[]) => Promise<void> },
): Promise<void> {
  const trees = await Promise.all(lines.map((line) => treeOf(model, line)));
  const batches = batchesOf(trees);
  const answers: Answer[][] = ablations.map(() => []);
  for (const [number, [from, to]] of batches.entries()) {
    const session = model.parts.engine.newSession({ cacheType: model.parts.cacheType, chunkRows: CHUNK_ROWS });
    try {
      const batch = new Batch(session, trees.slice(from, to), signal);
      for await (const [ablation, logprobs] of batch.run(model.rules, ablations)) {
        for (const [i, own] of logprobs.entries()) answers[ablation]!.push(lineAnswer(lines[from + i]!, own));
        if (number === batches.length - 1) await onAnswers(ablation, answers[ablation]!);
      }
    } catch (error) {
      throw fromNativeError(error);
    } finally {
      session.dispose();
    }
  }
}

async function treeOf(model: Model, line: ScoredLine): Promise<LineTree> {
  const requests = await requestsOf(model, line);
  const pairs = await Promise.all(requests.map((request, index) => pairOf(model, request, index, true)));
  const inputs = pairs.map(({ contextIds, continuationIds }) =>
    Int32Array.from([...contextIds, ...continuationIds.subarray(0, -1)]),
  );
  const shortest = Math.min(...inputs.map(({ length }) => length));
  let common = 0;
  while (common < shortest && inputs.every((ids) => ids[common] === inputs[0]![common])) common++;
  return { pairs, inputs, common };
}

function batchesOf(trees: readonly LineTree[]): [from: number, to: number][] {
  const batches: [number, number][] = [];
  let positions = 0;
  for (const [i, { inputs, common }] of trees.entries()) {
    const size = inputs.reduce((sum, { length }) => sum + length - common, common);
    if (batches.length === 0 || positions + size > MAX_POSITIONS) {
      batches.push([i, i]);
      positions = 0;
    }
    positions += size;
    batches.at(-1)![1] = i + 1;
  }
  return batches;
}

class Batch {
  readonly #session: NativeSession;
  readonly #trees: readonly LineTree[];
  readonly #signal: AbortSignal | undefined;

  constructor(session: NativeSession, trees: readonly LineTree[], signal: AbortSignal | undefined) {
    this.#session = session;
    this.#trees = trees;
    this.#signal = signal;
  }

  /** Yields each ablation with the log-probabilities of every line's requests, those that act in low layers first. */
  async *run(
    rules: readonly RouteRule[],
    ablations: readonly SharedAblation[],
  ): AsyncGenerator<[ablation: number, logprobs: number[][]]> {
    const layers = [...new Set(ablations.map(({ firstLayer }) => firstLayer))].sort((a, b) => a - b);
    let base: { pass: Pass; layer: number } | undefined;
    for (const layer of layers) {
      if (layer > 0) {
        // Each base begins where the one before it has kept the residual stream.
        const { pass } = await this.#pass(rules, base, layer);
        if (base !== undefined) this.#release(base.pass);
        base = { pass, layer };
      }
      for (const [index, { model, firstLayer }] of ablations.entries()) {
        if (firstLayer !== layer) continue;
        throwIfAborted(this.#signal);
        const { pass, logprobs } = await this.#pass(model.rules, base);
        this.#release(pass);
        yield [index, logprobs];
      }
    }
    if (base !== undefined) this.#release(base.pass);
  }

  /** Runs all lines under `rules`, from the layer that `base` keeps upwards; `keep`: the layer that this pass keeps for others. */
  async #pass(
    rules: readonly RouteRule[],
    base: { pass: Pass; layer: number } | undefined,
    keep?: number,
  ): Promise<{ pass: Pass; logprobs: number[][] }> {
    const session = this.#session;
    const trunks = this.#trees.map((_, line) => {
      const sequence = session.createSequence([...rules]);
      if (keep !== undefined) session.keepResiduals(sequence, keep);
      if (base !== undefined) session.shareLowerLayers(sequence, base.pass.trunks[line]!, base.layer);
      return sequence;
    });
    const found = this.#trees.map(({ pairs }) =>
      pairs.map(({ continuationIds }) => new Float32Array(continuationIds.length)),
    );
    await this.#step(
      trunks.map((sequence, line) => ({ sequence, line, request: undefined, from: 0, to: this.#trees[line]!.common })),
      found,
    );
    const branches = this.#trees.map(({ inputs, common }, line) =>
      inputs.map((ids, request) => {
        if (ids.length === common) return undefined;
        const sequence = session.forkSequence(trunks[line]!, common, [...rules]);
        if (base !== undefined) session.shareLowerLayers(sequence, base.pass.branches[line]![request]!, base.layer);
        return sequence;
      }),
    );
    const rest = branches.flatMap((own, line) =>
      own.flatMap((sequence, request) => {
        const { inputs, common } = this.#trees[line]!;
        return sequence === undefined ? [] : [{ sequence, line, request, from: common, to: inputs[request]!.length }];
      }),
    );
    if (rest.length > 0) await this.#step(rest, found);
    const logprobs = found.map((own) => own.map((tokens) => tokens.reduce((sum, value) => sum + value, 0)));
    return { pass: { trunks, branches }, logprobs };
  }

  async #step(
    parts: readonly { sequence: number; line: number; request: number | undefined; from: number; to: number }[],
    found: readonly Float32Array[][],
  ): Promise<void> {
    const segments: StepSegment[] = [];
    const places: { tokens: Float32Array; index: number }[] = [];
    for (const { sequence, line, request, from, to } of parts) {
      const { pairs, inputs } = this.#trees[line]!;
      const targets: { row: number; token: number; tokens: Float32Array; index: number }[] = [];
      for (const [number, { contextIds, continuationIds }] of pairs.entries()) {
        if (request !== undefined && request !== number) continue;
        for (const [index, token] of continuationIds.entries()) {
          const row = contextIds.length - 1 + index;
          if (row >= from && row < to) targets.push({ row: row - from, token, tokens: found[line]![number]!, index });
        }
      }
      targets.sort((a, b) => a.row - b.row);
      places.push(...targets);
      segments.push({
        ...{ sequence, tokenIds: inputs[request ?? 0]!.subarray(from, to), origin: 0, segment: SEGMENT.question },
        head:
          targets.length === 0
            ? { kind: "none" }
            : {
                kind: "targets",
                rows: Int32Array.from(targets, ({ row }) => row),
                targets: Int32Array.from(targets, ({ token }) => token),
              },
      });
    }
    const { logprobs } = await this.#session.step({ segments }, null, null);
    for (const [i, { tokens, index }] of places.entries()) tokens[index] = logprobs[i]!;
  }

  #release({ trunks, branches }: Pass): void {
    for (const sequence of [...trunks, ...branches.flat()]) {
      if (sequence !== undefined) this.#session.releaseSequence(sequence);
    }
  }
}
