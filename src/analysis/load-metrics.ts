/** The load figures as a table: formula, source, and between which ends each can lie. */

import type { RoutingShape } from "./accumulator.js";
import * as balance from "./load-balance.js";
import { Random } from "./random.js";

/** N experts, k per token, T tokens. */
export interface UniformCase extends Pick<RoutingShape, "numExperts" | "numExpertsPerToken"> {
  numTokens: number;
}

export interface LoadMetric {
  formula: string;
  source: string;
  /** The figure of one layer's counts. */
  of: (counts: ArrayLike<number>, numExpertsPerToken: number) => number;
  /** What evenly used experts give; at finite T the expectation where it has a closed form. Absent: see `uniformNull`. */
  uniform?: (shape: UniformCase) => number;
  /** The ends that k distinct experts per token can reach. */
  floor?: (shape: UniformCase) => number;
  ceiling?: (shape: UniformCase) => number;
}

const evenShare = ({ numExperts, numExpertsPerToken }: UniformCase): number => numExpertsPerToken / numExperts;
const zero = (): number => 0;
const one = (): number => 1;

/** Figures of the counts of one layer, in the order in which reports print them. */
export const LOAD_METRICS: Readonly<Record<string, LoadMetric>> = {
  deadFraction: {
    formula: "#{c_e = 0} / N",
    source: "NeMo Automodel",
    of: balance.deadFraction,
    uniform: (shape) => (1 - evenShare(shape)) ** shape.numTokens,
    ceiling: (shape) => 1 - evenShare(shape),
  },
  oversubscribedFraction: {
    formula: "#{N c_e > sum of c} / N",
    source: "Tinker",
    of: balance.oversubscribedFraction,
  },
  maxViolation: {
    formula: "(max c - mean c) / mean c",
    source: "Tinker; arXiv 2408.15664 [mem]",
    of: balance.maxViolation,
    floor: zero,
    ceiling: (shape) => 1 / evenShare(shape) - 1,
  },
  balancedness: {
    formula: "mean c / max c, of experts",
    source: "SGLang and vLLM, there of GPUs",
    of: balance.balancedness,
    floor: evenShare,
    ceiling: one,
  },
  loadCv: {
    formula: "sd(c) / mean(c), divisor N",
    source: "NeMo Automodel, there with divisor N - 1",
    of: balance.loadCv,
    floor: zero,
    ceiling: (shape) => Math.sqrt(1 / evenShare(shape) - 1),
  },
  loadCvSampleSd: {
    formula: "sd(c) / mean(c), divisor N - 1",
    source: "NeMo Automodel",
    of: balance.loadCvSampleSd,
    floor: zero,
  },
  entropy: {
    formula: "H = -sum f ln f, nats",
    source: "NeMo Automodel; ds4 #307",
    of: balance.loadEntropy,
    uniform: ({ numExperts }) => Math.log(numExperts),
    floor: ({ numExpertsPerToken }) => Math.log(numExpertsPerToken),
    ceiling: ({ numExperts }) => Math.log(numExperts),
  },
  entropyNormalized: {
    formula: "H / ln N",
    source: "NeMo Automodel",
    of: balance.loadEntropyNormalized,
    uniform: one,
    floor: ({ numExperts, numExpertsPerToken }) => Math.log(numExpertsPerToken) / Math.log(numExperts),
    ceiling: one,
  },
  entropyRescaled: {
    formula: "(H - ln k) / (ln N - ln k)",
    source: "derived",
    of: balance.loadEntropyRescaled,
    uniform: one,
    floor: zero,
    ceiling: one,
  },
  effectiveExperts: {
    formula: "exp(H)",
    source: "NeMo Automodel (diversity)",
    of: balance.effectiveExperts,
    uniform: ({ numExperts }) => numExperts,
    floor: ({ numExpertsPerToken }) => numExpertsPerToken,
    ceiling: ({ numExperts }) => numExperts,
  },
  effectiveExpertsFraction: {
    formula: "exp(H) / N",
    source: "derived",
    of: balance.effectiveExpertsFraction,
    uniform: one,
    floor: evenShare,
    ceiling: one,
  },
  klFromUniform: {
    formula: "ln N - H",
    source: "derived",
    of: balance.klFromUniform,
    uniform: zero,
    floor: zero,
    ceiling: (shape) => -Math.log(evenShare(shape)),
  },
  tvBalance: {
    formula: "1 - 1/2 sum |f_e - 1/N|",
    source: "chuk load_balance_score",
    of: balance.tvBalance,
    uniform: one,
    floor: evenShare,
    ceiling: one,
  },
  gini: {
    formula: "sum_ij |f_i - f_j| / (2N)",
    source: "Gini 1912",
    of: balance.gini,
    uniform: zero,
    floor: zero,
    ceiling: (shape) => 1 - evenShare(shape),
  },
  giniRescaled: {
    formula: "gini / (1 - k/N)",
    source: "derived",
    of: balance.giniRescaled,
    uniform: zero,
    floor: zero,
    ceiling: one,
  },
};

/** Expectation of the squared coefficient of variation of the counts under uniform routing, (N - k) / (T k): not 0. */
export function expectedSquaredCv({ numExperts, numExpertsPerToken, numTokens }: UniformCase): number {
  return (numExperts - numExpertsPerToken) / (numTokens * numExpertsPerToken);
}

/** Above this many tokens the counts are drawn from their normal limit, whose error is far below the spread between draws. */
const MOST_SIMULATED_TOKENS = 16_384;

/**
 * Mean and sd of a figure over draws of T independent tokens that choose k of N experts uniformly: what to subtract before a small
 * trace is called unbalanced.
 */
export function uniformNull(
  of: LoadMetric["of"],
  shape: UniformCase,
  options: { draws?: number; seed?: number } = {},
): { mean: number; sd: number } {
  const { draws = 400, seed = 0 } = options;
  const random = new Random(seed);
  const draw = shape.numTokens <= MOST_SIMULATED_TOKENS ? simulatedCounts : limitingCounts;
  const values = Float64Array.from({ length: draws }, () => of(draw(shape, random), shape.numExpertsPerToken));
  const mean = values.reduce((sum, value) => sum + value, 0) / draws;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: Math.sqrt(squares / (draws - 1)) };
}

function simulatedCounts({ numExperts, numExpertsPerToken, numTokens }: UniformCase, random: Random): Float64Array {
  const counts = new Float64Array(numExperts);
  const experts = Uint32Array.from({ length: numExperts }, (_, e) => e);
  for (let token = 0; token < numTokens; token++) {
    // The first k places of a partial shuffle: k distinct experts.
    for (let slot = 0; slot < numExpertsPerToken; slot++) {
      const other = slot + random.below(numExperts - slot);
      const chosen = experts[other]!;
      experts[other] = experts[slot]!;
      experts[slot] = chosen;
      counts[chosen]!++;
    }
  }
  return counts;
}

/** Counts have covariance T k (N - k) / (N (N - 1)) times (identity - 1/N): independent normals less their mean. */
function limitingCounts({ numExperts, numExpertsPerToken, numTokens }: UniformCase, random: Random): Float64Array {
  const mean = (numTokens * numExpertsPerToken) / numExperts;
  const sd = Math.sqrt((mean * (numExperts - numExpertsPerToken)) / (numExperts - 1));
  const noise = Float64Array.from({ length: numExperts }, () => random.normal());
  const centre = noise.reduce((sum, value) => sum + value, 0) / numExperts;
  return noise.map((value) => mean + sd * (value - centre));
}
