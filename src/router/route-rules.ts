/** Interventions in the form that native code takes. */

import { InvalidArgumentError } from "../errors.js";
import type { RouteRule } from "../native/binding.js";
import { ascending, checkInterventions, type LayeredIntervention } from "./intervention-check.js";
import { canonicalForm } from "./intervention-keys.js";
import type { Intervention } from "./interventions.js";
import type { RecordedRoute } from "./route.js";
import { ORIGINS, STANDARD_SEGMENTS } from "./schema.js";
import type { RouterShape } from "./shape.js";

/**
 * Checks the interventions against the model and compiles them. The rules come in canonical order, so the order of the list changes no
 * bit. `segments[i]` is the name of the label i. Throws INVALID_ARGUMENT, also for a callback that came without its function.
 */
export function compileRules(
  interventions: readonly Intervention[],
  shape: RouterShape,
  segments: readonly string[] = STANDARD_SEGMENTS,
): RouteRule[] {
  const checked = checkInterventions(interventions, shape, segments);
  return checked
    .map((item) => ({ item, order: JSON.stringify(canonicalForm(item)) }))
    .sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0))
    .map(({ item }) => compileRule(item, shape, segments));
}

function compileRule(item: LayeredIntervention, shape: RouterShape, segments: readonly string[]): RouteRule {
  const scope = scopeOf(item, segments);
  const layers = Int32Array.from(item.layers);
  switch (item.kind) {
    case "zero": {
      const experts = item.experts.filter((expert) => expert !== "shared");
      const shared = experts.length < item.experts.length;
      return { kind: "zero", layers, experts: Int32Array.from(ascending(experts)), shared, ...scope };
    }
    case "mask":
    case "force":
      return { kind: item.kind, layers, experts: Int32Array.from(ascending(item.experts)), ...scope };
    case "swap":
      return { kind: "swap", layers, from: item.from, to: item.to, ...scope };
    case "bias": {
      const bias = new Float32Array(shape.numExperts);
      for (const [expert, value] of Object.entries(item.bias)) bias[Number(expert)] = value;
      return { kind: "bias", layers, bias, ...scope };
    }
    case "top-k":
      return { kind: "top-k", layers, k: item.k, ...scope };
    case "replay": {
      const route = pickRouteLayers(item.route as RecordedRoute, item.layers);
      return {
        kind: "replay",
        layers,
        routeExperts: route.experts,
        ...(item.weights === "recorded" ? { routeWeights: route.weights } : {}),
        routeStart: route.start,
        routeK: route.k,
        ...scope,
      };
    }
    case "callback": {
      const { hook, callback } = item;
      if (callback === undefined) {
        throw new InvalidArgumentError(
          `Expected a function for the callback at ${hook}, which JSON cannot hold: use on().`,
        );
      }
      return { kind: "callback", layers, hook, callback: (values, where) => callback(values, where), ...scope };
    }
  }
}

function scopeOf(
  { positions, origin, segments: named }: Intervention,
  segments: readonly string[],
): Partial<RouteRule> {
  const scope: Partial<RouteRule> = {};
  if (positions !== undefined) [scope.positionStart, scope.positionEnd] = positions;
  if (origin !== undefined) scope.origin = ORIGINS.indexOf(origin) as 0 | 1;
  if (named !== undefined) scope.segments = Int32Array.from(ascending(named.map((name) => segments.indexOf(name))));
  return scope;
}

/** The route of these layers alone; the arrays of the route itself where it has no others. */
function pickRouteLayers(
  route: RecordedRoute,
  layers: readonly number[],
): Pick<RecordedRoute, "start" | "k" | "experts" | "weights"> {
  const { k, start } = route;
  if (layers.length === route.layers.length) return route;
  const numTokens = route.tokenIds.length;
  const experts = new Uint16Array(numTokens * layers.length * k);
  const weights = new Float32Array(experts.length);
  for (let token = 0; token < numTokens; token++) {
    for (const [index, layer] of layers.entries()) {
      const from = (token * route.layers.length + route.layers.indexOf(layer)) * k;
      const to = (token * layers.length + index) * k;
      experts.set(route.experts.subarray(from, from + k), to);
      weights.set(route.weights.subarray(from, from + k), to);
    }
  }
  return { start, k, experts, weights };
}
