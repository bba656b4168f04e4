/** Random numbers, random tables, bootstrap and nulls: against closed forms and enumeration. */

import { describe, expect, it } from "vitest";
import { documentBootstrap } from "../../src/analysis/bootstrap.js";
import { marginsOf, mutualInformation } from "../../src/analysis/information.js";
import { loadCv } from "../../src/analysis/load-balance.js";
import { expectedSquaredCv, uniformNull } from "../../src/analysis/load-metrics.js";
import { groupsOf, shuffleWithin, signFlipPValue } from "../../src/analysis/permutation.js";
import { Random } from "../../src/analysis/random.js";
import { fillRandomTable, hypergeometric } from "../../src/analysis/random-table.js";

describe("random numbers", () => {
  it("repeat with the seed and differ without", () => {
    const draw = (seed: number) => Array.from({ length: 5 }, () => new Random(seed).next());
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it("are uniform: mean, and every sixth", () => {
    const random = new Random(5);
    const n = 60_000;
    const counts = new Float64Array(6);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      sum += random.next();
      counts[random.below(6)]!++;
    }
    // Five standard errors: sd of a uniform number is sqrt(1/12), of a count sqrt(n 5/36).
    expect(Math.abs(sum / n - 0.5)).toBeLessThan(5 * Math.sqrt(1 / 12 / n));
    for (const count of counts) expect(Math.abs(count - n / 6)).toBeLessThan(5 * Math.sqrt((n * 5) / 36));
  });

  it("shuffle into each order equally often", () => {
    const random = new Random(9);
    const seen = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const values = [0, 1, 2];
      random.shuffle(values);
      seen.set(values.join(""), (seen.get(values.join("")) ?? 0) + 1);
    }
    expect(seen.size).toBe(6);
    for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(5 * Math.sqrt((6000 * 5) / 36));
  });

  it("shuffle labels inside their stratum alone", () => {
    const labels = Uint8Array.of(1, 1, 0, 0, 1, 0);
    const groups = groupsOf([0, 1, 0, 1, 0, 1]);
    for (let seed = 0; seed < 20; seed++) {
      shuffleWithin(labels, groups, new Random(seed));
      expect(labels[0]! + labels[2]! + labels[4]!).toBe(2);
      expect(labels[1]! + labels[3]! + labels[5]!).toBe(1);
    }
  });
});

