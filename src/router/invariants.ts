/**
 * What must be true of every trace, whatever the model and the text. A failure is a fault of moescope or of a device, never of the
 * caller; it names the row, the layer, what was expected and what was found.
 */

import { MoescopeError } from "../errors.js";
import type { RouteRule } from "../native/binding.js";
import { EMPTY_SLOT } from "./schema.js";
import { expectedRoute, type RowPlace, ruleActs } from "./selection.js";
import type { RouterTrace } from "./trace.js";

/** What the caller knows besides the trace itself; absent: not compared. */
export interface TraceExpectations {
  /** Tokens that were forwarded or taken from a cached prefix. */
  numTokens?: number;
  /** The compiled rules under which all rows ran; [] for none. Without them, rows that an intervention touched are not recomputed. */
  rules?: readonly RouteRule[];
  /** Assignments that the device counted over the computed rows. [layers, numExperts] */
  counts?: Float64Array;
}

/** How much was checked. */
export interface TraceCheck {
  rows: number;
  /** Rows whose ids, margin and weights were recomputed from their logits. */
  recomputedRows: number;
}

/**
 * Checks a trace: row count = tokens; the ids of a row distinct and known; per layer, counts sum to the slots in use (tokens x k without
 * a top-k intervention) and equal the device's own; weights in [0, 1], descending and of the right sum where nothing intervened; no number
 * that is not finite; and at level `logits`, ids, margin and weights equal to those that follow from the logits. Throws INVARIANT.
 */
export function checkTrace(trace: RouterTrace, expected: TraceExpectations = {}): TraceCheck {
  if (expected.numTokens !== undefined && trace.numTokens !== expected.numTokens) {
    fail(`The trace should have ${expected.numTokens} tokens, it has ${trace.numTokens}.`);
  }
  let recomputedRows = 0;
  for (let token = 0; token < trace.numTokens; token++) {
    for (let layerIndex = 0; layerIndex < trace.layers.length; layerIndex++) {
      checkSlots(trace, token, layerIndex, expected.rules);
      if (recompute(trace, token, layerIndex, expected.rules)) recomputedRows++;
      checkNumbers(trace, token * trace.layers.length + layerIndex);
    }
  }
  checkHiddenStates(trace);
  if (expected.counts !== undefined) checkCounts(trace, expected.counts);
  return { rows: trace.numTokens * trace.layers.length, recomputedRows };
}

/** The ids of a row: distinct, of this model, as many as the row's k, empty slots last and without weight. */
function checkSlots(trace: RouterTrace, token: number, layerIndex: number, rules?: readonly RouteRule[]): void {
  const { columns, layout } = trace;
  const { numExperts, numExpertsPerToken } = layout.metadata;
  const row = token * trace.layers.length + layerIndex;
  const first = row * trace.topK;
  let used = 0;
  for (let slot = first; slot < first + trace.topK; slot++) {
    const expert = columns.topkExperts[slot]!;
    const weight = columns.topkWeights[slot]!;
    if (expert === EMPTY_SLOT) {
      if (weight !== 0) failAt(trace, row, "weight 0 in an empty slot", weight);
      continue;
    }
    if (expert >= numExperts) failAt(trace, row, `experts below ${numExperts}`, expert);
    if (first + used !== slot) failAt(trace, row, "empty slots behind the used ones", `expert ${expert} behind one`);
    for (let other = first; other < slot; other++) {
      if (columns.topkExperts[other] === expert) failAt(trace, row, "distinct experts", `expert ${expert} twice`);
    }
    if (!(weight >= 0 && weight <= 1 + 1e-6)) failAt(trace, row, `a weight of expert ${expert} from 0 to 1`, weight);
    used++;
  }
  // A rule that changes k marks the row; without one each row has the model's k.
  const changed = columns.intervened[row] === 1 && (rules === undefined || rules.some((rule) => rule.kind === "top-k"));
  if (!changed && used !== numExpertsPerToken) failAt(trace, row, `${numExpertsPerToken} experts`, used);
}

