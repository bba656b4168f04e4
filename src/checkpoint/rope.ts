/**
 * Rotary position embedding: the angle per position of each pair of dimensions, with or without YaRN (Peng et al. 2023,
 * arXiv:2309.00071), in the float32 arithmetic of transformers (`modeling_rope_utils.py`, `_compute_yarn_parameters`).
 */

/** Static YaRN: one set of angles for all positions and lengths. */
export interface YarnParameters {
  /** How many times longer than the original context positions may become. */
  factor: number;
  /** The context that the model was trained on, in tokens. */
  originalMaxPositionEmbeddings: number;
  /** Pairs that turn more often than this within the original context keep their angle. */
  betaFast: number;
  /** Pairs that turn less often than this are slowed down by `factor`. */
  betaSlow: number;
  /** What cos and sin are multiplied by. */
  attentionFactor: number;
  /** Whether the bounds of the ramp between the two are rounded outwards to whole pairs. */
  truncate: boolean;
}

/** YaRN as applied, for reports. */
export interface RopeScaling extends YarnParameters {
  type: "yarn";
  /** Pairs up to here keep their angle. */
  low: number;
  /** Pairs from here on have it divided by `factor`. */
  high: number;
}

export interface RopeFrequencies {
  /** [headDim / 2] */
  invFreq: Float32Array;
  attentionFactor: number;
  scaling: RopeScaling | null;
}

/** @param headDim even. @param theta base of the geometric series of angles, > 1. */
export function ropeFrequencies(headDim: number, theta: number, yarn: YarnParameters | null): RopeFrequencies {
  const periods = pairPeriods(headDim, theta);
  if (yarn === null) {
    return { invFreq: periods.map((period) => 1 / period), attentionFactor: 1, scaling: null };
  }
  const { low, high } = correctionRange(headDim, theta, yarn);
  const factor = Math.fround(yarn.factor);
  const invFreq = periods.map((period, pair) => {
    // Every product, quotient and sum is rounded to float32, in the order of the reference.
    const extrapolated = Math.fround(1 / period);
    const interpolated = Math.fround(1 / Math.fround(factor * period));
    const keep = Math.fround(1 - ramp(pair, low, high));
    return Math.fround(Math.fround(interpolated * Math.fround(1 - keep)) + Math.fround(extrapolated * keep));
  });
  return { invFreq, attentionFactor: yarn.attentionFactor, scaling: { type: "yarn", ...yarn, low, high } };
}

/** theta^(2i / headDim), rounded to float32 as the exponent is. [headDim / 2] */
function pairPeriods(headDim: number, theta: number): Float32Array {
  const base = Math.fround(theta);
  return Float32Array.from({ length: headDim / 2 }, (_, pair) => base ** Math.fround((2 * pair) / headDim));
}

/** The pairs between which the ramp runs; in float64, as the reference computes it. */
function correctionRange(headDim: number, theta: number, yarn: YarnParameters): { low: number; high: number } {
  const pairThatTurns = (rotations: number) =>
    (headDim * Math.log(yarn.originalMaxPositionEmbeddings / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = pairThatTurns(yarn.betaFast);
  const high = pairThatTurns(yarn.betaSlow);
  return {
    low: Math.max(yarn.truncate ? Math.floor(low) : low, 0),
    high: Math.min(yarn.truncate ? Math.ceil(high) : high, headDim - 1),
  };
}

/** 0 up to pair `low`, 1 from pair `high` on. */
function ramp(pair: number, low: number, high: number): number {
  const width = Math.fround(low === high ? 0.001 : high - low);
  const linear = Math.fround(Math.fround(pair - Math.fround(low)) / width);
  return Math.min(Math.max(linear, 0), 1);
}

/** The attention factor that the YaRN paper suggests for a context stretched `factor` times. */
export function yarnAttentionFactor(factor: number, scale: number = 1): number {
  return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
}
