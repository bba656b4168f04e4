/** How much memory a model takes, from its config alone. */
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { kvCacheBytesPerToken } from "../checkpoint/model-config.js";
import { CHUNK_ROWS } from "../model/model.js";

/** Bytes. Weights are mapped from their files: the system may drop and read them again, so they are wanted, not required. */
export interface MemoryEstimate {
  weightsMapped: number;
  kvCache: Record<"f32" | "bf16", { perToken: number; fullContext: number }>;
  /** Buffers of one chunk of rows. */
  workspace: number;
}

/** Rows of logits that the head computes at once (native/cpu/head.cpp). */
const HEAD_ROWS = 32;

export function memoryEstimate({ config, weightBytes }: Checkpoint): MemoryEstimate {
  const cache = (type: "f32" | "bf16") => {
    const perToken = kvCacheBytesPerToken(config, type);
    return { perToken, fullContext: perToken * config.maxContext };
  };
  const { hiddenSize, numExpertsPerToken, moeIntermediateSize, sharedExpertIntermediateSize, intermediateSize } =
    config;
  const attention = 2 * (config.numAttentionHeads + config.numKeyValueHeads) * config.headDim;
  const routed = numExpertsPerToken * 2 * (hiddenSize + moeIntermediateSize);
  const perRow = 5 * hiddenSize + attention + routed + 2 * Math.max(sharedExpertIntermediateSize, intermediateSize);
  const head = HEAD_ROWS * (hiddenSize + config.vocabSize);
  return {
    weightsMapped: weightBytes,
    kvCache: { f32: cache("f32"), bf16: cache("bf16") },
    workspace: 4 * (CHUNK_ROWS * perRow + head),
  };
}
