/**
 * Dynamic skipping: a token runs without its second expert where that one's gate is small beside the first's, g2 / g1 < beta. NAEE, arXiv
 * 2402.14800, of models with two experts per token; with more, the ratio is still of the first two slots. beta is the median ratio of a
 * layer over calibration text, so that half of the tokens of that text skip by construction: judge a threshold on other text.
 */

import { InvalidArgumentError, invalidArgument } from "../errors.js";
import { EMPTY_SLOT } from "../router/schema.js";
import { RoutingAccumulator, type TraceBatch } from "./accumulator.js";
import { type BootstrapOptions, documentBootstrap } from "./bootstrap.js";
import { quantileOfSorted } from "./numbers.js";

/** Share of tokens that skip, by layer. */
export interface SkippedShare {
  values: Float64Array; // [L]
  /** Of the document bootstrap. [L] */
  lower: Float64Array;
  upper: Float64Array;
}

/** Ratios g2 / g1 of every token. Memory: 8 bytes for each token and layer. */
export class GateRatios extends RoutingAccumulator {
  /** [documents][L][tokens] */
  readonly #ratios: number[][][] = [];

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const { topK, columns } = trace;
    if (topK < 2) {
      throw new InvalidArgumentError("Expected traces of at least two experts per token for gate ratios, got one.");
    }
    const numLayers = shape.layers.length;
    for (const token of tokens) {
      const document = documentOfToken[token]!;
      this.#ratios[document] ??= Array.from({ length: numLayers }, () => []);
      for (let layer = 0; layer < numLayers; layer++) {
        const slot = (token * numLayers + layer) * topK;
        if (columns.topkExperts[slot + 1] === EMPTY_SLOT) continue;
        this.#ratios[document]![layer]!.push(columns.topkWeights[slot + 1]! / columns.topkWeights[slot]!);
      }
    }
  }

  /** The threshold beta: the median of g2 / g1 over tokens, 0 to 1. NaN without tokens. [L] */
  median(): Float64Array {
    return Float64Array.from(this.shape.layers, (_, layer) => {
      const all = this.#ratios.flatMap((ratios) => ratios?.[layer] ?? []);
      return all.length === 0 ? Number.NaN : quantileOfSorted(Float64Array.from(all).sort(), 0.5);
    });
  }

  /**
   * Share of tokens with g2 / g1 below a layer's threshold, 0 to 1, with an interval over documents; about 1/2 where the threshold is the
   * median of this very text. Skipping saves that share of one expert per token.
   *
   * @param thresholds one for each layer, e.g. `median()` of other text
   */
  skippedShare(thresholds: ArrayLike<number>, options: BootstrapOptions = {}): SkippedShare {
    const { layers } = this.shape;
    if (thresholds.length !== layers.length) {
      throw invalidArgument("thresholds", `${layers.length} numbers, one for each MoE layer`, thresholds.length);
    }
    const perDocument = this.documents.map((_, document) =>
      layers.map((_layer, layer): [skipped: number, tokens: number] => {
        const ratios = this.#ratios[document]?.[layer] ?? [];
        return [ratios.filter((ratio) => ratio < thresholds[layer]!).length, ratios.length];
      }),
    );
    const shares = (weights?: ArrayLike<number>) =>
      Float64Array.from(layers, (_, layer) => {
        let skipped = 0;
        let tokens = 0;
        for (const [document, counts] of perDocument.entries()) {
          const weight = weights?.[document] ?? 1;
          skipped += weight * counts[layer]![0];
          tokens += weight * counts[layer]![1];
        }
        return skipped / tokens;
      });
    const { lower, upper } = documentBootstrap(this.documents.length, shares, options);
    return { values: shares(), lower, upper };
  }
}
