/** Near routes and wrong answers: the margin at the answer's token, and flips between two precisions, by outcome. Ours. */

import { RoutingAccumulator, type TraceBatch } from "./accumulator.js";
import { joinDocuments, type Outcome } from "./outcomes.js";
import { rocAuc } from "./rank.js";
import type { RouteAgreement } from "./route-agreement.js";
import { marginOf } from "./route-margins.js";

/** One layer's margins by outcome. */
export interface MarginByOutcome {
  layer: number;
  meanCorrect: number;
  meanWrong: number;
  /** Chance that a right sample's margin is above a wrong one's; 1/2 where they do not differ. */
  auc: number;
}

/**
 * The margin at the last selected token of each document, in the order in which its tokens came. With the subset
 * `{ segment: "question" }` that is the token from which the answer is predicted.
 */
export class AnswerMargins extends RoutingAccumulator {
  /** By document. [L] */
  readonly #margins: Float64Array[] = [];

  protected take({ trace, shape, tokens, documentOfToken }: TraceBatch): void {
    const numLayers = shape.layers.length;
    const lastOf = new Map<number, number>();
    for (const token of tokens) lastOf.set(documentOfToken[token]!, token);
    for (const [document, token] of lastOf) {
      this.#margins[document] = Float64Array.from({ length: numLayers }, (_, layer) =>
        marginOf(trace, token * numLayers + layer),
      );
    }
  }

  /** The margins of a document; NaN where none of its tokens was selected. [L] */
  ofDocument(document: number): Float64Array {
    return this.#margins[document] ?? new Float64Array(this.shape.layers.length).fill(Number.NaN);
  }

  /** Right against wrong answers, by layer. Throws INVALID_ARGUMENT where samples and routes do not match one to one. */
  byOutcome(outcomes: readonly Outcome[]): MarginByOutcome[] {
    const joined = joinDocuments(this, outcomes);
    return this.shape.layers.map((layer, index) => {
      const margins = joined.map(({ document }) => this.ofDocument(document)[index]!);
      const right = joined.map(({ correct }) => correct);
      const { meanCorrect, meanWrong } = meansByOutcome(margins, right);
      return { layer, meanCorrect, meanWrong, auc: rocAuc(margins, right) };
    });
  }
}

/**
 * Mean over samples of the share of their tokens whose experts differ between two routers in any layer, by outcome.
 * Throws INVALID_ARGUMENT where samples and routes do not match one to one.
 */
export function flipRateByOutcome(
  agreement: RouteAgreement,
  outcomes: readonly Outcome[],
): { meanCorrect: number; meanWrong: number } {
  const flips = agreement.differsByDocument();
  const joined = joinDocuments(agreement, outcomes);
  return meansByOutcome(
    joined.map(({ document }) => flips[document]!),
    joined.map(({ correct }) => correct),
  );
}

function meansByOutcome(
  values: readonly number[],
  right: readonly boolean[],
): { meanCorrect: number; meanWrong: number } {
  const mean = (of: boolean) => {
    const chosen = values.filter((_, i) => right[i] === of);
    return chosen.reduce((sum, value) => sum + value, 0) / chosen.length;
  };
  return { meanCorrect: mean(true), meanWrong: mean(false) };
}
