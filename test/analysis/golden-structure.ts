/** Structure and specialisation as the goldens name them: how our analyses give each key. */

import { uniformAdjacency } from "../../src/analysis/adjacent-tokens.js";
import { type CoactivationPairs, uniformCoactivation } from "../../src/analysis/coactivation.js";
import { argMax } from "../../src/analysis/numbers.js";
import type { GoldenCase, Nested, View } from "./golden-case.js";
import { type Entry, even, experts } from "./golden-load.js";

const perLayer = (golden: GoldenCase, value: number): number[] => golden.trace.layers.map(() => value);

function pairs(name: keyof CoactivationPairs, uniform: (golden: GoldenCase) => number): Entry {
  return { values: (_, golden) => golden.trace.layers.map((l) => golden.coactivation.pairs(l)[name]), null: uniform };
}
const coactivationNull = (golden: GoldenCase): ReturnType<typeof uniformCoactivation> =>
  uniformCoactivation(golden.coactivation.shape, golden.trace.numTokens);

const layerPairs = (golden: GoldenCase): number[] => golden.trace.layers.slice(1).map((_, pair) => pair);
const pairTokens = (_: View, golden: GoldenCase): number[] => layerPairs(golden).map(() => golden.trace.numTokens);
const adjacencyNull = (golden: GoldenCase): ReturnType<typeof uniformAdjacency> =>
  uniformAdjacency(golden.coactivation.shape);
const adjacentPairs = (view: View, golden: GoldenCase): number[] => perLayer(golden, view.adjacent.pairs());

export const STRUCTURE_ENTRIES: Record<string, Entry> = {
  pair_counts: pairs("counts", (golden) => coactivationNull(golden).counts),
  coactivation: pairs("given", (golden) => coactivationNull(golden).given),
  coactivation_reverse: pairs("givenReverse", (golden) => coactivationNull(golden).given),
  lift: pairs("lift", (golden) => coactivationNull(golden).lift),
  pmi: pairs("pmi", (golden) => coactivationNull(golden).pmi),
  pmi_corrected: pairs("pmiCorrected", () => 0),
  coactivation_over_uniform: pairs("overUniform", () => 1),
  expert_jaccard: pairs("jaccard", (golden) => coactivationNull(golden).jaccard),
  transition_top1_counts: {
    n: pairTokens,
    values: (_, golden) =>
      layerPairs(golden).map((pair) =>
        Array.from(golden.transitions.top1Counts(pair)).flatMap((count, cell) =>
          count === 0 ? [] : [[Math.floor(cell / golden.numExperts), cell % golden.numExperts, count]],
        ),
      ),
  },
  transition_top1_row0: {
    n: pairTokens,
    // The golden has {e, p}: here e, then p.
    values: (_, golden) =>
      layerPairs(golden).map((pair) => {
        const rows = experts(golden.transitions.top1Counts(pair), golden);
        const e = argMax(rows.map((row) => row.reduce((sum, count) => sum + count, 0)));
        return [e, ...experts(golden.transitions.top1Probability(pair), golden)[e]!];
      }),
  },
  transition_top1_mi: {
    n: pairTokens,
    values: (_, golden) => layerPairs(golden).map((pair) => golden.transitions.top1Information(pair)),
    floor: () => 0,
    ceiling: (golden) => Math.log(golden.numExperts),
  },
  transition_top1_mi_miller_madow: {
    n: pairTokens,
    values: (_, golden) => layerPairs(golden).map((pair) => golden.transitions.top1InformationMillerMadow(pair)),
    null: () => 0,
  },
  transition_top1_mi_null_mean: {
    n: pairTokens,
    values: (_, golden) => layerPairs(golden).map((pair) => golden.transitions.top1InformationNull(pair).mean),
  },
  transition_top1_mi_corrected: {
    n: pairTokens,
    values: (_, golden) => layerPairs(golden).map((pair) => golden.transitions.top1InformationNull(pair).corrected),
    null: () => 0,
  },
  transition_full_counts: {
    n: pairTokens,
    values: (_, golden) => layerPairs(golden).map((pair) => experts(golden.transitions.fullCounts(pair), golden)),
    null: (golden) => (golden.trace.numTokens * golden.topK ** 2) / golden.numExperts ** 2,
  },
  transition_full_mi: {
    n: pairTokens,
    values: (_, golden) => layerPairs(golden).map((pair) => golden.transitions.fullInformation(pair)),
    floor: () => 0,
  },
  adjacent_overlap: {
    n: adjacentPairs,
    values: (view) => view.adjacent.overlap(),
    weighted: (golden) => (weights) => golden.all.adjacent.overlap(weights),
    null: (golden) => adjacencyNull(golden).overlap,
  },
  adjacent_nonempty: {
    n: adjacentPairs,
    values: (view) => view.adjacent.nonempty(),
    null: (golden) => adjacencyNull(golden).nonempty,
  },
  adjacent_top1_repeat: {
    n: adjacentPairs,
    values: (view) => view.adjacent.top1Repeat(),
    null: (golden) => adjacencyNull(golden).top1Repeat,
  },
};

