/** Short ways to write interventions; each returns the plain object of `interventions.ts`, with its form checked. */

import { InvalidArgumentError, invalidArgument } from "../errors.js";
import {
  type BiasIntervention,
  type CallbackIntervention,
  type ForceIntervention,
  type HookCallback,
  type Intervention,
  type Layers,
  type MaskIntervention,
  parseInterventions,
  type ReplayIntervention,
  type Scope,
  type SwapIntervention,
  type TopKIntervention,
  type ZeroIntervention,
} from "./interventions.js";
import type { RecordedRoute } from "./route.js";

/**
 * Takes experts out. `zero` removes their contribution and puts nothing in its place; `mask` routes around them; `swap` runs the weights
 * of `to` where one of them was selected. The three answer different questions, so there is no default.
 */
export function ablate(
  options: { layers: Layers; experts: number[]; mode: "zero" | "mask" } & Scope,
): ZeroIntervention | MaskIntervention;
export function ablate(
  options: { layers: Layers; experts: number[]; mode: "swap"; to: number } & Scope,
): SwapIntervention[];
export function ablate(
  options: { layers: Layers; experts: number[]; mode: "zero" | "mask" | "swap"; to?: number } & Scope,
): Intervention | SwapIntervention[] {
  const { mode, experts, to, ...rest } = options;
  if (mode === "swap") {
    if (to === undefined)
      throw new InvalidArgumentError("Expected the expert `to` for ablate with mode swap, got none.");
    return experts.map((from) => swap({ ...rest, from, to }));
  }
  if (mode !== "zero" && mode !== "mask") throw invalidArgument("ablate.mode", '"zero", "mask" or "swap"', mode);
  if (to !== undefined)
    throw new InvalidArgumentError(`Expected no expert \`to\` for ablate with mode ${mode}, got ${to}.`);
  return mode === "zero" ? zero({ ...rest, experts }) : mask({ ...rest, experts });
}

/** The experts' contribution is removed, the other gates stay. */
export function zero(options: Omit<ZeroIntervention, "kind">): ZeroIntervention {
  return checked("zero", options);
}

/** The experts cannot be chosen. */
export function mask(options: Omit<MaskIntervention, "kind">): MaskIntervention {
  return checked("mask", options);
}

/** Where `from` was selected, the weights of `to` run. */
export function swap(options: Omit<SwapIntervention, "kind">): SwapIntervention {
  return checked("swap", options);
}

/** Adds to router logits, by expert number. */
export function bias(options: Omit<BiasIntervention, "kind">): BiasIntervention {
  return checked("bias", options);
}

/** The experts are always among the chosen. */
export function force(options: Omit<ForceIntervention, "kind">): ForceIntervention {
  return checked("force", options);
}

/** Another number of chosen experts. */
export function topK(options: Omit<TopKIntervention, "kind">): TopKIntervention {
  return checked("top-k", options);
}

/** Routes as recorded, e.g. `trace.route()`; gates from this pass unless `weights` is "recorded". */
export function replay(
  options: { layers: Layers; route: string | RecordedRoute; weights?: "model" | "recorded" } & Scope,
): ReplayIntervention {
  return checked("replay", { weights: "model", ...options });
}

/** A function at a hook point. Give `id` and `version` where its results may be cached and its run resumed. */
export function on(
  hook: string,
  options: { layers?: Layers; id?: string; version?: string } & Scope,
  callback: HookCallback,
): CallbackIntervention {
  return checked("callback", { hook, ...options, callback });
}

function checked<T extends Intervention>(kind: T["kind"], fields: Omit<T, "kind">): T {
  return parseInterventions({ kind, ...fields }, kind)[0] as T;
}
