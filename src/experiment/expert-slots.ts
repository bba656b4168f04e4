/** Experts by layer: which of them an experiment is about, in what order, and which ones serve as their controls. */

import { Random } from "../analysis/random.js";
import type { RoutingLoad } from "../analysis/routing-load.js";
import { invalidArgument } from "../errors.js";
import type { RouterShape } from "../router/shape.js";

/** One routed expert. */
export interface ExpertSlot {
  /** Global layer number. */
  layer: number;
  expert: number;
}

/** Criteria of usefulness, each one number for each (layer, expert). The last two need activations: a pass over the tokens of their own. */
export const CRITERIA: readonly ["load", "gate-mass", "ean", "reap"] = ["load", "gate-mass", "ean", "reap"];
export type Criterion = (typeof CRITERIA)[number];

/** "layer 3, expert 5", or "layer 3, experts 5, 6". */
export function slotsLabel(slots: readonly ExpertSlot[]): string {
  const byLayer = new Map<number, number[]>();
  for (const { layer, expert } of slots) byLayer.set(layer, [...(byLayer.get(layer) ?? []), expert]);
  return [...byLayer]
    .map(([layer, experts]) => `layer ${layer}, expert${experts.length > 1 ? "s" : ""} ${experts.join(", ")}`)
    .join("; ");
}

/** All routed experts of a model, layer by layer. */
export function allSlots({ moeLayers, numExperts }: Pick<RouterShape, "moeLayers" | "numExperts">): ExpertSlot[] {
  return moeLayers.flatMap((layer) => Array.from({ length: numExperts }, (_, expert) => ({ layer, expert })));
}

/**
 * The criterion's value of every slot, in the order of `allSlots`. `load`: the selection rate h_e, from 0 to 1. `gate-mass`: the mean
 * over all tokens of the weight that was applied to e, 0 where it was not chosen (REAP's weighted frequency over tokens).
 *
 * @throws InvalidArgumentError for a criterion that is none.
 */
export function criterionValues(load: RoutingLoad, criterion: Exclude<Criterion, "ean" | "reap">): Float64Array {
  switch (criterion) {
    case "load":
      return load.selectionRate();
    case "gate-mass": {
      const tokens = load.tokens();
      return load.gateMass().map((mass) => mass / tokens);
    }
    default:
      throw invalidArgument("criterion", CRITERIA.join(" or "), criterion);
  }
}

/** Slots by a value in the order of `allSlots`, the largest first; ties in the order of slots. */
export function rankSlots(slots: readonly ExpertSlot[], values: ArrayLike<number>): ExpertSlot[] {
  return slots
    .map((slot, index) => ({ slot, index }))
    .sort((a, b) => values[b.index]! - values[a.index]! || a.index - b.index)
    .map(({ slot }) => slot);
}

/** Experts this many times as often chosen, or as rarely, count as matched in frequency. */
const MATCH_RATIO = 1.5;

/**
 * Random experts to compare `targets` with: for each target another expert of its layer, drawn from those that are chosen as often within
 * a factor of 1.5, or the nearest one where there is none. No target is a control, and no expert is taken twice as long as others are left.
 *
 * @param rates selection rate of every slot, in the order of `slots`.
 * @param excluded experts that may be no control, because the same claim would hold of them.
 */
export function matchedControls(
  slots: readonly ExpertSlot[],
  rates: ArrayLike<number>,
  targets: readonly ExpertSlot[],
  seed: number,
  excluded: readonly ExpertSlot[] = [],
): ExpertSlot[] {
  const random = new Random(seed);
  const indexOf = ({ layer, expert }: ExpertSlot) => slots.findIndex((s) => s.layer === layer && s.expert === expert);
  const taken = new Set([...targets, ...excluded].map(indexOf));
  return targets.flatMap((target) => {
    const own = rates[indexOf(target)]!;
    const others = [...slots.keys()].filter((i) => slots[i]!.layer === target.layer && i !== indexOf(target));
    const free = others.filter((i) => !taken.has(i));
    if (free.length === 0) return [];
    const distance = (i: number) => Math.abs(Math.log((rates[i]! + 1e-9) / (own + 1e-9)));
    const matched = free.filter((i) => distance(i) <= Math.log(MATCH_RATIO));
    const chosen =
      matched.length > 0
        ? matched[random.below(matched.length)]!
        : free.reduce((best, i) => (distance(i) < distance(best) ? i : best));
    taken.add(chosen);
    return [slots[chosen]!];
  });
}

/** @throws InvalidArgumentError for a layer or expert that the model does not have. */
export function checkSlots(slots: readonly ExpertSlot[], { moeLayers, numExperts }: RouterShape): void {
  for (const { layer, expert } of slots) {
    if (!moeLayers.includes(layer))
      throw invalidArgument("layer", `one of the MoE layers ${moeLayers.join(", ")}`, layer);
    if (!(Number.isInteger(expert) && expert >= 0 && expert < numExperts)) {
      throw invalidArgument("expert", `an expert from 0 to ${numExperts - 1}`, expert);
    }
  }
}
