/** What one MoE layer computes, kept for analyses that need the vectors: read at hook points while documents run from position 0. */

import { InvalidArgumentError, invalidArgument } from "../errors.js";
import type { Model } from "../model/model.js";
import { on, topK } from "../router/intervention-builders.js";
import type { Intervention } from "../router/interventions.js";

/** @throws InvalidArgumentError unless the layer has experts */
export function requireMoeLayer(model: Model, layer: number): void {
  const { moeLayers } = model.parts.shape;
  if (!moeLayers.includes(layer))
    throw invalidArgument("layer", `one of the MoE layers ${moeLayers.join(", ")}`, layer);
}

/** The MoE block's output for every token of a text, under interventions. [tokens, hiddenSize] */
export async function blockOutputs(
  model: Model,
  tokenIds: Int32Array,
  layer: number,
  interventions: readonly Intervention[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  const outputs = new Float32Array(tokenIds.length * model.config.hiddenSize);
  const watch = on("moe.output", { layers: [layer] }, (values, { positions, width }) => {
    for (const [row, position] of positions.entries()) {
      outputs.set(values.subarray(row * width, (row + 1) * width), position * width);
    }
    return undefined;
  });
  await model.with([...interventions, watch]).forward(tokenIds, { logits: "last", signal });
  return outputs;
}

/**
 * The outputs of every expert of a layer for every token, before the gate: the layer runs with all its experts, which changes nothing
 * that it reads. [numExperts][tokens, hiddenSize] over the documents in turn.
 *
 * @throws InvalidArgumentError for a layer without experts, or no tokens
 */
export async function expertOutputs(
  model: Model,
  documents: readonly ArrayLike<number>[],
  layer: number,
  signal?: AbortSignal,
): Promise<Float32Array[]> {
  requireMoeLayer(model, layer);
  const tokens = documents.reduce((sum, { length }) => sum + length, 0);
  if (tokens === 0) throw new InvalidArgumentError("Expected documents of at least one token, got none.");
  const { numExperts } = model.parts.shape;
  const outputs = Array.from({ length: numExperts }, () => new Float32Array(tokens * model.config.hiddenSize));
  let start = 0;
  for (const document of documents) {
    const first = start;
    const watch = on("expert.output", { layers: [layer] }, (values, { positions, width, expert }) => {
      for (const [row, position] of positions.entries()) {
        outputs[expert!]!.set(values.subarray(row * width, (row + 1) * width), (first + position) * width);
      }
      return undefined;
    });
    await model
      .with([topK({ layers: [layer], k: numExperts }), watch])
      .forward(Int32Array.from(document), { logits: "last", signal });
    start += document.length;
  }
  return outputs;
}
