/**
 * Whether a list of interventions can be meant on a model, before anything runs: every layer, expert and segment exists, and wherever
 * their scopes meet, the objects of a layer agree with one another.
 */

import { InvalidArgumentError } from "../errors.js";
import { type Intervention, LAYER_HOOKS, type Layers } from "./interventions.js";
import type { RecordedRoute } from "./route.js";
import { EMPTY_SLOT, STANDARD_SEGMENTS } from "./schema.js";
import type { RouterShape } from "./shape.js";

/** An intervention with its layers spelled out, ascending and without repeats. */
export type LayeredIntervention = Intervention & { layers: number[] };

/**
 * The same interventions with "all" spelled out, after every check. `segments` are the names that the caller labels text with. Throws
 * INVALID_ARGUMENT with the valid range, or UNSUPPORTED for what the model does not have.
 */
export function checkInterventions(
  interventions: readonly Intervention[],
  shape: RouterShape,
  segments: readonly string[] = STANDARD_SEGMENTS,
): LayeredIntervention[] {
  const layered = interventions.map((intervention) => {
    const checked = { ...intervention, layers: layersOf(intervention, shape) } as LayeredIntervention;
    checkScope(checked, segments);
    checkExperts(checked, shape);
    if (checked.kind === "replay") checkRoute(checked.layers, checked.route, checked.positions, shape);
    return checked;
  });
  for (const layer of shape.moeLayers) {
    checkLayer(
      layer,
      layered.filter((intervention) => intervention.layers.includes(layer)),
      shape,
    );
  }
  return layered;
}

function layersOf(intervention: Intervention, shape: RouterShape): number[] {
  const { kind, layers } = intervention;
  if (kind === "callback") {
    if (!LAYER_HOOKS.includes(intervention.hook)) {
      if (layers === undefined) return [];
      fail(
        `Expected no layers for the hook ${intervention.hook}, which is not in a layer, got ${JSON.stringify(layers)}.`,
      );
    }
    if (layers === undefined) fail(`Expected layers for the hook ${intervention.hook}, got none.`);
    if (intervention.hook.startsWith("shared.") && !shape.hasSharedExpert) {
      fail(`Expected a model with a shared expert for the hook ${intervention.hook}, this one has none.`);
    }
    if (intervention.hook.startsWith("residual.")) {
      const every = Array.from({ length: shape.numLayers }, (_, layer) => layer);
      return pick(kind, layers, every, `layers from 0 to ${shape.numLayers - 1}`);
    }
  }
  if (shape.moeLayers.length === 0) fail(`Expected a model with routed experts for ${kind}, this one has none.`);
  const contiguous = shape.moeLayers.length === shape.numLayers;
  const range = contiguous ? `from 0 to ${shape.numLayers - 1}` : shape.moeLayers.join(", ");
  return pick(kind, layers!, shape.moeLayers, `MoE layers ${range}`);
}

function pick(kind: string, layers: Layers, valid: readonly number[], range: string): number[] {
  if (layers === "all") return [...valid];
  const unknown = layers.find((layer) => !valid.includes(layer));
  if (unknown !== undefined) fail(`Expected ${range} for ${kind}, got layer ${unknown}.`);
  return ascending(layers);
}

/** The numbers in ascending order, each once. */
export function ascending(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}

function checkScope({ kind, segments: named }: Intervention, segments: readonly string[]): void {
  const unknown = named?.find((segment) => !segments.includes(segment));
  if (unknown !== undefined)
    fail(`Expected segments ${segments.join(", ")} for ${kind}, got ${JSON.stringify(unknown)}.`);
}

function checkExperts(intervention: LayeredIntervention, shape: RouterShape): void {
  const { kind } = intervention;
  const known = (experts: readonly number[]) => {
    const unknown = experts.find((expert) => expert >= shape.numExperts);
    if (unknown !== undefined) fail(`Expected experts from 0 to ${shape.numExperts - 1} for ${kind}, got ${unknown}.`);
  };
  if (kind === "zero") {
    known(intervention.experts.filter((expert) => expert !== "shared"));
    if (intervention.experts.includes("shared") && !shape.hasSharedExpert) {
      fail('Expected a model with a shared expert for zero of "shared", this one has none.');
    }
  } else if (kind === "mask" || kind === "force") known(intervention.experts);
  else if (kind === "swap") known([intervention.from, intervention.to]);
  else if (kind === "bias") known(Object.keys(intervention.bias).map(Number));
  else if (kind === "top-k" && intervention.k > shape.numExperts) {
    fail(`Expected k from 1 to ${shape.numExperts} for top-k, got ${intervention.k}.`);
  }
}

