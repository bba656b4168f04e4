/**
 * Which experts served the questions that it got wrong. Ours. Routing is a function of the hidden state, so a difference is an
 * association, not a cause, and it travels downstream from layer to layer: pair each finding with an ablation.
 */

import { InvalidArgumentError } from "../errors.js";
import type { RouterTrace } from "../router/trace.js";
import { documentBootstrap } from "./bootstrap.js";
import { benjaminiHochberg } from "./multiple-testing.js";
import { addScaled } from "./numbers.js";
import { type JoinedOutcome, joinDocuments, type Outcome, subjectAndLength } from "./outcomes.js";
import { groupsOf, shuffleWithin, TIE } from "./permutation.js";
import { Random } from "./random.js";
import { loadOf, type RoutingLoad } from "./routing-load.js";

export interface OutcomeOptions {
  /** The stratum of each sample, in the order given; default subject x long or short. */
  strata?: (joined: readonly JoinedOutcome[]) => readonly string[];
  /**
   * Random permutations (default: 20 for each slot, at least 9,999, so that one slot alone can pass a false discovery rate of 5 %), or
   * the permutations themselves: 0/1 labels in the order of task, sample and epoch.
   */
  permutations?: number | readonly ArrayLike<number>[];
  /** Bootstrap resamples for the intervals of `stratified`; default 1000. */
  resamples?: number;
  seed?: number;
}

/** A layer's expert. */
export interface OutcomeSlot {
  layer: number;
  expert: number;
  /** D_e = mean over right samples of h_e(s) less the mean over wrong ones, h_e(s) = c_e(s) / tokens of s. */
  difference: number;
  /** The same within strata: sum of w (mean right - mean wrong) / sum of w, w = n1 n0 / (n1 + n0). */
  stratified: number;
  /** 95 % percentile interval of `stratified`, documents resampled. */
  interval: readonly [lower: number, upper: number];
  /** Exact sd of `stratified` over permutations of the outcome within strata; its mean there is 0. */
  permutationSd: number;
  /** Two-sided permutation p of `stratified`, with the +1. A slot without variation has 1. */
  p: number;
  /** Benjamini-Hochberg over all slots. */
  q: number;
}

export interface OutcomeJoin {
  slots: OutcomeSlot[];
  correct: number;
  wrong: number;
  /** Samples in strata with both outcomes; the others carry no weight. */
  informativeSamples: number;
  informativeStrata: number;
  permutations: number;
}

/**
 * Difference in expert load between right and wrong answers, slot by slot.
 *
 * @param routes traces, or their load where they were too large to hold.
 * @throws InvalidArgumentError where samples and routes do not match one to one, or no stratum has both outcomes.
 */
export function joinOutcomes(
  routes: RoutingLoad | RouterTrace | Iterable<RouterTrace>,
  outcomes: readonly Outcome[],
  options: OutcomeOptions = {},
): OutcomeJoin {
  const load = loadOf(routes);
  const { strata = subjectAndLength, resamples = 1000, seed = 0 } = options;
  const joined = joinDocuments(load, outcomes);
  const data = stratify(joined, strata(joined));
  const rates = joined.map(({ document }) => load.documentRate(document));
  const { layers, numExperts } = load.shape;
  const numSlots = layers.length * numExperts;
  const labels = Uint8Array.from(joined, ({ correct }) => (correct ? 1 : 0));

  const all = stratify(
    joined,
    joined.map(() => "all"),
  );
  const difference = stratifiedDifference(rates, labels, all.groups, numSlots);
  const stratified = stratifiedDifference(rates, labels, data.groups, numSlots);
  const { permutations = Math.max(9999, 20 * numSlots) } = options;
  const { pValues, sd } = permutationTest(rates, labels, data, stratified, permutations, seed);
  const q = benjaminiHochberg(pValues);
  const bootstrap = documentBootstrap(
    joined.length,
    (weights) => stratifiedDifference(rates, labels, data.groups, numSlots, weights),
    { resamples, seed },
  );
  const correct = labels.reduce((sum, label) => sum + label, 0);
  return {
    slots: Array.from({ length: numSlots }, (_, slot) => ({
      layer: layers[Math.floor(slot / numExperts)]!,
      expert: slot % numExperts,
      difference: difference[slot]!,
      stratified: stratified[slot]!,
      interval: [bootstrap.lower[slot]!, bootstrap.upper[slot]!],
      permutationSd: sd[slot]!,
      p: pValues[slot]!,
      q: q[slot]!,
    })),
    correct,
    wrong: joined.length - correct,
    informativeSamples: data.informative.reduce((sum, group) => sum + group.length, 0),
    informativeStrata: data.informative.length,
    permutations: typeof permutations === "number" ? permutations : permutations.length,
  };
}

