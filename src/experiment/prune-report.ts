/** What remains of a model without its least useful experts: accuracy on questions, and memory. */

import { withProgress } from "../ambient-progress.js";
import { sumBytes } from "../checkpoint/storage-types.js";
import { InvalidArgumentError, invalidArgument } from "../errors.js";
import type { Model } from "../model/model.js";
import { loadOn } from "./ablation-scan.js";
import { Ablations } from "./ablations.js";
import { allSlots, type Criterion, type ExpertSlot, matchedControls, rankSlots } from "./expert-slots.js";
import { type Effect, pairedEffects } from "./paired-effect.js";
import type { Questions } from "./questions.js";
import { usefulness } from "./usefulness.js";

export interface PruneOptions {
  /** Usefulness; default "load". Measured on `calibration`, by default on the questions themselves. */
  by?: Criterion;
  calibration?: Questions;
  /** Experts to take out of every layer; default 1, 2, ... as long as k are left, at most 8 steps. */
  remove?: readonly number[];
  /** Also as many random experts of every layer in each step, chosen as often where there are such; default true. */
  controls?: boolean;
  out?: string;
  seed?: number;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number, label: string) => void;
}

/** The model without `removed` experts in each layer. */
export interface PruneStep {
  removed: number;
  /** Experts taken out, the least useful first in each layer. */
  experts: readonly ExpertSlot[];
  /** Bytes of the weights as stored, and how many of them go. */
  weightBytes: number;
  savedBytes: number;
  effects: readonly Effect[];
  /** Random experts in their place; empty where fewer are left than are to be taken. */
  controls: readonly ExpertSlot[];
  controlEffects: readonly Effect[];
}

export interface PruneReport {
  by: Criterion;
  questions: string;
  calibration: string;
  items: number;
  weightBytes: number;
  steps: readonly PruneStep[];
}

const MOST_STEPS = 8;

/**
 * Masks the least useful experts (the router chooses among the others, as a model without them would) and asks the questions again.
 *
 * @throws InvalidArgumentError for a number of experts that leaves fewer than k.
 */
export function pruneReport(model: Model, questions: Questions, options: PruneOptions = {}): Promise<PruneReport> {
  return withProgress(
    options.onProgress,
    { label: "prune", unit: "steps", move: (bar, done, total, label) => bar.update(done, total, label) },
    (onProgress) => prune(model, questions, { ...options, onProgress }),
  );
}

async function prune(model: Model, questions: Questions, options: PruneOptions): Promise<PruneReport> {
  const { by = "load", calibration = questions, controls = true, out, seed = 0, signal } = options;
  const { shape } = model.parts;
  const most = shape.numExperts - shape.numExpertsPerToken;
  if (shape.moeLayers.length === 0)
    throw new InvalidArgumentError("Expected a mixture of experts, this model has none.");
  const remove = options.remove ?? defaultSteps(most);
  const wrong = remove.find((count) => !(Number.isInteger(count) && count >= 1 && count <= most));
  if (wrong !== undefined) {
    throw invalidArgument(
      "remove",
      `experts of each layer from 1 to ${most} (${shape.numExpertsPerToken} must be left)`,
      wrong,
    );
  }
  const slots = allSlots(shape);
  const load = await loadOn(model, calibration, signal);
  const values = await usefulness(model, calibration, load, by, signal);
  const ablations = await Ablations.open(model, questions, { mode: "mask", out, signal });
  const before = await ablations.without([]);
  const steps: PruneStep[] = [];
  for (const [done, count] of remove.entries()) {
    options.onProgress?.(done, remove.length, `${count} of ${shape.numExperts} experts out`);
    const experts = leastUseful(slots, values, count);
    const random =
      controls && 2 * count <= shape.numExperts ? matchedControls(slots, load.selectionRate(), experts, seed) : [];
    const saved = expertBytes(model, experts);
    steps.push({
      ...{ removed: count, experts, weightBytes: model.parts.checkpoint.weightBytes - saved, savedBytes: saved },
      effects: pairedEffects(before, await ablations.without(experts), seed),
      controls: random,
      controlEffects: random.length === 0 ? [] : pairedEffects(before, await ablations.without(random), seed),
    });
  }
  options.onProgress?.(remove.length, remove.length, "");
  const { weightBytes } = model.parts.checkpoint;
  return { by, questions: questions.name, calibration: calibration.name, items: before.length, weightBytes, steps };
}

function defaultSteps(most: number): number[] {
  const size = Math.max(1, Math.ceil(most / MOST_STEPS));
  return Array.from({ length: Math.floor(most / size) }, (_, i) => (i + 1) * size);
}

/** The `count` least useful experts of every layer, layer by layer. */
export function leastUseful(slots: readonly ExpertSlot[], values: ArrayLike<number>, count: number): ExpertSlot[] {
  const ranked = rankSlots(slots, values).reverse();
  const layers = [...new Set(slots.map(({ layer }) => layer))];
  return layers.flatMap((layer) => ranked.filter((slot) => slot.layer === layer).slice(0, count));
}

/** Bytes of these experts' weights as stored; their rows of the router are not counted. */
function expertBytes(model: Model, experts: readonly ExpertSlot[]): number {
  const prefixes = new Set(experts.map(({ layer, expert }) => `layers.${layer}.experts.${expert}.`));
  return model.parts.checkpoint.plan.tensors.reduce((sum, tensor) => {
    const isOut = prefixes.has(/^layers\.\d+\.experts\.\d+\./.exec(tensor.role)?.[0] ?? "");
    return isOut ? sum + sumBytes([tensor]) : sum;
  }, 0);
}