/** Gates, margin and shared gate of a row; what an intervention has put there only has to be a number. */
function checkNumbers(trace: RouterTrace, row: number): void {
  const { columns, layout, topK } = trace;
  const { normTopkProb, numExpertsPerToken } = layout.metadata;
  const margin = columns.margin[row]!;
  const isPlain = columns.intervened[row] === 0;
  if (Number.isNaN(margin) || (isPlain && margin < 0)) failAt(trace, row, "a margin of at least 0", margin);
  const shared = columns.sharedGate[row] ?? 0;
  if (!(isPlain ? shared >= 0 && shared <= 1 : Number.isFinite(shared))) {
    failAt(trace, row, "a shared gate from 0 to 1", shared);
  }
  if (!isPlain || topK === 0) return;
  // Each gate is rounded once to float32 and is at most 1, so a sum of k is off by less than k x 2^-24; so is each from its order.
  const tolerance = numExpertsPerToken * 2 ** -24;
  let sum = 0;
  for (let slot = row * topK; slot < (row + 1) * topK; slot++) {
    const weight = columns.topkWeights[slot]!;
    const before = slot === row * topK ? 1 : columns.topkWeights[slot - 1]!;
    if (weight > before + tolerance) failAt(trace, row, "gates in descending order", `${weight} behind ${before}`);
    sum += weight;
  }
  const isOff = normTopkProb ? !(Math.abs(sum - 1) <= tolerance) : !(sum <= 1 + tolerance);
  if (isOff) failAt(trace, row, normTopkProb ? "gates that sum to 1" : "gates that sum to at most 1", sum);
}

/** Every hidden state is finite; the norm of an expert's output is NaN only where none ran. */
function checkHiddenStates(trace: RouterTrace): void {
  const { hidden, layers, numTokens } = trace;
  if (hidden === undefined || numTokens === 0) return;
  const wanted = { routerInput: layers, sharedNorm: layers, residual: hidden.residualLayers } as const;
  for (const [name, own] of Object.entries(wanted)) {
    const values = hidden[name as keyof typeof wanted];
    const at = values.findIndex((value) => !Number.isFinite(value));
    if (at < 0) continue;
    const place = Math.floor((at * own.length * numTokens) / values.length);
    const token = Math.floor(place / own.length);
    const position = trace.columns.positions[token];
    const layer = own[place % own.length];
    fail(`Row ${token} (position ${position}) of layer ${layer} should have a finite ${name}, it has ${values[at]}.`);
  }
  const { topkWeights, intervened } = trace.columns;
  for (const [slot, norm] of hidden.expertNorms.entries()) {
    const row = Math.floor(slot / trace.topK);
    if (norm >= 0 && norm < Number.POSITIVE_INFINITY) continue;
    if (Number.isNaN(norm) && (topkWeights[slot] === 0 || intervened[row] === 1)) continue;
    failAt(trace, row, "a finite norm of each expert that ran", norm);
  }
}

