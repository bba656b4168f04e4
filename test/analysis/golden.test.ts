/** Every metric of the goldens that a trace alone determines: values, subsets, n, nulls, ends and intervals. */

import { describe, expect, it } from "vitest";
import { documentBootstrap } from "../../src/analysis/bootstrap.js";
import { expertPairs } from "../../src/analysis/coactivation.js";
import { LOAD_METRICS, uniformNull } from "../../src/analysis/load-metrics.js";
import { kthMargin } from "../../src/analysis/route-margins.js";
import { tokenConfidence } from "../../src/analysis/router-confidence.js";
import { describeWithGoldens } from "../golden/shared.js";
import { differences, GoldenCase, type GoldenMetric, goldenFolders, isClose, type Nested } from "./golden-case.js";
import { CONFIDENCE_ENTRIES, type Entry, LOAD_ENTRIES } from "./golden-load.js";
import { SPECIALIZATION_ENTRIES, STRUCTURE_ENTRIES } from "./golden-structure.js";

const ENTRIES: Readonly<Record<string, Entry>> = {
  ...LOAD_ENTRIES,
  ...CONFIDENCE_ENTRIES,
  ...STRUCTURE_ENTRIES,
  ...SPECIALIZATION_ENTRIES,
};

/** Draws of our own Monte Carlo figures, their defaults in the library. */
const PERMUTATIONS = { transition: 200, document: 999 };

/** The tolerance rule that a golden states for itself. */
function sameBy({ tol }: GoldenMetric, permutations: number): (a: number, b: number, path: number[]) => boolean {
  if (tol === "exact") return (a, b) => a === b;
  if (tol === "float") return isClose;
  const { kind, sd = [], b_ref: reference = 1, rel = 0 } = tol as Exclude<GoldenMetric["tol"], string>;
  const shrink = 1 / permutations + 1 / reference;
  if (kind === "mc_mean") return (a, b, [i = 0]) => Math.abs(a - b) <= 5 * (sd[i] ?? Number.NaN) * Math.sqrt(shrink);
  if (kind === "mc_p") {
    return (a, b) => Math.abs(a - b) <= 4.5 * Math.sqrt(b * (1 - b) * shrink) + 1 / (permutations + 1);
  }
  if (kind === "relative") return (a, b) => Math.abs(a - b) <= rel * Math.abs(b);
  throw new Error(`unknown tolerance ${kind}`);
}

/** {e, p} becomes [e, ...p]. */
function listed(values: Nested): Nested {
  if (!Array.isArray(values)) return values;
  return values.map((value) => (value !== null && value.p !== undefined ? [value.e, ...value.p] : value));
}

