/** Step traces from random logits, routed by the oracle: what native code would hand over for the same logits. */

import type { StepTrace } from "../../src/native/binding.js";
import type { RecordedLevel, TraceMetadata } from "../../src/router/schema.js";
import { RouterTrace } from "../../src/router/trace.js";
import type { TokenRun } from "../../src/router/trace-columns.js";
import { type Change, select } from "../reference/router.js";

/** Numbers in [0, 1) from a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A small mixed model: layers 1 and 3 of 4 have 6 experts, 2 of them per token. */
export const METADATA: TraceMetadata = {
  model: "synthetic",
  architecture: "qwen2_moe",
  numLayers: 4,
  moeLayers: [1, 3],
  numExperts: 6,
  numExpertsPerToken: 2,
  normTopkProb: false,
  hasSharedExpert: true,
  dtype: "F32",
  precision: "ref",
  device: "cpu portable",
};

const HIDDEN_SIZE = 3;
const SEGMENTS = ["prefix", "question", "choice", "generated"];

/** What a step over `runs` would record. `ties` rounds the logits to integers, so that many are equal. */
export function syntheticStep(
  runs: readonly TokenRun[],
  options: { metadata?: TraceMetadata; level?: RecordedLevel; changes?: Change[]; seed?: number; ties?: boolean } = {},
): StepTrace {
  const { metadata = METADATA, level = "logits", changes = [], seed = 1, ties = false } = options;
  const random = randomNumbers(seed);
  const { numExperts, moeLayers, numLayers, hasSharedExpert } = metadata;
  const rows = runs.reduce((sum, run) => sum + run.tokenIds.length, 0);
  const topK = Math.max(metadata.numExpertsPerToken, ...changes.map((change) => change.k ?? 0));
  const rowLayers = rows * moeLayers.length;
  const step: StepTrace = {
    rows,
    numMoeLayers: moeLayers.length,
    topK,
    numExperts,
    topkExperts: new Uint16Array(rowLayers * topK).fill(65535),
    topkWeights: new Float32Array(rowLayers * topK),
    sharedGate: Float32Array.from({ length: hasSharedExpert ? rowLayers : 0 }, random),
    margin: new Float32Array(rowLayers),
    intervened: new Uint8Array(rowLayers),
    routerLogits: new Float32Array(level === "topk" ? 0 : rowLayers * numExperts),
    ...(level === "hidden" && {
      hidden: {
        routerInput: Float32Array.from({ length: rowLayers * HIDDEN_SIZE }, random),
        expertNorms: Float32Array.from({ length: rowLayers * topK }, random),
        sharedNorm: Float32Array.from({ length: hasSharedExpert ? rowLayers : 0 }, random),
        residual: Float32Array.from({ length: rows * numLayers * HIDDEN_SIZE }, random),
      },
    }),
  };
  let row = 0;
  for (const run of runs) {
    for (let t = 0; t < run.tokenIds.length; t++) {
      for (const layer of moeLayers) {
        const logits = Float64Array.from({ length: numExperts }, () => {
          const value = 4 * random() - 2;
          return ties ? Math.round(value) : Math.round(value * 1024) / 1024; // sums with small biases stay exact in float32
        });
        const place = {
          position: run.firstPosition + t,
          origin: run.origin === 0 ? ("prompt" as const) : ("generated" as const),
          segment: SEGMENTS[run.segment]!,
        };
        const model = { topK: metadata.numExpertsPerToken, renormalise: metadata.normTopkProb };
        const { experts, weights, margin, intervened } = select(logits, model, layer, place, changes);
        step.topkExperts.set(experts, row * topK);
        step.topkWeights.set(weights, row * topK);
        step.margin[row] = margin;
        step.intervened[row] = intervened ? 1 : 0;
        if (level !== "topk") step.routerLogits.set(logits, row * numExperts);
        row++;
      }
    }
  }
  return step;
}

/** A run of `length` prompt tokens from a position; token ids count from 100. */
export function promptRun(length: number, firstPosition = 0, rest: Partial<TokenRun> = {}): TokenRun {
  const tokenIds = Int32Array.from({ length }, (_, t) => 100 + firstPosition + t);
  return { tokenIds, firstPosition, origin: 0, segment: 1, ...rest };
}

/** The trace of one synthetic step. */
export function syntheticTrace(
  runs: readonly TokenRun[],
  options: Parameters<typeof syntheticStep>[1] = {},
): RouterTrace {
  const { metadata = METADATA, level = "logits" } = options;
  return RouterTrace.fromStep(syntheticStep(runs, options), runs, { metadata, level });
}