/** Ids, margin and weights against those that follow from the raw logits; false where they cannot be told. */
function recompute(trace: RouterTrace, token: number, layerIndex: number, rules?: readonly RouteRule[]): boolean {
  const { columns, layout, topK } = trace;
  const { numExperts } = layout.metadata;
  const row = token * trace.layers.length + layerIndex;
  if (columns.routerLogits.length === 0 || (rules === undefined && columns.intervened[row] === 1)) return false;

  const logits = columns.routerLogits.subarray(row * numExperts, (row + 1) * numExperts);
  const notFinite = logits.findIndex((value) => !Number.isFinite(value));
  if (notFinite >= 0) failAt(trace, row, "finite router logits", `${logits[notFinite]} of expert ${notFinite}`);
  const layer = trace.layers[layerIndex]!;
  const place = placeOf(trace, token);
  const active = (rules ?? []).filter((rule) => ruleActs(rule, layer, place));
  // What a callback puts in place of the logits nobody else knows; elsewhere it may mark a row and leaves the route to its logits.
  const declared = active.filter((rule) => rule.kind !== "callback");
  if (active.some((rule) => rule.hook === "router.logits")) return false;
  const expected = expectedRoute(logits, declared, layer, place.position, layout.metadata);

  const mayBeMarked = expected.intervened || declared.length < active.length;
  if (columns.intervened[row] === 1 ? !mayBeMarked : expected.intervened) {
    failAt(
      trace,
      row,
      expected.intervened ? "a row marked as intervened" : "a row not marked as intervened",
      "the opposite",
    );
  }
  const ids = Array.from(columns.topkExperts.subarray(row * topK, (row + 1) * topK)).filter((id) => id !== EMPTY_SLOT);
  if (ids.length !== expected.experts.length || ids.some((id, slot) => id !== expected.experts[slot])) {
    failAt(trace, row, `experts [${expected.experts.join(", ")}]`, `[${ids.join(", ")}]`);
  }
  // The same float32 subtraction of the same numbers: equal, not close.
  if (columns.margin[row] !== expected.margin) failAt(trace, row, `margin ${expected.margin}`, columns.margin[row]);
  checkWeights(trace, row, expected.weights);
  return true;
}

/**
 * A softmax in float32 of numExperts terms, each rounded once, from exponents whose own rounding is at most that of |z| < 64: relative
 * error below (numExperts + 64) x 2^-23, and weights are at most 1.
 */
function checkWeights(trace: RouterTrace, row: number, expected: readonly number[]): void {
  const tolerance = (trace.layout.metadata.numExperts + 64) * 2 ** -23;
  for (const [slot, weight] of expected.entries()) {
    const actual = trace.columns.topkWeights[row * trace.topK + slot]!;
    if (!(Math.abs(actual - weight) <= tolerance)) failAt(trace, row, `weight ${weight} in slot ${slot}`, actual);
  }
}

function checkCounts(trace: RouterTrace, counts: Float64Array): void {
  const load = trace.expertLoad("computed");
  if (counts.length !== load.counts.length)
    fail(`The device should count ${load.counts.length} slots, it counts ${counts.length}.`);
  for (const [index, count] of load.counts.entries()) {
    if (counts[index] === count) continue;
    const layer = trace.layers[Math.floor(index / load.numExperts)];
    const expert = index % load.numExperts;
    fail(
      `The trace has ${count} assignments of expert ${expert} in layer ${layer}, the device counted ${counts[index]}.`,
    );
  }
}

/**
 * The invariant of bare counts: each layer's sum to `numTokens` x `numExpertsPerToken`. For levels without a trace, where no top-k
 * intervention acted. `counts`: [layers.length, numExperts]. Throws INVARIANT.
 */
export function checkCountSums(
  counts: Float64Array,
  layers: readonly number[],
  numTokens: number,
  numExpertsPerToken: number,
): void {
  const numExperts = counts.length / layers.length;
  for (const [index, layer] of layers.entries()) {
    const sum = counts
      .subarray(index * numExperts, (index + 1) * numExperts)
      .reduce((total, count) => total + count, 0);
    if (sum === numTokens * numExpertsPerToken) continue;
    fail(
      `Layer ${layer} should count ${numTokens} tokens x ${numExpertsPerToken} experts, it counts ${sum} assignments.`,
    );
  }
}

function placeOf({ columns }: RouterTrace, token: number): RowPlace {
  return {
    position: columns.positions[token]!,
    origin: columns.origins[token]!,
    segment: columns.segments[token]!,
  };
}

function failAt(trace: RouterTrace, row: number, expected: string, found: unknown): never {
  const token = Math.floor(row / trace.layers.length);
  const layer = trace.layers[row % trace.layers.length];
  const position = trace.columns.positions[token];
  fail(`Row ${token} (position ${position}) of layer ${layer} should have ${expected}, it has ${found}.`);
}

function fail(message: string): never {
  throw new MoescopeError("INVARIANT", `Router trace: ${message}`);
}