interface Strata {
  groups: Int32Array[];
  /** Those with both outcomes. */
  informative: Int32Array[];
  /** Sum over informative strata of n1 n0 / n. */
  totalWeight: number;
}

function stratify(joined: readonly JoinedOutcome[], names: readonly string[]): Strata {
  const numbers = new Map([...new Set(names)].map((name, number) => [name, number]));
  const groups = groupsOf(names.map((name) => numbers.get(name)!));
  const right = (group: Int32Array) => group.reduce((sum, i) => sum + (joined[i]!.correct ? 1 : 0), 0);
  const informative = groups.filter((group) => right(group) > 0 && right(group) < group.length);
  if (informative.length === 0) {
    throw new InvalidArgumentError(
      `Expected right and wrong answers in at least one stratum, got ${joined.length} samples in ${groups.length} strata without.`,
    );
  }
  const totalWeight = informative.reduce(
    (sum, group) => sum + (right(group) * (group.length - right(group))) / group.length,
    0,
  );
  return { groups, informative, totalWeight };
}

/** By the definition, each sample counting as often as its weight says; strata with one outcome drop out. NaN without any left. */
function stratifiedDifference(
  rates: readonly Float64Array[],
  labels: Uint8Array,
  groups: readonly Int32Array[],
  numSlots: number,
  weights?: ArrayLike<number>,
): Float64Array {
  const total = new Float64Array(numSlots);
  let totalWeight = 0;
  for (const group of groups) {
    const n = [0, 0];
    for (const sample of group) n[labels[sample]!]! += weights?.[sample] ?? 1;
    const [wrong, right] = n as [number, number];
    if (wrong === 0 || right === 0) continue;
    const weight = (wrong * right) / (wrong + right);
    totalWeight += weight;
    for (const sample of group) {
      const scale = (weight * (weights?.[sample] ?? 1)) / (labels[sample] === 1 ? right : -wrong);
      if (scale === 0) continue;
      addScaled(total, rates[sample]!, scale);
    }
  }
  return total.map((value) => value / totalWeight);
}

/**
 * The statistic of a permutation is the sum over right samples of (h - stratum mean) / total weight: it equals `stratifiedDifference`
 * and needs one pass. Its sd over permutations is sqrt(sum of n1 n0 / (n (n - 1)) sum of (h - stratum mean)²) / total weight.
 */
function permutationTest(
  rates: readonly Float64Array[],
  labels: Uint8Array,
  { informative, totalWeight }: Strata,
  observed: Float64Array,
  permutations: number | readonly ArrayLike<number>[],
  seed: number,
): { pValues: Float64Array; sd: Float64Array } {
  const numSlots = observed.length;
  const centred: (Float64Array | undefined)[] = rates.map(() => undefined);
  const variance = new Float64Array(numSlots);
  for (const group of informative) {
    const right = group.reduce((sum, sample) => sum + labels[sample]!, 0);
    const scale = (right * (group.length - right)) / (group.length * (group.length - 1)) / totalWeight ** 2;
    const mean = new Float64Array(numSlots);
    for (const sample of group) addScaled(mean, rates[sample]!, 1 / group.length);
    for (const sample of group) {
      const row = rates[sample]!.map((rate, slot) => (rate - mean[slot]!) / totalWeight);
      for (let slot = 0; slot < numSlots; slot++) variance[slot]! += scale * (row[slot]! * totalWeight) ** 2;
      centred[sample] = row;
    }
  }
  const random = new Random(seed);
  const permuted = labels.slice();
  const count = typeof permutations === "number" ? permutations : permutations.length;
  const beyond = new Float64Array(numSlots);
  const statistic = new Float64Array(numSlots);
  for (let b = 0; b < count; b++) {
    if (typeof permutations === "number") shuffleWithin(permuted, informative, random);
    else permuted.set(permutations[b]!);
    statistic.fill(0);
    for (let sample = 0; sample < permuted.length; sample++) {
      const row = centred[sample];
      if (permuted[sample] !== 1 || row === undefined) continue;
      addScaled(statistic, row);
    }
    for (let slot = 0; slot < numSlots; slot++) {
      if (Math.abs(statistic[slot]!) >= Math.abs(observed[slot]!) - TIE) beyond[slot]!++;
    }
  }
  return { pValues: beyond.map((hits) => (1 + hits) / (count + 1)), sd: variance.map(Math.sqrt) };
}
