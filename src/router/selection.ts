/**
 * The routing contract in its smallest form: what the router must do with one row of raw logits under a layer's rules. Traces are
 * checked against it; the core computes the same from the same numbers (`native/core/router.h`).
 */

import type { RouteRule } from "../native/binding.js";
import { EMPTY_SLOT } from "./schema.js";

/** Where a token stands, for the scopes of rules. */
export interface RowPlace {
  position: number;
  origin: number;
  segment: number;
}

/** What must have happened in one row. */
export interface ExpectedRoute {
  /** In slot order, empty slots left out. */
  experts: number[];
  /** As applied, in float64. */
  weights: number[];
  /** z'_(k) - z'_(k+1) in float32; infinite where every expert is chosen. */
  margin: number;
  intervened: boolean;
}

/** Whether a rule acts on a layer at a place. */
export function ruleActs(rule: RouteRule, layer: number, place: RowPlace): boolean {
  return (
    rule.layers.includes(layer) &&
    place.position >= (rule.positionStart ?? 0) &&
    place.position < (rule.positionEnd ?? Number.POSITIVE_INFINITY) &&
    (rule.origin === undefined || rule.origin === place.origin) &&
    (rule.segments === undefined || rule.segments.includes(place.segment))
  );
}

/** The route that follows from the raw `logits` [numExperts] and the rules that act on this row, in the order they were given. */
export function expectedRoute(
  logits: Float32Array,
  rules: readonly RouteRule[],
  layer: number,
  position: number,
  model: { numExpertsPerToken: number; normTopkProb: boolean },
): ExpectedRoute {
  const of = (kind: RouteRule["kind"]) => rules.filter((rule) => rule.kind === kind);
  const effective = Float32Array.from(logits);
  for (const { bias } of of("bias")) for (let e = 0; e < effective.length; e++) effective[e]! += bias![e]!;
  for (const { experts } of of("mask")) for (const expert of experts!) effective[expert] = Number.NEGATIVE_INFINITY;

  const k = of("top-k")[0]?.k ?? model.numExpertsPerToken;
  const forced = new Set(of("force").flatMap((rule) => Array.from(rule.experts!)));
  // A forced expert may stand anywhere; without one, the k chosen and the next decide everything.
  const ranked = rankExperts(effective, forced.size > 0 ? effective.length : k + 1);
  const free = ranked.filter((expert) => !forced.has(expert)).slice(0, k - forced.size);
  const chosen = new Set([...forced, ...free]);
  let experts = ranked.filter((expert) => chosen.has(expert));
  const margin =
    k < effective.length ? Math.fround(effective[ranked[k - 1]!]! - effective[ranked[k]!]!) : Number.POSITIVE_INFINITY;

  const replayed = of("replay")[0];
  const slots = replayed === undefined ? [] : recordedSlots(replayed, layer, position);
  if (replayed !== undefined) experts = slots.map((slot) => replayed.routeExperts![slot]!);
  let weights = gatesOf(effective, experts, model.normTopkProb);
  if (replayed?.routeWeights !== undefined) weights = slots.map((slot) => replayed.routeWeights![slot]!);
  const zeroed = new Set(of("zero").flatMap((rule) => Array.from(rule.experts ?? [])));
  weights = weights.map((weight, slot) => (zeroed.has(experts[slot]!) ? 0 : weight));
  return { experts, weights, margin, intervened: rules.length > 0 };
}

/** The first `count` experts in descending logit, ties to the lower index. */
function rankExperts(logits: Float32Array, count: number): number[] {
  const ranked: number[] = [];
  for (let expert = 0; expert < logits.length; expert++) {
    let slot = ranked.length;
    while (slot > 0 && logits[expert]! > logits[ranked[slot - 1]!]!) slot--;
    if (slot >= count) continue;
    ranked.splice(slot, 0, expert);
    if (ranked.length > count) ranked.pop();
  }
  return ranked;
}

/** Softmax over all experts at the chosen ones, divided by their sum where the model does so. */
function gatesOf(logits: Float32Array, experts: readonly number[], normTopkProb: boolean): number[] {
  const highest = logits.reduce((max, value) => Math.max(max, value), Number.NEGATIVE_INFINITY);
  const over = normTopkProb ? experts.map((expert) => logits[expert]!) : Array.from(logits);
  const total = over.reduce((sum, value) => sum + Math.exp(value - highest), 0);
  return experts.map((expert) => Math.exp(logits[expert]! - highest) / total);
}

function recordedSlots(rule: RouteRule, layer: number, position: number): number[] {
  const k = rule.routeK!;
  const row = (position - rule.routeStart!) * rule.layers.length + rule.layers.indexOf(layer);
  return Array.from({ length: k }, (_, slot) => row * k + slot).filter(
    (slot) => rule.routeExperts![slot] !== EMPTY_SLOT,
  );
}
