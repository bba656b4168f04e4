/**
 * The same tokens through two routers: two precisions, engines or batch sizes (route agreement), or two checkpoints of a training run
 * (saturation). OLMoE, arXiv 2409.02060, and its script; R3, arXiv 2510.11370. Teacher-force the same tokens: after the first different
 * token the texts differ, and so does everything behind it.
 */

import { InvalidArgumentError } from "../errors.js";
import { EMPTY_SLOT } from "../router/schema.js";
import type { RouterTrace } from "../router/trace.js";
import { poolDocuments, RoutingAccumulator, type TokenSubset, type TraceBatch } from "./accumulator.js";

/** Per layer: shares of common experts, tokens whose set differs; in the last place of a row: tokens whose set differs in any layer. */
const SUMS = 2;

/**
 * Means over tokens; the order inside a set does not count. Uniform choice would agree in k/N. Give pairs of traces to `addPair`; the
 * documents are those of the first.
 */
export class RouteAgreement extends RoutingAccumulator {
  /** By document. [2 L + 1] */
  readonly #sums: Float64Array[] = [];
  #other: RouterTrace | undefined;

  constructor(subset: TokenSubset = {}) {
    super(subset);
  }

  /**
   * Two traces of the same tokens in the same order.
   *
   * @throws InvalidArgumentError where tokens or positions differ: another text, or another tokenizer.
   */
  addPair(a: RouterTrace, b: RouterTrace): this {
    checkSameTokens(a, b);
    this.#other = b;
    return this.add(a);
  }

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const other = this.#other;
    this.#other = undefined;
    if (other === undefined) throw new InvalidArgumentError("Expected a pair of traces for route agreement, got one.");
    const numLayers = shape.layers.length;
    for (const token of tokens) {
      this.#sums[documentOfToken[token]!] ??= new Float64Array(numLayers * SUMS + 1);
      const sums = this.#sums[documentOfToken[token]!]!;
      let differs = 0;
      for (let layer = 0; layer < numLayers; layer++) {
        const row = token * numLayers + layer;
        const shared = sharedExperts(trace, row, other, row);
        const larger = Math.max(usedSlots(trace, row), usedSlots(other, row));
        sums[layer * SUMS]! += shared / larger;
        if (shared === larger) continue;
        sums[layer * SUMS + 1]!++;
        differs = 1;
      }
      sums[numLayers * SUMS]! += differs;
    }
  }

  /** Mean of |S_A and S_B| / k, where top-k was changed over the size of the larger set; uniform k/N, ceiling 1. [L] */
  agreement(weights?: ArrayLike<number>): Float64Array {
    const tokens = this.tokens(weights);
    return this.#pooled(0, weights).map((sum) => sum / tokens);
  }

  /** Share of tokens whose set differs in the layer. [L] */
  differs(weights?: ArrayLike<number>): Float64Array {
    const tokens = this.tokens(weights);
    return this.#pooled(1, weights).map((sum) => sum / tokens);
  }

  /** Share of tokens whose set differs in at least one layer. */
  differsInAnyLayer(weights?: ArrayLike<number>): number {
    const width = this.shape.layers.length * SUMS + 1;
    return poolDocuments(this.#sums, width, weights)[width - 1]! / this.tokens(weights);
  }

  /** Of each document, the share of its tokens whose set differs in at least one layer; NaN without tokens. */
  differsByDocument(): Float64Array {
    const last = this.shape.layers.length * SUMS;
    return Float64Array.from(this.tokensOfDocument, (tokens, document) => (this.#sums[document]?.[last] ?? 0) / tokens);
  }

  #pooled(which: number, weights?: ArrayLike<number>): Float64Array {
    const numLayers = this.shape.layers.length;
    const pooled = poolDocuments(this.#sums, numLayers * SUMS + 1, weights);
    return Float64Array.from({ length: numLayers }, (_, layer) => pooled[layer * SUMS + which]!);
  }
}

/** Size of the intersection of the expert sets of two rows. */
export function sharedExperts(a: RouterTrace, rowA: number, b: RouterTrace, rowB: number): number {
  const expertsA = a.columns.topkExperts;
  const expertsB = b.columns.topkExperts;
  const { numExperts } = a.layout.metadata;
  let shared = 0;
  for (let i = rowA * a.topK; i < (rowA + 1) * a.topK; i++) {
    // Empty slots have a number above every expert's.
    if (expertsA[i]! >= numExperts) continue;
    for (let j = rowB * b.topK; j < (rowB + 1) * b.topK; j++) if (expertsA[i] === expertsB[j]) shared++;
  }
  return shared;
}

/** Experts of a row: k, unless a top-k intervention changed it. */
export function usedSlots({ columns: { topkExperts }, topK }: RouterTrace, row: number): number {
  let used = 0;
  for (let i = row * topK; i < (row + 1) * topK; i++) if (topkExperts[i] !== EMPTY_SLOT) used++;
  return used;
}

function checkSameTokens(a: RouterTrace, b: RouterTrace): void {
  if (a.numTokens !== b.numTokens || a.layers.join() !== b.layers.join()) {
    throw new InvalidArgumentError(
      `Expected two traces of the same tokens and layers, got ${a.numTokens} tokens of layers ${a.layers.join(", ")} and ` +
        `${b.numTokens} of layers ${b.layers.join(", ")}.`,
    );
  }
  for (let token = 0; token < a.numTokens; token++) {
    const [idA, idB] = [a.columns.tokenIds[token]!, b.columns.tokenIds[token]!];
    const [positionA, positionB] = [a.columns.positions[token]!, b.columns.positions[token]!];
    // A table without token ids reads as -1: then positions must do.
    if (positionA === positionB && (idA === idB || idA < 0 || idB < 0)) continue;
    throw new InvalidArgumentError(
      `Expected two traces of the same tokens, got token ${idA} at position ${positionA} and token ${idB} at position ` +
        `${positionB} in place ${token}: another text or another tokenizer.`,
    );
  }
}
