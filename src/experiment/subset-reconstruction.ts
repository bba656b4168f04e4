/** What is lost when a layer keeps only some of its experts: NAEE's criterion for pruning, layer by layer. */

import { type BootstrapOptions, documentBootstrap } from "../analysis/bootstrap.js";
import { Random } from "../analysis/random.js";
import { InvalidArgumentError } from "../errors.js";
import type { Model } from "../model/model.js";
import { mask } from "../router/intervention-builders.js";
import { blockOutputs, requireMoeLayer } from "./layer-outputs.js";

export interface ReconstructionOptions extends Omit<BootstrapOptions, "resamples"> {
  /** Random subsets of the same size to compare with; default 4. */
  controls?: number;
  signal?: AbortSignal;
}

export interface SubsetReconstruction {
  layer: number;
  kept: readonly number[];
  tokens: number;
  /** sqrt of the sum over tokens of |F(x) - F_kept(x)|^2: NAEE's loss. */
  frobenius: number;
  /** Mean over tokens of |F(x) - F_kept(x)|, with an interval over documents. 0 or more. */
  mean: number;
  interval: readonly [lower: number, upper: number];
  /** Mean over tokens of |F(x) - F_kept(x)| / |F(x)|. */
  relative: number;
  /** `mean` of random subsets of the same size: what a choice must beat. */
  controls: readonly { kept: readonly number[]; mean: number }[];
}

/**
 * norm(F(x) - F_kept(x)) of one layer's MoE block, F_kept with the router confined to `kept` (route-around, the gates as the model makes
 * them from what is left). Both see the same x: only this layer is changed. NAEE, arXiv 2402.14800.
 *
 * @throws InvalidArgumentError for a layer without experts, unknown experts, or fewer than k of them
 */
export async function subsetReconstruction(
  model: Model,
  documents: readonly ArrayLike<number>[],
  layer: number,
  kept: readonly number[],
  options: ReconstructionOptions = {},
): Promise<SubsetReconstruction> {
  const { controls = 4, signal, level, seed = 0 } = options;
  requireMoeLayer(model, layer);
  const texts = documents.map((ids) => Int32Array.from(ids)).filter(({ length }) => length > 0);
  if (texts.length === 0) throw new InvalidArgumentError("Expected documents of at least one token, got none.");
  const { numExperts } = model.parts.shape;
  const wrong = kept.find((expert, at) => !(expert >= 0 && expert < numExperts) || kept.indexOf(expert) !== at);
  if (wrong !== undefined) {
    throw new InvalidArgumentError(`Expected distinct experts from 0 to ${numExperts - 1} to keep, got ${wrong}.`);
  }
  const { numExpertsPerToken } = model.parts.shape;
  if (kept.length < numExpertsPerToken) {
    throw new InvalidArgumentError(
      `Expected at least ${numExpertsPerToken} experts to keep, as many as a token chooses, got ${kept.length}.`,
    );
  }
  const random = new Random(seed);
  const order = Int32Array.from({ length: numExperts }, (_, expert) => expert);
  const others = Array.from({ length: controls }, () => {
    random.shuffle(order);
    return Array.from(order.subarray(0, kept.length)).sort((a, b) => a - b);
  });
  const errors = [kept, ...others].map(() => [] as Errors[]);
  for (const ids of texts) {
    const full = await blockOutputs(model, ids, layer, [], signal);
    for (const [index, subset] of [kept, ...others].entries()) {
      const out = Array.from({ length: numExperts }, (_, expert) => expert).filter(
        (expert) => !subset.includes(expert),
      );
      const rules = out.length === 0 ? [] : [mask({ layers: [layer], experts: out })];
      errors[index]!.push(errorsOf(full, await blockOutputs(model, ids, layer, rules, signal), ids.length));
    }
  }
  const [own, ...controlErrors] = errors;
  const statistic = (weights: Float64Array) => [mean(own!, "norm", weights)];
  const { lower, upper } = documentBootstrap(texts.length, statistic, { level, seed });
  return {
    ...{ layer, kept: [...kept], tokens: own!.reduce((sum, { tokens }) => sum + tokens, 0) },
    frobenius: Math.sqrt(own!.reduce((sum, { squared }) => sum + squared, 0)),
    mean: mean(own!, "norm"),
    interval: [lower[0]!, upper[0]!],
    relative: mean(own!, "relative"),
    controls: others.map((subset, index) => ({ kept: subset, mean: mean(controlErrors[index]!, "norm") })),
  };
}

/** Sums over the tokens of a document. */
interface Errors {
  tokens: number;
  squared: number;
  norm: number;
  relative: number;
}

function errorsOf(full: Float32Array, reduced: Float32Array, tokens: number): Errors {
  const width = full.length / tokens;
  const sums = { tokens, squared: 0, norm: 0, relative: 0 };
  for (let start = 0; start < full.length; start += width) {
    let error = 0;
    let size = 0;
    for (let i = start; i < start + width; i++) {
      error += (full[i]! - reduced[i]!) ** 2;
      size += full[i]! ** 2;
    }
    sums.squared += error;
    sums.norm += Math.sqrt(error);
    sums.relative += Math.sqrt(error / size);
  }
  return sums;
}

function mean(errors: readonly Errors[], of: "norm" | "relative", weights?: Float64Array): number {
  let sum = 0;
  let tokens = 0;
  for (const [document, one] of errors.entries()) {
    sum += (weights?.[document] ?? 1) * one[of];
    tokens += (weights?.[document] ?? 1) * one.tokens;
  }
  return sum / tokens;
}
