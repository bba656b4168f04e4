/** Intervals of figures that are kept by groups of documents: the same as feeding every resample's documents anew. */
import { describe, expect, it } from "vitest";
import { Coactivation } from "../../src/analysis/coactivation.js";
import { LayerTransitions } from "../../src/analysis/layer-transitions.js";
import { rocAuc, rocAucStandardError } from "../../src/analysis/rank.js";
import { RoutingLoad } from "../../src/analysis/routing-load.js";
import { Specialization } from "../../src/analysis/specialization.js";
import { RouterTrace } from "../../src/router/trace.js";
import { METADATA, randomNumbers, syntheticStep } from "../router/synthetic-trace.js";

/** 40 documents of 6 to 12 tokens: more than there are groups. */
const documents = Array.from({ length: 40 }, (_, document) => {
  const random = randomNumbers(document + 1);
  const tokenIds = Int32Array.from({ length: 6 + (document % 7) }, () => Math.floor(random() * 50));
  const runs = [{ tokenIds, origin: 0 as const, segment: 1, firstPosition: 0 }];
  const step = syntheticStep(runs, { seed: document + 1 });
  return RouterTrace.fromStep(step, runs, { metadata: METADATA, level: "logits" });
});
const keyed = (name: string, index: number) =>
  documents[index]!.withKey({ run: "r", task: index % 2 === 0 ? "a" : "b", sampleId: name, epoch: 0, request: 0 });

/** An accumulator of documents by number, each occurrence as a document of its own. */
function fed<T extends { add(trace: RouterTrace): unknown }>(accumulator: T, numbers: readonly number[]): T {
  for (const [i, number] of numbers.entries()) accumulator.add(keyed(`${i}`, number));
  return accumulator;
}
const all = [...documents.keys()];
const LAYER = METADATA.moeLayers[0]!;

/** Resamples of 32 groups, and the documents that they stand for: document d is in group d mod 32. */
const groups = Array.from({ length: 5 }, (_, b) => {
  const random = randomNumbers(100 + b);
  return Array.from({ length: 32 }, () => Math.floor(random() * 32));
});
const documentsOf = (drawn: readonly number[]) => drawn.flatMap((group) => all.filter((d) => d % 32 === group));

function expectMean(found: Float64Array, expected: readonly (readonly number[] | Float64Array)[]): void {
  for (const [i, value] of found.entries()) {
    const mean = expected.reduce((sum, values) => sum + values[i]!, 0) / expected.length;
    if (Number.isFinite(mean)) expect(Math.abs(value - mean)).toBeLessThan(1e-12);
  }
}

describe("intervals by groups of documents", () => {
  const resampled = groups.map(documentsOf);

  it.each(["given", "jaccard", "pmiCorrected"] as const)("co-activation, %s", (figure) => {
    const found = fed(new Coactivation(), all).interval(LAYER, figure, { resamples: groups });
    const expected = resampled.map((numbers) => fed(new Coactivation(), numbers).pairs(LAYER)[figure]);
    expectMean(found.mean, expected);
    expect(found.lower.some((value, i) => value < found.upper[i]!)).toBe(true);
  });

  it.each(["top1Probability", "fullProbability", "top1Information", "fullInformation"] as const)(
    "transitions, %s",
    (figure) => {
      const found = fed(new LayerTransitions(), all).interval(0, figure, { resamples: groups });
      const expected = resampled.map((numbers) => {
        const value = fed(new LayerTransitions(), numbers)[figure](0);
        return typeof value === "number" ? [value] : value;
      });
      expectMean(found.mean, expected);
      expect(found.se.some((value) => value > 0)).toBe(true);
    },
  );

  it("is that of documents where there are no more of them than groups", () => {
    const few = fed(new LayerTransitions(), all.slice(0, 6));
    const found = few.interval(0, "fullInformation", { resamples: [[5, 5, 0, 1, 1, 3]] });
    expect(found.mean[0]).toBeCloseTo(fed(new LayerTransitions(), [5, 5, 0, 1, 1, 3]).fullInformation(0), 12);
    const one = fed(new Coactivation(), [0]);
    expect(one.interval(LAYER, "given", { resamples: 3 }).lower.every(Number.isNaN)).toBe(true);
  });

  it("task affinity weighs documents", () => {
    const load = fed(new RoutingLoad(), all.slice(0, 6));
    const drawn = [5, 5, 0, 1, 1, 2];
    const again = fed(new RoutingLoad(), drawn);
    const weights = all.slice(0, 6).map((d) => drawn.filter((other) => other === d).length);
    const of = (from: RoutingLoad) => new Specialization(from, ({ task }) => task);
    for (const figure of ["affinityGate", "affinityTokens"] as const) {
      for (const [d, values] of of(load)[figure](weights).entries()) {
        const expected = of(again)[figure]()[d]!;
        expect(values.every((value, i) => Math.abs(value - expected[i]!) < 1e-12)).toBe(true);
      }
    }
  });
});

describe("standard error of an AUC", () => {
  it("is DeLong's, by pairs", () => {
    const random = randomNumbers(3);
    const labels = Array.from({ length: 60 }, () => random() < 0.4);
    // Rounded, so that there are ties.
    const scores = labels.map((label) => Math.round(4 * (random() + (label ? 0.4 : 0))));
    const positives = scores.filter((_, i) => labels[i]);
    const negatives = scores.filter((_, i) => !labels[i]);
    const wins = (x: number, y: number) => (x > y ? 1 : x === y ? 0.5 : 0);
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = (values: readonly number[]) =>
      values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / (values.length - 1);
    const v10 = positives.map((x) => mean(negatives.map((y) => wins(x, y))));
    const v01 = negatives.map((y) => mean(positives.map((x) => wins(x, y))));
    expect(mean(v10)).toBeCloseTo(rocAuc(scores, labels), 12);
    const expected = Math.sqrt(variance(v10) / v10.length + variance(v01) / v01.length);
    expect(rocAucStandardError(scores, labels)).toBeCloseTo(expected, 12);
    expect(rocAucStandardError([1, 2, 3], [true, false, false])).toBeNaN();
  });
});
