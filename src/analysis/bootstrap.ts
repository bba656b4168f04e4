/** Intervals by resampling documents: tokens of one document are alike, so documents are what is independent. Efron 1979. */

import { invalidArgument } from "../errors.js";
import { quantileOfSorted } from "./numbers.js";
import { Random } from "./random.js";

export interface BootstrapOptions {
  /** Coverage; default 0.95. */
  level?: number;
  /** How many resamples (default 2000), or the resamples themselves, each a list of document numbers. */
  resamples?: number | readonly ArrayLike<number>[];
  seed?: number;
}

/** One entry per value of the statistic; NaN where the statistic was undefined in a resample, or with fewer than 2 documents. */
export interface Bootstrap {
  lower: Float64Array;
  upper: Float64Array;
  /** Standard deviation over the resamples, divisor B - 1. */
  se: Float64Array;
  /** Mean over the resamples: beside the estimate it shows the bias of a plug-in statistic. */
  mean: Float64Array;
}

/**
 * Percentile intervals. Documents are drawn with replacement; `statistic` gets how often each was drawn and returns its values, from
 * sums pooled over documents. Throws INVALID_ARGUMENT for a resample that names an unknown document.
 */
export function documentBootstrap(
  numDocuments: number,
  statistic: (weights: Float64Array) => ArrayLike<number>,
  options: BootstrapOptions = {},
): Bootstrap {
  const { level = 0.95, resamples = 2000, seed = 0 } = options;
  if (!(level > 0 && level < 1)) throw invalidArgument("level", "a number between 0 and 1", level);
  const random = new Random(seed);
  const count = typeof resamples === "number" ? resamples : resamples.length;
  const weights = new Float64Array(numDocuments);
  const values: Float64Array[] = [];
  for (let b = 0; b < count; b++) {
    weights.fill(0);
    if (typeof resamples === "number") {
      for (let i = 0; i < numDocuments; i++) weights[random.below(numDocuments)]!++;
    } else {
      takeGiven(resamples[b]!, weights);
    }
    values.push(Float64Array.from(statistic(weights)));
  }
  const width = values[0]?.length ?? 0;
  const result = {
    lower: new Float64Array(width),
    upper: new Float64Array(width),
    se: new Float64Array(width),
    mean: new Float64Array(width),
  };
  for (let i = 0; i < width; i++) {
    const drawn = Float64Array.from(values, (row) => row[i]!).sort();
    const undefinedIn = numDocuments < 2 || Number.isNaN(drawn.at(-1)!);
    const mean = undefinedIn ? Number.NaN : drawn.reduce((sum, value) => sum + value, 0) / count;
    result.mean[i] = mean;
    result.se[i] = Math.sqrt(drawn.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1));
    result.lower[i] = undefinedIn ? Number.NaN : quantileOfSorted(drawn, (1 - level) / 2);
    result.upper[i] = undefinedIn ? Number.NaN : quantileOfSorted(drawn, (1 + level) / 2);
  }
  return result;
}

function takeGiven(resample: ArrayLike<number>, weights: Float64Array): void {
  for (let i = 0; i < resample.length; i++) {
    const document = resample[i]!;
    if (!(document in weights))
      throw invalidArgument("resamples", `documents from 0 to ${weights.length - 1}`, document);
    weights[document]!++;
  }
}
