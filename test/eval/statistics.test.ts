import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  bootstrapInterval,
  clusteredStandardError,
  macroStandardError,
  mcnemarExact,
  mcnemarOfItems,
  mean,
  normalInterval,
  pairedStandardError,
  passAtK,
  pooledStandardError,
  quantile,
  standardError,
  wilson,
} from "../../src/eval/statistics.js";
import { shared, skipReason } from "./shared.js";

// biome-ignore lint/suspicious/noExplicitAny: the arguments differ by function
type Args = any;
interface Case {
  id: string;
  fn: string;
  args: Args;
  expect: Record<string, unknown>;
  tol: string;
}

const FUNCTIONS: Record<string, (a: Args) => Record<string, unknown>> = {
  mean: (a) => ({ value: mean(a.x) }),
  se: (a) => ({ value: standardError(a.x) }),
  clustered_se: (a) => ({ value: clusteredStandardError(a.x, a.cluster) }),
  paired_se: (a) => ({ value: pairedStandardError(a.a, a.b) }),
  mcnemar_exact: (a) => ({ value: mcnemarExact(a.b, a.c) }),
  mcnemar_exact_items: (a) => {
    const { b, c, p } = mcnemarOfItems(a.a, a.b);
    return { value: p, b, c };
  },
  wilson: (a) => ({ interval: wilson(a.successes, a.n, a.level) }),
  bootstrap_ci: (a) => ({ interval: bootstrapInterval(a.x, { level: a.level, resamples: 20_000, seed: 7 }) }),
  quantile: (a) => ({ value: quantile(a.x, a.q) }),
  pass_at_k: (a) => ({ value: passAtK(a.n, a.c, a.k) }),
};

const cases: Case[] = skipReason ? [] : JSON.parse(readFileSync(shared("golden/metrics/stats.json"), "utf8")).cases;

describe("golden/metrics/stats.json", () => {
  it.skipIf(skipReason)(`has cases for every function here${skipReason}`, () => {
    for (const name of Object.keys(FUNCTIONS))
      expect(cases.filter((c) => c.fn === name).length, name).toBeGreaterThan(0);
  });

  it.each(cases.filter((c) => c.fn in FUNCTIONS).map((c) => [c.id, c] as const))("%s", (_id, c) => {
    const run = () => FUNCTIONS[c.fn]!(revive(c.args));
    if (c.expect.error) {
      expect(run).toThrow(/^Expected /);
      return;
    }
    const actual = run();
    const expected = revive(c.expect) as Record<string, Args>;
    if (c.tol === "band") {
      expectWithin(actual.interval as number[], expected.lower_within, expected.upper_within);
    } else if (c.tol === "stated") {
      // Stated for one run of 10,000 resamples; 20,000 scatter less.
      expected.interval.forEach((end: number, i: number) => {
        expect(Math.abs((actual.interval as number[])[i]! - end)).toBeLessThanOrEqual(expected.tolerance[i]);
      });
    } else {
      for (const [key, value] of Object.entries(expected)) expectClose(actual[key] as Args, value, 1e-9);
    }
  });
});

describe("what the goldens do not hold", () => {
  it("gives McNemar's p where 0.5^n is below the smallest double", () => {
    // 2 sum(C(2000, i), i <= 900) / 2^2000 in exact rational arithmetic.
    expect(Math.abs(mcnemarExact(900, 1100) / 8.457089535503927e-6 - 1)).toBeLessThan(1e-11);
  });

  it("pools the standard errors of equal groups to the one of all items", () => {
    // Two groups with equal means: the pooled variance is the within-group variance.
    const groups = [
      { n: 4, stderr: 0.25 },
      { n: 4, stderr: 0.25 },
    ];
    expect(pooledStandardError(groups)).toBeCloseTo(Math.sqrt(0.25 / 8), 15);
    expect(macroStandardError([0.3, 0.4])).toBeCloseTo(0.25, 15);
    expect(pooledStandardError([{ n: 1, stderr: Number.NaN }, groups[0]!])).toBeNaN();
  });

  it("gives the normal interval at any level", () => {
    // CPython 3.11.7, statistics.NormalDist().inv_cdf(0.95) and (0.9995)
    expect(normalInterval(0, 1, 0.9)[1]).toBeCloseTo(1.6448536269514715, 12);
    expect(normalInterval(0, 1, 0.999)[1]).toBeCloseTo(3.2905267314919255, 12);
  });
});

function revive(value: unknown): Args {
  return JSON.parse(JSON.stringify(value), (_, v) => (v === "NaN" ? Number.NaN : v));
}

function expectClose(actual: number | number[], expected: number | number[], tol: number): void {
  if (Array.isArray(expected)) {
    expected.forEach((value, i) => {
      expectClose((actual as number[])[i]!, value, tol);
    });
  } else if (Number.isNaN(expected)) {
    expect(actual).toBeNaN();
  } else {
    expect(Math.abs((actual as number) - expected)).toBeLessThanOrEqual(tol + tol * Math.abs(expected));
  }
}

function expectWithin(interval: number[], lower: number[], upper: number[]): void {
  expect(interval[0]).toBeGreaterThanOrEqual(lower[0]!);
  expect(interval[0]).toBeLessThanOrEqual(lower[1]!);
  expect(interval[1]).toBeGreaterThanOrEqual(upper[0]!);
  expect(interval[1]).toBeLessThanOrEqual(upper[1]!);
}
