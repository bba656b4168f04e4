/** How useful each expert is on questions, by any criterion. */

import { Contributions } from "../analysis/contribution.js";
import type { RoutingLoad } from "../analysis/routing-load.js";
import type { Model } from "../model/model.js";
import { type Criterion, criterionValues } from "./expert-slots.js";
import { documentsOf } from "./forced.js";
import type { Questions } from "./questions.js";

/**
 * The criterion's value of every slot, in the order of `allSlots`; 0 for an expert without a routed token. `ean`: mean norm of the expert's
 * output over its tokens (REAP repository). `reap`: the same times its gate (arXiv 2510.13999). `load` is that of the questions.
 */
export async function usefulness(
  model: Model,
  questions: Questions,
  load: RoutingLoad,
  criterion: Criterion,
  signal?: AbortSignal,
): Promise<Float64Array> {
  if (criterion !== "ean" && criterion !== "reap") return criterionValues(load, criterion);
  const documents = await documentsOf(model, questions, { maxTokens: model.config.maxContext, signal });
  const sums = await model.contributions(
    documents.map(({ tokenIds }) => tokenIds),
    { signal },
  );
  const { moeLayers, numExperts } = model.parts.shape;
  const figures = new Contributions(sums, { moeLayers, numExperts, numLayers: model.config.numLayers });
  const { values } = criterion === "ean" ? figures.activationNorm({ resamples: 1 }) : figures.reap({ resamples: 1 });
  return values.map((value) => (Number.isNaN(value) ? 0 : value));
}
