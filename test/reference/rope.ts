/** Rotary position embedding (Su et al. 2021) with static YaRN (Peng et al. 2023), for heads laid out in halves as on the hub. */

import type { ReferenceConfig } from "./checkpoint.js";

export interface Rope {
  /** Angle per position of pair (i, i + headDim / 2). [headDim / 2] */
  inverseFrequencies: Float64Array;
  /** Factor on cos and sin. */
  attentionFactor: number;
}

/** Angles per position; YaRN where the config asks for it, under the newer (`rope_parameters`) or older (`rope_scaling`) name. */
export function ropeOf(config: ReferenceConfig, headDim: number): Rope {
  const fields = { ...config.rope_scaling, ...config.rope_parameters };
  const theta = fields.rope_theta ?? config.rope_theta ?? 10000;
  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
  const kind = fields.rope_type ?? fields.type ?? "default";
  if (kind === "default") return { inverseFrequencies: plain, attentionFactor: 1 };
  if (kind !== "yarn") throw new Error(`The oracle knows no rope type ${kind}.`);

  const trainedContext = fields.original_max_position_embeddings ?? config.max_position_embeddings;
  const factor = fields.factor ?? config.max_position_embeddings / trainedContext;
  // The pair that turns `r` times over the trained context.
  const pairOfRotations = (r: number) =>
    (headDim * Math.log(trainedContext / (2 * Math.PI * r))) / (2 * Math.log(theta));
  const low = Math.max(0, Math.floor(pairOfRotations(fields.beta_fast ?? 32)));
  const high = Math.min(headDim - 1, Math.ceil(pairOfRotations(fields.beta_slow ?? 1)));
  return {
    inverseFrequencies: plain.map((frequency, i) => {
      const ramp = Math.min(1, Math.max(0, (i - low) / Math.max(high - low, 0.001)));
      return frequency * (1 - ramp) + (frequency / factor) * ramp;
    }),
    attentionFactor: fields.attention_factor ?? 0.1 * Math.log(factor) + 1,
  };
}

/**
 * Rotates each head of `vector` in place. Angles are rounded to float32, as the models were trained: at position 65,535 that rounding
 * is up to 0.004 rad, so it belongs to the definition and not to the error.
 */
export function rotate(vector: Float64Array, headDim: number, position: number, rope: Rope): void {
  const half = headDim / 2;
  for (let head = 0; head < vector.length; head += headDim) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * Math.fround(rope.inverseFrequencies[i]!));
      const cos = Math.cos(angle) * rope.attentionFactor;
      const sin = Math.sin(angle) * rope.attentionFactor;
      const first = vector[head + i]!;
      const second = vector[head + i + half]!;
      vector[head + i] = first * cos - second * sin;
      vector[head + i + half] = second * cos + first * sin;
    }
  }
}