describe("random tables", () => {
  it("draw hypergeometric cells: the shares of all outcomes", () => {
    const choose = (n: number, k: number): number => (k === 0 ? 1 : (choose(n - 1, k - 1) * n) / k);
    const random = new Random(2);
    const [good, bad, draws, n] = [5, 7, 4, 40_000];
    const counts = new Float64Array(5);
    for (let i = 0; i < n; i++) counts[hypergeometric(good, bad, draws, random)]!++;
    for (let k = 0; k <= 4; k++) {
      const p = (choose(good, k) * choose(bad, draws - k)) / choose(good + bad, draws);
      expect(Math.abs(counts[k]! / n - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
    }
  });

  it("keep large counts at their mean and spread", () => {
    const random = new Random(4);
    const [good, bad, draws, n] = [2e6, 3e6, 1e6, 2000];
    const values = Array.from({ length: n }, () => hypergeometric(good, bad, draws, random));
    const total = good + bad;
    const variance = (draws * (good / total) * (bad / total) * (total - draws)) / (total - 1);
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    const spread = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
    expect(Math.abs(mean - (draws * good) / total)).toBeLessThan(5 * Math.sqrt(variance / n));
    expect(Math.abs(spread / variance - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
  });

  it("have the margins, and the information of shuffled labels", () => {
    const rows = Uint8Array.from({ length: 120 }, (_, i) => (i * i) % 4);
    const columns = Uint8Array.from({ length: 120 }, (_, i) => (i * 7) % 5);
    const tableOf = (b: Uint8Array) => {
      const table = new Float64Array(20);
      for (const [i, row] of rows.entries()) table[row * 5 + b[i]!]!++;
      return table;
    };
    const { rowSums, columnSums } = marginsOf(tableOf(columns), 5);
    const random = new Random(6);
    const table = new Float64Array(20);
    let drawn = 0;
    let shuffled = 0;
    let squares = 0;
    const n = 3000;
    for (let i = 0; i < n; i++) {
      fillRandomTable(rowSums, columnSums, random, table);
      if (i < 20) {
        expect(marginsOf(table, 5).rowSums).toEqual(rowSums);
        expect(marginsOf(table, 5).columnSums).toEqual(columnSums);
      }
      drawn += mutualInformation(table, 5) / n;
      random.shuffle(columns);
      const information = mutualInformation(tableOf(columns), 5);
      shuffled += information / n;
      squares += information ** 2 / n;
    }
    expect(Math.abs(drawn - shuffled)).toBeLessThan(5 * Math.sqrt((2 * (squares - shuffled ** 2)) / n));
  });
});

describe("bootstrap", () => {
  it("has the analytic standard error of a mean", () => {
    const values = Array.from({ length: 50 }, (_, i) => (i * 13) % 17);
    const mean = values.reduce((sum, value) => sum + value, 0) / 50;
    const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 50);
    const { se, mean: centre } = documentBootstrap(50, (weights) => [
      values.reduce((sum, value, i) => sum + value * weights[i]!, 0) / 50,
    ]);
    // 2000 resamples: the standard error of a standard error is 1/sqrt(2 B) of it, 1.6 %.
    expect(Math.abs(se[0]! / (sd / Math.sqrt(50)) - 1)).toBeLessThan(0.08);
    expect(Math.abs(centre[0]! - mean)).toBeLessThan(5 * (sd / Math.sqrt(50 * 2000)));
  });

  it("gives NaN for one document, and where the statistic is undefined in a resample", () => {
    expect(documentBootstrap(1, () => [3]).lower[0]).toBeNaN();
    const { upper } = documentBootstrap(2, ([a, b]) => [b! / a!, b! / 2], { resamples: 50 });
    expect(upper[0]).toBeNaN();
    expect(upper[1]).toBe(1);
  });

  it("refuses a resample with an unknown document", () => {
    expect(() => documentBootstrap(3, () => [0], { resamples: [[0, 1, 3]] })).toThrow(
      "Expected documents from 0 to 2 for resamples, got 3 (number).",
    );
  });
});

describe("uniform tokens", () => {
  // Token by token below 16,384 tokens, from the normal limit above.
  it.each([40, 5000, 100_000])("have the expected squared spread of their load: %i tokens", (numTokens) => {
    const shape = { numExperts: 12, numExpertsPerToken: 3, numTokens };
    const draws = numTokens > 16_384 ? 4000 : 500;
    const { mean, sd } = uniformNull((counts) => loadCv(counts) ** 2, shape, { draws });
    expect(Math.abs(mean - expectedSquaredCv(shape))).toBeLessThan((5 * sd) / Math.sqrt(draws));
  });
});

describe("random signs of paired differences", () => {
  /** Share of all 2^n sums of whole numbers that are at least as far from 0, counted sum by sum. */
  const exact = (differences: readonly number[]) => {
    let ways = new Map([[0, 1]]);
    for (const value of differences) {
      const after = new Map<number, number>();
      for (const [sum, count] of ways) {
        for (const next of [sum + value, sum - value]) after.set(next, (after.get(next) ?? 0) + count);
      }
      ways = after;
    }
    const observed = Math.abs(differences.reduce((sum, value) => sum + value, 0));
    const beyond = [...ways].reduce((sum, [at, count]) => sum + (Math.abs(at) >= observed ? count : 0), 0);
    return beyond / 2 ** differences.length;
  };

  it("are counted in full where they are few, and drawn with the +1 where they are many", () => {
    expect(signFlipPValue([1, 2, 3])).toBe(0.25);
    expect(signFlipPValue([1, 0, 2, 3])).toBe(0.25);
    const few = [5, -2, 3, 4, -1, 6, 2];
    expect(signFlipPValue(few)).toBe(exact(few));
    const many = [5, -2, 3, 4, -1, 6, 2, 3, -4, 1, 2, -3, 5, 1, 2, -1];
    const p = exact(many);
    const permutations = 9999;
    const error = 5 * Math.sqrt((p * (1 - p)) / permutations) + 1 / (permutations + 1);
    expect(Math.abs(signFlipPValue(many, { permutations }) - p)).toBeLessThan(error);
    expect(signFlipPValue(Array.from({ length: 60 }, () => 1))).toBe(1 / 10_000);
    expect(signFlipPValue([])).toBeNaN();
    expect(() => signFlipPValue([1, Number.NaN])).toThrow("differences");
  });
});
