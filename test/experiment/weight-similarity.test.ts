/** Similarity of experts' weights against the formulas on the stored numbers, all at once and in float64. */
import { describe, expect, it } from "vitest";
import { jensenShannon } from "../../src/analysis/information.js";
import { linearCka } from "../../src/analysis/similarity.js";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { expertWeightSimilarity, WEIGHT_MEASURES } from "../../src/experiment/weight-similarity.js";
import { seededModel } from "../cli/seeded.js";
import { readCheckpoint } from "../reference/checkpoint.js";

const LAYER = 1;
const checkpoint = await openCheckpoint(seededModel());
const { tensors } = readCheckpoint(seededModel());
const { numExperts, hiddenSize } = checkpoint.config;
const matrix = (expert: number, part: string) =>
  Float64Array.from(tensors.get(`model.layers.${LAYER}.mlp.experts.${expert}.${part}_proj.weight`)!.values);
const vectors = Array.from({ length: numExperts }, (_, e) =>
  Float64Array.from(["gate", "up", "down"].flatMap((part) => [...matrix(e, part)])),
);

function expectPairs(found: Float64Array, expected: (a: number, b: number) => number, tolerance: number): void {
  for (let a = 0; a < numExperts; a++) {
    for (let b = 0; b < numExperts; b++) {
      expect(Math.abs(found[a * numExperts + b]! - expected(a, b))).toBeLessThan(tolerance);
    }
  }
}

describe("similarity by weights", () => {
  const cosine = (a: number, b: number) => {
    const dot = (x: Float64Array, y: Float64Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
    const [x, y] = [vectors[a]!, vectors[b]!];
    return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
  };

  it("cosine and angular are of one vector", () => {
    expectPairs(expertWeightSimilarity(checkpoint, LAYER).values, cosine, 1e-9);
    const { values, null: chance } = expertWeightSimilarity(checkpoint, LAYER, "angular");
    expectPairs(values, (a, b) => 1 - Math.acos(Math.min(1, cosine(a, b))) / Math.PI, 1e-6);
    expect(chance[1]).toBe(0.5);
  });

  it("jsd is of the softmax of both vectors", () => {
    const softmax = (x: Float64Array) => {
      const total = x.reduce((sum, value) => sum + Math.exp(value), 0);
      return x.map((value) => Math.exp(value) / total);
    };
    const { values, null: chance } = expertWeightSimilarity(checkpoint, LAYER, "jsd");
    const own = (a: number, b: number) => jensenShannon([softmax(vectors[a]!), softmax(vectors[b]!)], [1, 1]);
    // The reference subtracts entropies of about ln 24,576 = 10, each a sum of as many terms: 1e-12 is left of them.
    expectPairs(values, own, 1e-12);
    expect(values[1]).toBeGreaterThan(1e-5);
    expect(Math.abs(chance[1]! / values[1]! - 1)).toBeLessThan(0.2);
  });

  it("cka has hidden dimensions as examples and all neurons as features", () => {
    // [hidden, 3 x neurons]
    const features = Array.from({ length: numExperts }, (_, e) => {
      const [gate, up, down] = [matrix(e, "gate"), matrix(e, "up"), matrix(e, "down")];
      const neurons = gate.length / hiddenSize;
      return Float64Array.from({ length: hiddenSize * 3 * neurons }, (_, i) => {
        const [h, f] = [Math.floor(i / (3 * neurons)), i % (3 * neurons)];
        if (f < 2 * neurons) return (f < neurons ? gate : up)[(f % neurons) * hiddenSize + h]!;
        return down[h * neurons + (f % neurons)]!;
      });
    });
    const width = features[0]!.length / hiddenSize;
    const { values, null: chance } = expertWeightSimilarity(checkpoint, LAYER, "cka");
    expectPairs(values, (a, b) => linearCka(features[a]!, features[b]!, width), 1e-9);
    expect(chance[0]).toBeNaN();
    // Random weights: nothing beyond the null.
    expect(Math.abs(values[1]! - chance[1]!)).toBeLessThan(0.1);
    const some = expertWeightSimilarity(checkpoint, LAYER, "cka", { maxDimensions: 16 }).values;
    expect(some[1]).not.toBe(values[1]);
    expect(some[0]).toBeCloseTo(1, 9);
  });

  it.each(WEIGHT_MEASURES)("refuses a dense layer, and %s is symmetric", (measure) => {
    const { values } = expertWeightSimilarity(checkpoint, LAYER, measure);
    expect(values[1]).toBe(values[numExperts]);
    expect(() => expertWeightSimilarity(checkpoint, 99, measure)).toThrow("Expected an MoE layer for layer, got 99");
  });

  it("refuses a measure that is none", () => {
    expect(() => expertWeightSimilarity(checkpoint, LAYER, "size" as "cka")).toThrow(
      'Expected cosine, angular, jsd, cka for measure, got "size".',
    );
  });
});
