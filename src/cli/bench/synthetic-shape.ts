/** The shapes of models with random weights on which speed is measured: qwen2_moe, from one that fits a cache to one that fills memory. */
import type { ModelConfig } from "../../checkpoint/model-config.js";
import { ropeFrequencies } from "../../checkpoint/rope.js";

/** Sizes that name a shape; the rest follows. */
export interface SyntheticShape {
  hiddenSize: number;
  numLayers: number;
  numAttentionHeads: number;
  numKeyValueHeads: number;
  headDim: number;
  numExperts: number;
  numExpertsPerToken: number;
  moeIntermediateSize: number;
  sharedExpertIntermediateSize: number;
  vocabSize: number;
}

export type ShapeName = "mini" | "a27b" | "q57cut";

/** mini: 0.54 G parameters. a27b: Qwen1.5-MoE-A2.7B. q57cut: 4 of the 28 layers of Qwen2-57B-A14B. */
export const SYNTHETIC_SHAPES: Readonly<Record<ShapeName, SyntheticShape>> = {
  mini: {
    ...{ hiddenSize: 1024, numLayers: 8, numAttentionHeads: 16, numKeyValueHeads: 4, headDim: 64, vocabSize: 32_768 },
    ...{ numExperts: 32, numExpertsPerToken: 4, moeIntermediateSize: 512, sharedExpertIntermediateSize: 2048 },
  },
  a27b: {
    ...{ hiddenSize: 2048, numLayers: 24, numAttentionHeads: 16, numKeyValueHeads: 16, headDim: 128 },
    ...{ numExperts: 60, numExpertsPerToken: 4, moeIntermediateSize: 1408, sharedExpertIntermediateSize: 5632 },
    vocabSize: 151_936,
  },
  q57cut: {
    ...{ hiddenSize: 3584, numLayers: 4, numAttentionHeads: 28, numKeyValueHeads: 4, headDim: 128 },
    ...{ numExperts: 64, numExpertsPerToken: 8, moeIntermediateSize: 2560, sharedExpertIntermediateSize: 20_480 },
    vocabSize: 151_936,
  },
};

export const SHAPE_NAMES: readonly ShapeName[] = Object.keys(SYNTHETIC_SHAPES) as ShapeName[];

const ROPE_THETA = 1_000_000;
const MAX_CONTEXT = 8192;

/** The config of a qwen2_moe model of this shape. */
export function syntheticConfig(shape: SyntheticShape, eosTokenId: number): ModelConfig {
  const rope = ropeFrequencies(shape.headDim, ROPE_THETA, null);
  return {
    ...shape,
    architecture: "qwen2_moe",
    intermediateSize: 0,
    rmsNormEps: 1e-6,
    maxContext: MAX_CONTEXT,
    maxPositionEmbeddings: MAX_CONTEXT,
    ropeLayout: "half",
    ropeTheta: ROPE_THETA,
    ropeInvFreq: rope.invFreq,
    ropeAttentionFactor: rope.attentionFactor,
    ropeScaling: null,
    isMoeLayer: new Uint8Array(shape.numLayers).fill(1),
    normTopkProb: false,
    attentionBias: true,
    tieWordEmbeddings: false,
    eosTokenIds: [eosTokenId],
    bosTokenId: null,
  };
}
