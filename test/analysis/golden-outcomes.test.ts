/** The outcome join against the goldens. */

import { describe, expect, it } from "vitest";
import { flipRateByOutcome } from "../../src/analysis/answer-margin.js";
import { benjaminiHochberg } from "../../src/analysis/multiple-testing.js";
import { joinOutcomes, type OutcomeSlot } from "../../src/analysis/outcome-join.js";
import { joinDocuments, subjectAndLength } from "../../src/analysis/outcomes.js";
import { probeOutcomes } from "../../src/analysis/probe.js";
import { clusteredStandardError, mean, standardError, wilson } from "../../src/eval/statistics.js";
import { describeWithGoldens } from "../golden/shared.js";
import { differences, GoldenCase, goldenFolders } from "./golden-case.js";

describeWithGoldens("outcome join", "golden/metrics", () => {
  describe.each(goldenFolders())("%s", (folder) => {
    const golden = new GoldenCase(folder);
    const { metrics, strata } = golden.expected;
    const outcomes = golden.outcomes;
    const fixed = joinOutcomes(golden.all.load, outcomes, {
      permutations: golden.permutations(),
      resamples: 2000,
    });
    const matrix = (name: keyof OutcomeSlot) => {
      const values = fixed.slots.map((slot) => slot[name] as number);
      return golden.trace.layers.map((_, l) => values.slice(l * golden.numExperts, (l + 1) * golden.numExperts));
    };

    it("has the strata of the golden", () => {
      const joined = joinDocuments(golden.all.load, outcomes);
      const names = subjectAndLength(joined);
      expect(Object.fromEntries(joined.map(({ sampleId }, i) => [sampleId, names[i]]))).toEqual(strata);
    });

    it.each([
      ["outcome_difference", "difference"],
      ["outcome_difference_stratified", "stratified"],
      ["outcome_permutation_sd", "permutationSd"],
      ["outcome_fixed_permutation_p", "p"],
      ["outcome_fixed_permutation_q", "q"],
    ] as const)("%s", (name, property) => {
      expect(differences(matrix(property), metrics[name]!.values)).toEqual([]);
    });

    it("states its n", () => {
      const { correct, wrong, informativeSamples, informativeStrata, permutations } = fixed;
      expect([correct, wrong]).toEqual(metrics.outcome_difference!.n);
      expect([informativeSamples, informativeStrata]).toEqual(metrics.outcome_difference_stratified!.n);
      expect(permutations).toBe(metrics.outcome_fixed_permutation_p!.n);
    });

    it("outcome_difference_stratified: interval", () => {
      const { slots, values, tol_at_b2000: tolerances } = metrics.outcome_difference_stratified!.ci!;
      const ours = slots!.map(([l, e]) => fixed.slots[l * golden.numExperts + e]!.interval);
      const within = (a: number, b: number, [i = 0, end = 0]: number[]) =>
        Math.abs(a - b) <= (tolerances as number[][])[i]![end]!;
      expect(differences(ours, values, within)).toEqual([]);
    });

    it("outcome_permutation_p and q", () => {
      const permutations = 20_000;
      const { slots } = joinOutcomes(golden.all.load, outcomes, { permutations, resamples: 2, seed: 7 });
      const { values, tol } = metrics.outcome_permutation_p!;
      const expected = (values as number[][]).flat();
      const shrink = 1 / permutations + 1 / (tol as { b_ref: number }).b_ref;
      const same = (a: number, b: number) =>
        Math.abs(a - b) <= 4.5 * Math.sqrt(b * (1 - b) * shrink) + 1 / (permutations + 1);
      expect(
        differences(
          slots.map(({ p }) => p),
          expected,
          same,
        ),
      ).toEqual([]);
      expect(
        differences(benjaminiHochberg(expected), (metrics.outcome_permutation_q!.values as number[][]).flat()),
      ).toEqual([]);
    });

    it("finds the planted expert and leaves the dead one at p = 1", () => {
      const slot = (layer: number, expert: number) => fixed.slots[layer * golden.numExperts + expert]!;
      if (!folder.endsWith("/s")) return;
      expect(slot(1, 9).q).toBeLessThan(0.05);
      expect(slot(1, 9).stratified).toBeGreaterThan(0);
      expect(slot(2, 11).p).toBe(1);
    });

    it("answer_margin", () => {
      const ours = golden.answers.byOutcome(outcomes);
      const expected = metrics.answer_margin!.values as unknown as {
        mean_correct: number;
        mean_wrong: number;
        auc: number;
      }[];
      expect(
        differences(
          ours.map(({ meanCorrect, meanWrong, auc }) => [meanCorrect, meanWrong, auc]),
          expected.map(({ mean_correct, mean_wrong, auc }) => [mean_correct, mean_wrong, auc]),
        ),
      ).toEqual([]);
    });

    it("flip_rate_by_outcome", () => {
      const { correct, wrong } = metrics.flip_rate_by_outcome!.values as unknown as { correct: number; wrong: number };
      const { meanCorrect, meanWrong } = flipRateByOutcome(golden.agreement, outcomes);
      expect(differences([meanCorrect, meanWrong], [correct, wrong])).toEqual([]);
    });

    it("probe_auc", () => {
      const { values, scores } = metrics.probe_auc!;
      const expected = values as unknown as Record<string, number>;
      const probe = probeOutcomes(golden.all.load, outcomes);
      const names = [
        ["baseline", probe.baseline],
        ["routing", probe.routing],
        ["routing_and_baseline", probe.both],
      ] as const;
      for (const [name, { auc, scores: ours }] of names) {
        expect(Math.abs(auc - expected[name]!), name).toBeLessThanOrEqual(0.005);
        // Printed with 6 decimals.
        expect(differences(ours, scores![name]!, (a, b) => Math.abs(a - b) <= 1e-6)).toEqual([]);
      }
    });

    it("accuracy", () => {
      const right = outcomes.map(({ correct }) => (correct ? 1 : 0));
      const subjects = outcomes.map(({ subject }) => subject!);
      const expected = metrics.accuracy!.values as unknown as Record<string, number> & { wilson: number[] };
      expect(
        differences(
          [mean(right), standardError(right), clusteredStandardError(right, subjects), new Set(subjects).size],
          [expected.mean!, expected.se!, expected.clustered_se!, expected.clusters!],
        ),
      ).toEqual([]);
      const successes = right.filter((value) => value === 1).length;
      expect(differences([...wilson(successes, right.length)], expected.wilson)).toEqual([]);
    });

    it("are all known here", () => {
      const known = [
        ...["accuracy", "answer_margin", "flip_rate_by_outcome", "probe_auc"],
        ...["outcome_difference", "outcome_difference_stratified", "outcome_permutation_sd"],
        ...["outcome_permutation_p", "outcome_permutation_q"],
        ...["outcome_fixed_permutation_p", "outcome_fixed_permutation_q"],
      ];
      const keys = Object.entries(metrics).filter(([, { group }]) => group === "outcome join");
      expect(keys.map(([name]) => name).filter((name) => !known.includes(name))).toEqual([]);
    });
  });
});