function checkRoute(
  layers: readonly number[],
  route: string | RecordedRoute,
  positions: readonly [number, number] | undefined,
  shape: RouterShape,
): void {
  if (typeof route === "string") fail(`Expected a loaded route for replay, got the name ${JSON.stringify(route)}.`);
  const missing = layers.find((layer) => !route.layers.includes(layer));
  if (missing !== undefined)
    fail(`Expected a route that records layer ${missing}, it records ${route.layers.join(", ")}.`);
  if (route.k !== shape.numExpertsPerToken) {
    fail(
      `Expected a route of ${shape.numExpertsPerToken} experts per token, got ${route.k} at position ${route.start}.`,
    );
  }
  const end = route.start + route.tokenIds.length;
  if (positions !== undefined && (positions[0] < route.start || positions[1] > end)) {
    const uncovered = positions[0] < route.start ? positions[0] : Math.max(end, positions[0]);
    fail(`Expected a route that covers position ${uncovered}, it covers ${route.start} to ${end - 1}.`);
  }
  const rowLength = route.layers.length * route.k;
  for (const [slot, expert] of route.experts.entries()) {
    if (expert < shape.numExperts) continue;
    const where = `position ${route.start + Math.floor(slot / rowLength)}`;
    const layer = route.layers[Math.floor(slot / route.k) % route.layers.length]!;
    if (!layers.includes(layer)) continue;
    fail(
      expert === EMPTY_SLOT
        ? `Expected a route of ${route.k} experts per token, got fewer at ${where} of layer ${layer}.`
        : `Expected a route of experts from 0 to ${shape.numExperts - 1}, got ${expert} at ${where} of layer ${layer}.`,
    );
  }
}

/** A set of places where the same interventions act: positions [start, end), one origin, one segment. */
interface Region {
  start: number;
  end: number;
  origin: "prompt" | "generated";
  /** Undefined: any that no scope names. */
  segment: string | undefined;
}

/** Cuts the places of a layer where scopes begin and end, and checks what meets in each piece. */
function checkLayer(layer: number, interventions: readonly LayeredIntervention[], shape: RouterShape): void {
  if (interventions.length === 0) return;
  const cuts = ascending([0, ...interventions.flatMap((item) => item.positions ?? [])]);
  const named = new Set(interventions.flatMap((item) => item.segments ?? []));
  for (const [index, start] of cuts.entries()) {
    const end = cuts[index + 1] ?? Number.POSITIVE_INFINITY;
    for (const origin of ["prompt", "generated"] as const) {
      for (const segment of [undefined, ...named]) {
        const region = { start, end, origin, segment };
        const acting = interventions.filter((item) => actsIn(item, region));
        checkMeeting(`Layer ${layer}${describeRegion(region, acting)}`, acting, shape);
      }
    }
  }
}

function actsIn({ positions, origin, segments }: Intervention, region: Region): boolean {
  if (positions !== undefined && (region.start < positions[0] || region.start >= positions[1])) return false;
  if (origin !== undefined && origin !== region.origin) return false;
  return segments === undefined || (region.segment !== undefined && segments.includes(region.segment));
}

function describeRegion({ start, end, origin, segment }: Region, acting: readonly Intervention[]): string {
  const parts = [];
  if (acting.some((item) => item.positions !== undefined)) {
    parts.push(end === Number.POSITIVE_INFINITY ? `positions from ${start}` : `positions ${start} to ${end - 1}`);
  }
  if (acting.some((item) => item.origin !== undefined)) parts.push(`origin ${origin}`);
  if (acting.some((item) => item.segments !== undefined)) parts.push(`segment ${segment}`);
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}

/** What the interventions that act at one place ask for together. `where` opens the sentence. */
function checkMeeting(where: string, acting: readonly LayeredIntervention[], shape: RouterShape): void {
  const of = <K extends Intervention["kind"]>(kind: K) =>
    acting.filter((item): item is LayeredIntervention & { kind: K } => item.kind === kind);
  const masked = new Set(of("mask").flatMap((item) => item.experts));
  const forced = new Set(of("force").flatMap((item) => item.experts));
  const ks = ascending(of("top-k").map((item) => item.k));
  const replays = of("replay");

  if (replays.length > 1) fail(`${where} is replayed ${replays.length} times, once is possible.`);
  const choosing = acting.find(({ kind }) => kind === "mask" || kind === "force" || kind === "top-k");
  if (replays.length === 1 && choosing !== undefined) fail(`${where} is replayed, so it takes no ${choosing.kind}.`);
  if (ks.length > 1) fail(`${where} gets top-k ${ks.join(" and ")}, one k is possible.`);
  const k = ks[0] ?? shape.numExpertsPerToken;
  const left = shape.numExperts - masked.size;
  if (left < k) fail(`${where} needs ${k} experts, the masks leave ${left} of ${shape.numExperts}.`);
  if (forced.size > k) fail(`${where} chooses ${k} experts, ${forced.size} are forced.`);
  const both = [...forced].find((expert) => masked.has(expert));
  if (both !== undefined) fail(`${where} forces expert ${both}, which is masked.`);
  const targets = new Map<number, number>();
  for (const { from, to } of of("swap")) {
    if ((targets.get(from) ?? to) !== to) fail(`${where} swaps expert ${from} for ${targets.get(from)} and for ${to}.`);
    targets.set(from, to);
  }
}

function fail(message: string): never {
  throw new InvalidArgumentError(message);
}
