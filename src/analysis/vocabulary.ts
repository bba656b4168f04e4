/**
 * How much a token id decides the first-choice expert: the mean over ids x of max_e P(first choice = e given x). OLMoE, arXiv
 * 2409.02060, and its script: every id counts alike, also an id seen once, for which the maximum is 1 by necessity. So compare with the
 * permutation null, and with the ids of at least 10 uses.
 */

import { type DocumentSums, RoutingAccumulator, type TokenSubset, type TraceBatch } from "./accumulator.js";
import { addScaled } from "./numbers.js";
import { Random } from "./random.js";
import { fillRandomTable } from "./random-table.js";

/** The id that a row is filed under: the token itself, or the next one of its sequence (the last token has none). */
export type VocabularyId = "input" | "next";

/** Another id for a row, such as the token that the model predicts, which no trace holds; undefined leaves the row out. */
export type TokenIdOf = (trace: TraceBatch["trace"], token: number) => number | undefined;

/** First choices by token id. Memory: 4 L N bytes for each distinct id, 360 MB for 50,000 ids of 28 layers x 64 experts. */
export class VocabularySpecialization extends RoutingAccumulator {
  readonly by: VocabularyId | TokenIdOf;
  /** First choices of the tokens filed under an id. [L, N] */
  readonly #counts = new Map<number, Uint32Array>();

  constructor(by: VocabularyId | TokenIdOf, subset: TokenSubset = {}) {
    super(subset);
    this.by = by;
  }

  /** Of sums: first choices of the tokens filed under each id. [ids][L, N] */
  static fromSums(
    sums: DocumentSums,
    by: VocabularyId,
    counts: ReadonlyMap<number, Uint32Array>,
  ): VocabularySpecialization {
    const vocabulary = new VocabularySpecialization(by);
    vocabulary.adopt(sums);
    for (const [id, row] of counts) vocabulary.#counts.set(id, row);
    return vocabulary;
  }

  protected take({ trace, shape, tokens }: TraceBatch): void {
    const { numExperts } = shape;
    const numLayers = shape.layers.length;
    const { tokenIds, topkExperts } = trace.columns;
    const { by } = this;
    const idOf = (token: number) => {
      if (typeof by === "function") return by(trace, token);
      return by === "input" ? tokenIds[token]! : nextId(trace, token);
    };
    for (const token of tokens) {
      const id = idOf(token);
      if (id === undefined) continue;
      let counts = this.#counts.get(id);
      if (counts === undefined) {
        counts = new Uint32Array(numLayers * numExperts);
        this.#counts.set(id, counts);
      }
      for (let layer = 0; layer < numLayers; layer++) {
        const first = topkExperts[(token * numLayers + layer) * trace.topK]!;
        if (first < numExperts) counts[layer * numExperts + first]!++;
      }
    }
  }

  /** Distinct ids with at least `minUses` uses. */
  ids(minUses: number = 1): number {
    return this.shape.layers.length === 0 ? 0 : this.#rows(0, minUses).length;
  }

  /** Mean over ids with at least `minUses` uses of max_e P(e given id), 1/N to 1; NaN without such ids. [L] */
  specialization(minUses: number = 1): Float64Array {
    return this.#perLayer((layer) => meanOfMaxima(this.#rows(layer, minUses)));
  }

  /**
   * Mean and sd of the same with the first choices permuted over the layer's tokens, drawn as random tables with the observed margins.
   * Work grows with ids x experts x permutations.
   */
  permutationNull(
    minUses: number = 1,
    options: { permutations?: number; seed?: number } = {},
  ): { mean: Float64Array; sd: Float64Array } {
    const { permutations = 100, seed = 0 } = options;
    const { numExperts } = this.shape;
    const random = new Random(seed);
    const drawn = this.shape.layers.map((_, layer) => {
      const rows = this.#rows(layer, 1);
      const uses = Float64Array.from(rows, total);
      const choices = new Float64Array(numExperts);
      for (const row of rows) addScaled(choices, row);
      const table = new Float64Array(rows.length * numExperts);
      return Float64Array.from({ length: permutations }, () => {
        fillRandomTable(uses, choices, random, table);
        const kept = [...uses.keys()].filter((row) => uses[row]! >= minUses);
        return meanOfMaxima(kept.map((row) => table.subarray(row * numExperts, (row + 1) * numExperts)));
      });
    });
    const mean = Float64Array.from(drawn, (values) => total(values) / permutations);
    const sd = Float64Array.from(drawn, (values, layer) =>
      Math.sqrt(values.reduce((sum, value) => sum + (value - mean[layer]!) ** 2, 0) / (permutations - 1)),
    );
    return { mean, sd };
  }

  #rows(layer: number, minUses: number): Uint32Array[] {
    const { numExperts } = this.shape;
    const rows = Array.from(this.#counts.values(), (counts) =>
      counts.subarray(layer * numExperts, (layer + 1) * numExperts),
    );
    return rows.filter((row) => total(row) >= minUses);
  }

  #perLayer(of: (layer: number) => number): Float64Array {
    return Float64Array.from({ length: this.shape.layers.length }, (_, layer) => of(layer));
  }
}

function nextId({ columns: { keys, positions, tokenIds } }: TraceBatch["trace"], token: number): number | undefined {
  const next = token + 1;
  const follows = next < tokenIds.length && keys[next] === keys[token] && positions[next] === positions[token]! + 1;
  return follows ? tokenIds[next]! : undefined;
}

function meanOfMaxima(rows: readonly (Uint32Array | Float64Array)[]): number {
  let sum = 0;
  for (const row of rows) {
    let largest = 0;
    for (const count of row) if (count > largest) largest = count;
    sum += largest / total(row);
  }
  return sum / rows.length;
}

function total(row: Uint32Array | Float64Array): number {
  let sum = 0;
  for (const value of row) sum += value;
  return sum;
}
