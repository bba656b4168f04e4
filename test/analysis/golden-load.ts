/** Load and router confidence as the goldens name them: how our analyses give each key. */

import * as balance from "../../src/analysis/load-balance.js";
import { LOAD_METRICS, type UniformCase } from "../../src/analysis/load-metrics.js";
import type { GoldenCase, Nested, View } from "./golden-case.js";

export interface Entry {
  values: (view: View, golden: GoldenCase) => Nested;
  /** Values from documents that count as often as their weight says, for the bootstrap. */
  weighted?: (golden: GoldenCase) => (weights: ArrayLike<number>) => ArrayLike<number>;
  n?: (view: View, golden: GoldenCase) => Nested;
  null?: (golden: GoldenCase) => Nested;
  floor?: (golden: GoldenCase) => Nested;
  ceiling?: (golden: GoldenCase) => Nested;
  /** Its name in LOAD_METRICS. */
  loadMetric?: string;
}

export const even = (golden: GoldenCase): number => golden.topK / golden.numExperts;
export const experts = (matrix: ArrayLike<number>, golden: GoldenCase): Float64Array[] =>
  balance.rowsOf(Float64Array.from(matrix), golden.numExperts);
const uniformCase = (golden: GoldenCase): UniformCase => ({
  numExperts: golden.numExperts,
  numExpertsPerToken: golden.topK,
  numTokens: golden.trace.numTokens,
});

/** A figure of `LOAD_METRICS` for each layer. */
function loadMetric(name: string): Entry {
  const { of, uniform, floor, ceiling } = LOAD_METRICS[name]!;
  const figures = (counts: Float64Array, golden: GoldenCase) =>
    experts(counts, golden).map((row) => of(row, golden.topK));
  const bound = (end?: (shape: UniformCase) => number) => end && ((golden: GoldenCase) => end(uniformCase(golden)));
  return {
    values: ({ load }, golden) => figures(load.counts(), golden),
    weighted: (golden) => (weights) => figures(golden.all.load.counts(weights), golden),
    null: bound(uniform),
    floor: bound(floor),
    ceiling: bound(ceiling),
    loadMetric: name,
  };
}