describeWithGoldens("metrics of a trace", "golden/metrics", () => {
  describe.each(goldenFolders())("%s", (folder) => {
    const golden = new GoldenCase(folder);
    const metrics = Object.entries(golden.expected.metrics).filter(([, metric]) => metric.group !== "outcome join");

    it("are all known here", () => {
      expect(metrics.map(([name]) => name).filter((name) => !(name in ENTRIES))).toEqual([]);
      expect(metrics.length).toBeGreaterThan(0);
    });

    it.each(metrics)("%s", (name, metric) => {
      const entry = ENTRIES[name]!;
      const permutations = name.startsWith("transition") ? PERMUTATIONS.transition : PERMUTATIONS.document;
      const same = sameBy(metric, permutations);
      expect(differences(entry.values(golden.all, golden), listed(metric.values), same)).toEqual([]);
      const n = entry.n?.(golden.all, golden) ?? golden.trace.layers.map(() => golden.all.load.tokens());
      expect(differences(n, metric.n)).toEqual([]);
      for (const [subset, expected] of Object.entries(metric.subsets ?? {})) {
        const view = golden.view(subset);
        expect(differences(entry.values(view, golden), expected.values, same), subset).toEqual([]);
        const subsetN = [entry.n?.(view, golden) ?? view.load.tokens()].flat()[0]!;
        expect(subsetN, subset).toBe(expected.n);
      }
    });

    const bounds = metrics.flatMap(([name, metric]) =>
      (["null", "floor", "ceiling"] as const)
        // The null of a vocabulary figure is a Monte Carlo mean: a test of its own below.
        .filter((end) => metric[end] !== undefined && !(name.startsWith("vocabulary_") && end === "null"))
        .map((end) => [name, end, metric] as const),
    );
    it.each(bounds)("%s: %s", (name, end, metric) => {
      expect(differences(ENTRIES[name]![end]!(golden), metric[end]!)).toEqual([]);
    });

    const withInterval = metrics.filter(([, metric]) => metric.ci !== undefined);
    it.each(withInterval.filter(([, metric]) => metric.ci!.fixed_200))("%s: given resamples", (name, { ci }) => {
      const statistic = ENTRIES[name]!.weighted!(golden);
      const { lower, upper } = documentBootstrap(golden.outcomes.length, statistic, {
        resamples: golden.bootstrapIndexes(),
      });
      const intervals = Array.from(lower, (value, i) => [value, upper[i]!]);
      expect(differences(intervals, ci!.fixed_200!)).toEqual([]);
    });

    it.each(withInterval)("%s: own resamples", (name, { ci }) => {
      const { lower, upper, se } = documentBootstrap(golden.outcomes.length, ENTRIES[name]!.weighted!(golden));
      const tolerances = ci!.tol_at_b2000 as number[] | number[][];
      const flat = (ci!.values as number[][][]).flat(name === "selection_rate" ? 1 : 0) as unknown as number[][];
      const perLayer = flat.length / golden.trace.layers.length;
      const intervals = Array.from(lower, (value, i) => [value, upper[i]!]);
      const same = (a: number, b: number, [i, end]: number[]) => {
        const tolerance = tolerances[Math.floor(i! / perLayer)]!;
        return Math.abs(a - b) <= (typeof tolerance === "number" ? tolerance : tolerance[end!]!);
      };
      expect(differences(intervals, flat, same as never)).toEqual([]);
      // Standard errors of 2,000 and of 20,000 resamples: 2 % apart, five times that allowed.
      if (ci!.se) expect(differences(se, ci!.se, (a, b) => Math.abs(a - b) <= 1e-9 + 0.1 * b)).toEqual([]);
    });

    const finite = metrics.filter(([, metric]) => metric.null_finite !== undefined);
    it.each(finite)("%s: uniform tokens", (name, { null_finite: expected }) => {
      const draws = 1000;
      const { mean, sd } = uniformNull(
        LOAD_METRICS[ENTRIES[name]!.loadMetric!]!.of,
        { numExperts: golden.numExperts, numExpertsPerToken: golden.topK, numTokens: expected!.tokens },
        { draws },
      );
      const shrink = Math.sqrt(1 / draws + 1 / expected!.tol.b_ref);
      expect(Math.abs(mean - expected!.mean)).toBeLessThanOrEqual(5 * expected!.sd * shrink);
      expect(Math.abs(sd - expected!.sd)).toBeLessThanOrEqual(5 * expected!.sd * shrink);
    });

    it.each([
      ["vocabulary_specialisation_input", golden.vocabulary.input],
      ["vocabulary_specialisation_true_next", golden.vocabulary.next],
    ] as const)("%s: permutation null", (name, vocabulary) => {
      for (const minUses of [1, 10]) {
        const { null: expected, null_tol: tol } = golden.expected.metrics[`${name}_min${minUses}`]!;
        const { mean, sd } = vocabulary.permutationNull(minUses, { permutations: 200 });
        const shrink = Math.sqrt(1 / 200 + 1 / tol!.b_ref);
        const same = (a: number, b: number, [i = 0]: number[]) => Math.abs(a - b) <= 5 * tol!.sd[i]! * shrink;
        expect(differences(mean, expected!, same)).toEqual([]);
        expect(differences(sd, tol!.sd, same)).toEqual([]);
      }
    });

    it("adjacent_overlap: independent tokens with the observed load", () => {
      const expected = golden.expected.metrics.adjacent_overlap!.null_given_load!;
      expect(differences(golden.all.adjacent.overlapGivenLoad(), expected)).toEqual([]);
    });

    it("pairs come in the order of the goldens", () => {
      expect(expertPairs(golden.numExperts)).toEqual(golden.expected.metrics.coactivation!.pairs);
    });

    it("single rows, ties at the boundary among them", () => {
      const { trace } = golden;
      const { positions, keys, routerLogits, topkExperts } = trace.columns;
      for (const spot of golden.expected.spots) {
        const token = positions.findIndex(
          (position, t) => position === spot.position && trace.keys[keys[t]!]!.sampleId === spot.sample_id,
        );
        const row = token * trace.layers.length + trace.layers.indexOf(spot.layer);
        const logits = routerLogits.subarray(row * golden.numExperts, (row + 1) * golden.numExperts);
        const experts = topkExperts.subarray(row * trace.topK, (row + 1) * trace.topK);
        const { routingEntropy, topkMass, logSumExp } = tokenConfidence(logits, experts);
        expect(Array.from(experts)).toEqual(spot.topk_experts);
        expect(
          differences(
            [routingEntropy, topkMass, kthMargin(logits, trace.topK), logSumExp],
            [spot.token_routing_entropy, spot.topk_mass, spot.kth_margin, spot.logsumexp],
          ),
        ).toEqual([]);
      }
    });
  });
});
