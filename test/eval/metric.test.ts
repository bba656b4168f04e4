import { describe, expect, it } from "vitest";
import { type Metric, metricRows, type Verdict } from "../../src/index.js";

const groups = {
  name: "all",
  children: [{ name: "a" }, { name: "pair", children: [{ name: "b" }, { name: "c" }] }, { name: "none" }],
};
const metric = (average: Metric["average"]): Metric => ({ name: "m", scorer: "m", average });
const verdict = (value: number | null, answer: string | null = "x"): Verdict => ({ value, answer });
const verdicts = [
  ...[1, 0, 1, 1].map((v) => ({ group: "a", verdict: verdict(v) })),
  ...[0, 0].map((v) => ({ group: "b", verdict: verdict(v, null) })),
  ...[1, 1, 0].map((v) => ({ group: "c", verdict: verdict(v) })),
  { group: "c", verdict: verdict(null) },
];

describe("metricRows", () => {
  it("weighs groups by size or alike, over leaves at every depth, and leaves out groups without samples", () => {
    const micro = metricRows(metric("micro"), groups, verdicts);
    expect(micro.map((row) => [row.path.join("/"), row.isLeaf, row.estimate.n])).toEqual([
      ["", false, 9],
      ["a", true, 4],
      ["pair", false, 5],
      ["pair/b", true, 2],
      ["pair/c", true, 3],
    ]);
    expect(micro[0]!.estimate.value).toBeCloseTo(5 / 9, 15);
    const macro = metricRows(metric("macro"), groups, verdicts);
    expect(macro[0]!.estimate.value).toBeCloseTo((3 / 4 + 0 + 2 / 3) / 3, 15);
  });

  it("tells what was not found and what was not scored from what is wrong", () => {
    expect(metricRows(metric("micro"), groups, verdicts)[0]!.estimate).toMatchObject({
      n: 9,
      noAnswer: 2,
      unscored: 1,
    });
  });

  it("gives Wilson's interval only to 0/1 scores weighted by size", () => {
    const [whole] = metricRows(
      metric("micro"),
      { name: "" },
      [0.5, 0.75].map((v) => ({ group: "", verdict: verdict(v) })),
    );
    // Mean 0.625, sd 0.1768, SE 0.125.
    expect(whole!.estimate.interval[1]).toBeCloseTo(0.625 + 1.959963984540054 * 0.125, 12);
    const [binary] = metricRows(
      metric("micro"),
      { name: "" },
      [1, 1].map((v) => ({ group: "", verdict: verdict(v) })),
    );
    expect(binary!.estimate.interval[1]).toBe(1);
    expect(binary!.estimate.interval[0]).toBeCloseTo(0.3423802275066532, 12);
  });

  it("has no value for nothing and no error for one sample, and a group with such a leaf has none", () => {
    const [nothing] = metricRows(metric("micro"), { name: "" }, []);
    expect(nothing!.estimate).toMatchObject({ value: Number.NaN, stderr: Number.NaN, n: 0 });
    const single = metricRows(metric("micro"), groups, [...verdicts.slice(0, 4), { group: "b", verdict: verdict(1) }]);
    expect(single[0]!.estimate).toMatchObject({ value: 0.8, stderr: Number.NaN, n: 5 });
  });
});
