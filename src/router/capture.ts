/** How much of the routing is recorded, and of which rows and layers. What is left out is left out by native code. */

import { InvalidArgumentError, invalidArgument } from "../errors.js";
import type { CaptureLevel } from "../native/binding.js";
import { ascending } from "./intervention-check.js";
import { ORIGINS, STANDARD_SEGMENTS } from "./schema.js";
import type { RouterShape } from "./shape.js";

/** A level for all rows and layers, or a level for some. */
export type Capture = CaptureLevel | CaptureOptions;

export interface CaptureOptions {
  /** "counts" records no row and takes none of the other fields. */
  level: CaptureLevel;
  /** Global numbers of MoE layers; at level "hidden" of any layers. Default all. */
  layers?: readonly number[];
  /** Parts of the text, as in the trace's `segment` column. Default all. */
  segments?: readonly string[];
  /** What the tokens are. Default both. */
  origin?: "prompt" | "generated";
}

/** A capture that a model can make; absent fields: all. */
export interface CapturePlan {
  level: CaptureLevel;
  /** Ascending, each once. */
  layers?: readonly number[];
  /** Numbers of the segments. */
  segments?: readonly number[];
  origin?: 0 | 1;
}

export const CAPTURE_LEVELS: readonly CaptureLevel[] = ["counts", "topk", "logits", "hidden"];

/** Throws INVALID_ARGUMENT with the valid range for a level, layer, segment or origin that is not there. */
export function capturePlan(capture: Capture, shape: RouterShape): CapturePlan {
  const options = typeof capture === "string" ? { level: capture } : capture;
  if (typeof options !== "object" || options === null) throw invalidArgument("trace", "a level or an object", capture);
  const { level, layers, segments, origin, ...others } = options;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`Expected the fields level, layers, segments, origin in trace, got ${unknown}.`);
  }
  if (!CAPTURE_LEVELS.includes(level)) throw invalidArgument("trace.level", CAPTURE_LEVELS.join(", "), level);
  const named = Object.entries({ layers, segments, origin }).find(([, value]) => value !== undefined);
  if (named === undefined) return { level };
  if (level === "counts") {
    throw new InvalidArgumentError(`Expected no ${named[0]} for a trace at level counts, which records no rows.`);
  }
  return {
    level,
    ...(layers !== undefined && { layers: layersOf(layers, level, shape) }),
    ...(segments !== undefined && { segments: numbersOf("segments", segments, STANDARD_SEGMENTS) }),
    ...(origin !== undefined && { origin: numbersOf("origin", [origin], ORIGINS)[0] as 0 | 1 }),
  };
}

/** Whether rows of such a text are recorded. */
export function isRecorded(plan: CapturePlan, text: { origin: number; segment: number }): boolean {
  if (plan.level === "counts") return false;
  if (plan.origin !== undefined && plan.origin !== text.origin) return false;
  return plan.segments === undefined || plan.segments.includes(text.segment);
}

/** Whether rows that were recorded of some layers have all that is wanted; absent: all layers. */
export function coversLayers(recorded: readonly number[] | undefined, wanted: readonly number[] | undefined): boolean {
  if (recorded === undefined) return true;
  return wanted?.every((layer) => recorded.includes(layer)) ?? false;
}

/** Bytes that a row of a trace takes in memory, of all layers that are recorded. */
export function bytesPerToken(
  { level, layers }: Pick<CapturePlan, "level" | "layers">,
  { moeLayers, numLayers, numExperts, hasSharedExpert }: RouterShape,
  { topK, hiddenSize }: { topK: number; hiddenSize: number },
): number {
  if (level === "counts") return 0;
  const numMoe = layers === undefined ? moeLayers.length : layers.filter((layer) => moeLayers.includes(layer)).length;
  const shared = hasSharedExpert ? 4 : 0;
  const perLayer = topK * (2 + 4) + shared + 4 + 1 + (level === "topk" ? 0 : 4 * numExperts);
  if (level !== "hidden") return numMoe * perLayer;
  const numResiduals = layers?.length ?? numLayers;
  return numMoe * (perLayer + 4 * hiddenSize + 4 * topK + shared) + numResiduals * 4 * hiddenSize;
}

function layersOf(layers: readonly number[], level: CaptureLevel, shape: RouterShape): number[] {
  if (!Array.isArray(layers) || layers.length === 0)
    throw invalidArgument("trace.layers", "at least one layer", layers);
  const every = Array.from({ length: shape.numLayers }, (_, layer) => layer);
  const valid = level === "hidden" ? every : shape.moeLayers;
  const unknown = layers.find((layer) => !valid.includes(layer));
  if (unknown === undefined) return ascending(layers);
  if (valid.length === 0) {
    throw new InvalidArgumentError("Expected a model with routed experts for trace.layers, this one has none.");
  }
  const range = valid.length === shape.numLayers ? `from 0 to ${shape.numLayers - 1}` : valid.join(", ");
  throw new InvalidArgumentError(
    `Expected ${level === "hidden" ? "layers" : "MoE layers"} ${range} for trace.layers, got ${JSON.stringify(unknown)}.`,
  );
}

function numbersOf(field: string, names: readonly string[], known: readonly string[]): number[] {
  if (!Array.isArray(names) || names.length === 0) throw invalidArgument(`trace.${field}`, known.join(", "), names);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw invalidArgument(`trace.${field}`, `one of ${known.join(", ")}`, unknown);
  return ascending(names.map((name) => known.indexOf(name)));
}
