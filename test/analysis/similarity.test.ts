/** Similarity of outputs and gate ratios against slow formulas on numbers made by hand. */

import { describe, expect, it } from "vitest";
import { GateRatios } from "../../src/analysis/dynamic-skip.js";
import { linearCka, outputSimilarity } from "../../src/analysis/similarity.js";
import { VocabularySpecialization } from "../../src/analysis/vocabulary.js";
import { promptRun, randomNumbers, syntheticTrace } from "../router/synthetic-trace.js";

const WIDTH = 3;
const next = randomNumbers(4);
const x = Float64Array.from({ length: 5 * WIDTH }, () => next() - 0.5);
const y = Float64Array.from({ length: 5 * WIDTH }, () => next() - 0.5);
const rows = (m: Float64Array) => Array.from({ length: 5 }, (_, t) => [...m.subarray(t * WIDTH, (t + 1) * WIDTH)]);
const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
const cos = (a: number[], b: number[]) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const meanOf = (of: (a: number[], b: number[]) => number) => mean(rows(x).map((row, t) => of(row, rows(y)[t]!)));

describe("similarity of outputs", () => {
  it("is the formula, row by row", () => {
    const off = (row: number[]) => row.map((value) => value - mean(row));
    expect(outputSimilarity(x, y, WIDTH, "cosine")).toBeCloseTo(meanOf(cos), 14);
    expect(outputSimilarity(x, y, WIDTH, "angular")).toBeCloseTo(
      meanOf((a, b) => 1 - Math.acos(cos(a, b)) / Math.PI),
      14,
    );
    expect(outputSimilarity(x, y, WIDTH, "centred-cosine")).toBeCloseTo(
      meanOf((a, b) => cos(off(a), off(b))),
      14,
    );
    const softmax = (row: number[]) => row.map((value) => Math.exp(value) / row.reduce((s, v) => s + Math.exp(v), 0));
    const kl = (p: number[], q: number[]) => p.reduce((sum, value, i) => sum + value * Math.log(value / q[i]!), 0);
    const jsd = meanOf((a, b) => {
      const [p, q] = [softmax(a), softmax(b)];
      const m = p.map((value, i) => (value + q[i]!) / 2);
      return (kl(p, m) + kl(q, m)) / 2;
    });
    expect(outputSimilarity(x, y, WIDTH, "jsd")).toBeCloseTo(jsd, 14);
    expect(jsd).toBeGreaterThan(0);
  });

  it("by CKA is that of the cross-covariances, and sees neither scale, shift nor rotation", () => {
    const column = (m: Float64Array, i: number) => {
      const values = rows(m).map((row) => row[i]!);
      return values.map((value) => value - mean(values));
    };
    const squares = (a: Float64Array, b: Float64Array) =>
      [0, 1, 2].reduce((sum, i) => sum + [0, 1, 2].reduce((s, j) => s + dot(column(a, i), column(b, j)) ** 2, 0), 0);
    const expected = squares(x, y) / Math.sqrt(squares(x, x) * squares(y, y));
    expect(linearCka(x, y, WIDTH)).toBeCloseTo(expected, 13);
    expect(expected).toBeLessThan(0.99);
    const turned = Float64Array.from(rows(x).flatMap(([a, b, c]) => [3 * b! + 1, -3 * a! + 2, 3 * c!]));
    expect(linearCka(x, turned, WIDTH)).toBeCloseTo(1, 13);
    expect(outputSimilarity(x, turned, WIDTH, "cosine")).toBeLessThan(0.9);
  });

  it("refuses matrices of unequal size", () => {
    expect(() => outputSimilarity(x, y.subarray(3), WIDTH, "cosine")).toThrow("got 15 and 12 numbers");
    expect(() => outputSimilarity(x, y, 4, "cka")).toThrow("as many rows of 4 numbers");
  });
});

describe("gate ratios", () => {
  const traces = ["a", "b", "c"].map((sampleId, i) =>
    syntheticTrace([promptRun(5 + 4 * i, 0, { key: { sampleId } })], { seed: i + 1 }),
  );
  const slow = (layer: number) =>
    traces.flatMap((trace) =>
      Array.from({ length: trace.numTokens }, (_, token) => {
        const slot = (token * trace.layers.length + layer) * trace.topK;
        return trace.columns.topkWeights[slot + 1]! / trace.columns.topkWeights[slot]!;
      }),
    );

  it("have the median over tokens, and the share below a threshold with an interval", () => {
    const ratios = new GateRatios();
    for (const trace of traces) ratios.add(trace);
    const thresholds = ratios.median();
    const skipped = ratios.skippedShare(thresholds);
    const quarter = ratios.skippedShare(thresholds.map(() => 0.25));
    for (const layer of ratios.shape.layers.keys()) {
      const sorted = slow(layer).sort((a, b) => a - b);
      expect(sorted).toHaveLength(27);
      expect(thresholds[layer]).toBe(sorted[13]);
      expect(skipped.values[layer]).toBe(13 / 27);
      expect(quarter.values[layer]).toBe(sorted.filter((ratio) => ratio < 0.25).length / 27);
      expect(skipped.lower[layer]).toBeLessThan(13 / 27);
      expect(skipped.upper[layer]).toBeGreaterThan(13 / 27);
    }
    expect(() => ratios.skippedShare([0.5])).toThrow("one for each MoE layer");
  });
});

describe("vocabulary by a given id", () => {
  it("is that of the named ids where the function names them", () => {
    const trace = syntheticTrace([promptRun(40)], { seed: 3 });
    const own = new VocabularySpecialization(({ columns }, token) => columns.tokenIds[token]).add(trace);
    const all = new VocabularySpecialization(() => 7).add(trace);
    const none = new VocabularySpecialization(() => undefined).add(trace);
    expect(own.specialization()).toEqual(new VocabularySpecialization("input").add(trace).specialization());
    expect(all.ids()).toBe(1);
    expect(none.ids()).toBe(0);
  });
});