/** [D][L, N] as the goldens have it, [L][D][N]. */
function byLayer(matrices: readonly Float64Array[], golden: GoldenCase): Float64Array[][] {
  return golden.trace.layers.map((_, l) => matrices.map((matrix) => experts(matrix, golden)[l]!));
}
const domainTokens = (_: View, golden: GoldenCase): Nested => golden.specialization.tokens();
const domainSamples = (_: View, golden: GoldenCase): number[] =>
  golden.specialization.domains.map((name) => golden.outcomes.filter(({ domain }) => domain === name).length);
const routes = (_: View, golden: GoldenCase): number[] => perLayer(golden, golden.trace.numTokens * golden.topK);
const samples = (_: View, golden: GoldenCase): number[] => perLayer(golden, golden.outcomes.length);

function vocabulary(by: "input" | "next", minUses: number): Entry {
  return {
    values: (_, golden) => golden.vocabulary[by].specialization(minUses),
    n: (_, golden) => perLayer(golden, golden.vocabulary[by].ids(minUses)),
    floor: (golden) => 1 / golden.numExperts,
    ceiling: () => 1,
  };
}

export const SPECIALIZATION_ENTRIES: Record<string, Entry> = {
  domain_selection_rate: {
    n: domainTokens,
    values: (_, golden) => byLayer(golden.specialization.selectionRate(), golden),
    null: even,
  },
  domain_specialisation: {
    n: domainTokens,
    values: (_, golden) => byLayer(golden.specialization.overUniform(), golden),
    null: () => 1,
    ceiling: (golden) => 1 / even(golden),
  },
  domain_lift: {
    n: domainTokens,
    values: (_, golden) => byLayer(golden.specialization.lift(), golden),
    null: () => 1,
  },
  selectivity_mi: {
    n: routes,
    values: (_, golden) => golden.specialization.information(),
    weighted: (golden) => (weights) => golden.specialization.informationWeighted(weights),
    floor: () => 0,
    ceiling: (golden) => Math.log(golden.specialization.domains.length),
  },
  selectivity_mi_miller_madow: { n: routes, values: (_, golden) => golden.specialization.informationMillerMadow() },
  selectivity_mi_null_mean: { n: samples, values: (_, golden) => golden.specialization.permutationNull().mean },
  selectivity_mi_null_sd: {
    n: samples,
    values: (_, golden) => golden.specialization.permutationNull({ permutations: 2000 }).sd,
  },
  selectivity_mi_corrected: {
    n: samples,
    values: (_, golden) => golden.specialization.permutationNull().corrected,
    null: () => 0,
  },
  selectivity_mi_p: { n: samples, values: (_, golden) => golden.specialization.permutationNull().pValue },
  selectivity_jsd_token_weighted: {
    n: domainTokens,
    values: (_, golden) => golden.specialization.jensenShannon("tokens"),
  },
  selectivity_jsd_equal_weights: {
    n: domainTokens,
    values: (_, golden) => golden.specialization.jensenShannon(),
    ceiling: (golden) => Math.log(golden.specialization.domains.length),
  },
  domain_jsd_pairwise: {
    n: domainTokens,
    values: (_, golden) => golden.specialization.jensenShannonPairwise(),
    ceiling: () => Math.LN2,
  },
  vocabulary_specialisation_input_min1: vocabulary("input", 1),
  vocabulary_specialisation_input_min10: vocabulary("input", 10),
  vocabulary_specialisation_true_next_min1: vocabulary("next", 1),
  vocabulary_specialisation_true_next_min10: vocabulary("next", 10),
  task_affinity_gate_score: {
    n: domainSamples,
    values: (_, golden) => byLayer(golden.specialization.affinityGate(), golden),
  },
  task_affinity_token_ratio: {
    n: domainSamples,
    values: (_, golden) => byLayer(golden.specialization.affinityTokens(), golden),
    null: (golden) => 1 / golden.numExperts,
  },
};