export const LOAD_ENTRIES: Record<string, Entry> = {
  counts: {
    values: (view, golden) => experts(view.load.counts(), golden),
    null: (golden) => golden.trace.numTokens * even(golden),
    ceiling: (golden) => golden.trace.numTokens,
  },
  selection_share: {
    values: (view, golden) => experts(view.load.selectionShare(), golden),
    null: (golden) => 1 / golden.numExperts,
    ceiling: (golden) => 1 / golden.topK,
  },
  selection_rate: {
    values: (view, golden) => experts(view.load.selectionRate(), golden),
    weighted: (golden) => (weights) => golden.all.load.selectionRate(weights),
    null: even,
    ceiling: () => 1,
  },
  utilisation: {
    values: (view, golden) => experts(view.load.utilization(), golden),
    null: () => 1,
    floor: () => 0,
    ceiling: (golden) => 1 / even(golden),
  },
  dead_fraction: loadMetric("deadFraction"),
  oversubscribed_fraction: loadMetric("oversubscribedFraction"),
  max_violation: loadMetric("maxViolation"),
  balancedness: loadMetric("balancedness"),
  cv: loadMetric("loadCv"),
  cv_sample_sd: loadMetric("loadCvSampleSd"),
  importance_cv2: {
    values: (view, golden) => experts(view.load.gateMass(), golden).map(balance.importanceCv2),
    floor: () => 0,
  },
  entropy: loadMetric("entropy"),
  entropy_normalised: loadMetric("entropyNormalized"),
  entropy_rescaled: loadMetric("entropyRescaled"),
  effective_experts: loadMetric("effectiveExperts"),
  effective_experts_fraction: loadMetric("effectiveExpertsFraction"),
  kl_from_uniform: loadMetric("klFromUniform"),
  tv_balance: loadMetric("tvBalance"),
  gini: loadMetric("gini"),
  gini_rescaled: loadMetric("giniRescaled"),
  coverage_curve: {
    values: (view, golden) => experts(view.load.counts(), golden).map(balance.coverageCurve),
    null: (golden) => Array.from({ length: golden.numExperts }, (_, m) => (m + 1) / golden.numExperts),
    ceiling: (golden) => Array.from({ length: golden.numExperts }, (_, m) => Math.min(1, (m + 1) / golden.topK)),
  },
  gate_mass: { values: (view, golden) => experts(view.load.gateMass(), golden) },
  mean_probability: {
    values: (view, golden) => experts(view.confidence.meanProbability(), golden),
    null: (golden) => 1 / golden.numExperts,
  },
  load_balance_loss: {
    values: (view, golden) => {
      const probabilities = experts(view.confidence.meanProbability(), golden);
      return experts(view.load.counts(), golden).map((row, l) => balance.loadBalanceLoss(row, probabilities[l]!));
    },
    null: () => 1,
  },
  dead_fraction_rarefaction: {
    values: ({ load }, golden) =>
      experts(load.counts(), golden).map((row) =>
        golden.expected.metrics.dead_fraction_rarefaction!.at!.map((n) =>
          balance.deadFractionRarefied(row, load.tokens(), n),
        ),
      ),
    null: (golden) =>
      golden.expected.metrics.dead_fraction_rarefaction!.at!.map((numTokens) =>
        LOAD_METRICS.deadFraction!.uniform!({ ...uniformCase(golden), numTokens }),
      ),
  },
  balancedness_per_layer_mean: {
    values: (view, golden) => balance.balancednessPerLayerMean(view.load.counts(), golden.numExperts),
    n: (view) => view.load.tokens(),
    floor: even,
    ceiling: () => 1,
  },
  balancedness_pooled: {
    values: (view, golden) => balance.balancednessPooled(view.load.counts(), golden.numExperts),
    n: (view) => view.load.tokens(),
    floor: even,
    ceiling: () => 1,
  },
  load_balance_loss_hf: {
    values: ({ load, confidence }, golden) =>
      balance.loadBalanceLossPooled(
        load.counts(),
        confidence.probabilitySums(),
        golden.numExperts,
        load.tokens() * golden.trace.layers.length,
      ),
    n: (view, golden) => view.load.tokens() * golden.trace.layers.length,
    null: (golden) => golden.topK,
  },
};

export const CONFIDENCE_ENTRIES: Record<string, Entry> = {
  token_routing_entropy: {
    values: (view) => view.confidence.routingEntropy(),
    weighted: (golden) => (weights) => golden.all.confidence.routingEntropy(weights),
    ceiling: () => 1,
  },
  topk_mass: {
    values: (view) => view.confidence.topkMass(),
    weighted: (golden) => (weights) => golden.all.confidence.topkMass(weights),
    floor: even,
    ceiling: () => 1,
  },
  kth_margin_mean: {
    values: (view) => view.margins.mean(),
    weighted: (golden) => (weights) => golden.all.margins.mean(weights),
    floor: () => 0,
  },
  kth_margin_median: { values: (view) => view.margins.quantile(0.5) },
  kth_margin_p05: { values: (view) => view.margins.quantile(0.05) },
  kth_margin_zero_count: { values: (view) => view.margins.ties() },
  kth_margin_below_0_1: { values: (view) => view.margins.shareBelowNear() },
  z_loss: { values: (view) => view.confidence.zLoss() },
  route_agreement: {
    values: (_, golden) => golden.agreement.agreement(),
    weighted: (golden) => (weights) => golden.agreement.agreement(weights),
    null: even,
    ceiling: () => 1,
  },
  route_set_differs: { values: (_, golden) => golden.agreement.differs() },
  route_set_differs_any_layer: {
    values: (_, golden) => golden.agreement.differsInAnyLayer(),
    n: (_, golden) => golden.trace.numTokens,
  },
};
