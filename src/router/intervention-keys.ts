/**
 * Names for interventions: a canonical form for provenance, a hash of their effect, and the keys under which the keys and values of a
 * layer may be cached.
 */

import { createHash } from "node:crypto";
import { ascending, type LayeredIntervention } from "./intervention-check.js";
import { INTERVENTIONS_VERSION, type Intervention, LAYER_HOOKS } from "./interventions.js";
import { digestOfRoute } from "./route.js";
import type { RouterShape } from "./shape.js";

/** An intervention as JSON with sorted numbers, fields in one order, and routes named by their content. */
export function canonicalForm(intervention: Intervention): Record<string, unknown> {
  const { kind, layers, positions, origin, segments } = intervention;
  const scope = { positions, origin, segments: segments === undefined ? undefined : [...new Set(segments)].sort() };
  const form = {
    kind,
    layers: Array.isArray(layers) ? ascending(layers) : layers,
    ...effectOf(intervention),
    ...scope,
  };
  return Object.fromEntries(Object.entries(form).filter(([, value]) => value !== undefined));
}

/** The list as canonical JSON, in an order that does not depend on the list's. */
export function canonicalJson(interventions: readonly Intervention[]): string {
  const items = interventions.map((item) => JSON.stringify(canonicalForm(item))).sort();
  return `[${items.join(",")}]`;
}

function effectOf(intervention: Intervention): Record<string, unknown> {
  switch (intervention.kind) {
    case "zero": {
      const routed = ascending(intervention.experts.filter((expert) => expert !== "shared"));
      return { experts: intervention.experts.includes("shared") ? [...routed, "shared"] : routed };
    }
    case "mask":
    case "force":
      return { experts: ascending(intervention.experts) };
    case "swap":
      return { from: intervention.from, to: intervention.to };
    case "bias": {
      // Integer-like keys come in ascending order; values as the router adds them.
      const entries = Object.entries(intervention.bias).map(([expert, value]) => [expert, Math.fround(value)]);
      return { bias: Object.fromEntries(entries) };
    }
    case "top-k":
      return { k: intervention.k };
    case "replay": {
      const { route, weights } = intervention;
      return { weights, route: typeof route === "string" ? route : digestOfRoute(route) };
    }
    case "callback":
      return { hook: intervention.hook, id: intervention.id, version: intervention.version };
  }
}

/** Whether the effect has a name: a callback without id and version has none, so nothing computed under it may be kept. */
export function isNamed(intervention: Intervention): boolean {
  return intervention.kind !== "callback" || (intervention.id !== undefined && intervention.version !== undefined);
}

/** A hash of all effects; equal for lists that differ in order or spelling alone. Undefined where one has no name. */
export function hashInterventions(interventions: readonly LayeredIntervention[]): string | undefined {
  if (!interventions.every(isNamed)) return undefined;
  const effects = interventions.flatMap((item) =>
    item.layers.length === 0 ? [effectAt(item)] : item.layers.map((layer) => effectAt(item, layer)),
  );
  return hashEffects(effects.flat());
}

/**
 * The part of a cache key that interventions give: entry l names what acts before the keys and values of layer l are made. Lists that
 * first differ at layer 12 share the entries 0 to 12. Undefined: nothing may be shared from that layer on. [numLayers]
 */
export function layerCacheKeys(
  interventions: readonly LayeredIntervention[],
  shape: RouterShape,
): (string | undefined)[] {
  return Array.from({ length: shape.numLayers }, (_, layer) => {
    const acting = interventions.flatMap((item) =>
      item.layers
        .filter((own) => own < layer || (own === layer && actsBeforeAttention(item)))
        .map((own) => ({ item, own })),
    );
    if (!acting.every(({ item }) => isNamed(item))) return undefined;
    return hashEffects(acting.flatMap(({ item, own }) => effectAt(item, own)));
  });
}

/** The first layer in which any intervention acts; the keys and values of the layers below it are those of the plain model. */
export function firstTouchedLayer(interventions: readonly LayeredIntervention[], shape: RouterShape): number {
  return Math.min(shape.numLayers, ...interventions.flatMap((item) => item.layers));
}

function actsBeforeAttention(item: Intervention): boolean {
  return item.kind === "callback" && item.hook === LAYER_HOOKS[0];
}

/** The effects on one layer, one per expert where experts are independent, so that it does not matter how they were grouped. */
function effectAt(item: LayeredIntervention, layer?: number): string[] {
  const form = { ...canonicalForm(item), layers: layer };
  if (item.kind !== "zero" && item.kind !== "mask" && item.kind !== "force") return [JSON.stringify(form)];
  return item.experts.map((expert) => JSON.stringify({ ...form, experts: expert }));
}

/** Biases add up, so two equal ones are not one; every other effect happens once however often it is asked for. */
function hashEffects(effects: readonly string[]): string {
  const once = new Set(effects.filter((effect) => !effect.startsWith('{"kind":"bias"')));
  const sorted = [...once, ...effects.filter((effect) => effect.startsWith('{"kind":"bias"'))].sort();
  return createHash("sha256")
    .update(JSON.stringify([INTERVENTIONS_VERSION, sorted]))
    .digest("hex");
}
