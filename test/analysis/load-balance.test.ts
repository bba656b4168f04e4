/** Load figures where they are known without a computer: even use, and k experts that take every token. */

import { describe, expect, it } from "vitest";
import { deadFractionRarefied, oversubscribedFraction } from "../../src/analysis/load-balance.js";
import { LOAD_METRICS } from "../../src/analysis/load-metrics.js";

describe.each([
  [64, 8],
  [60, 4],
  [8, 2],
])("%i experts, %i per token", (numExperts, numExpertsPerToken) => {
  const numTokens = 1000 * numExperts;
  const shape = { numExperts, numExpertsPerToken, numTokens };
  const even = new Float64Array(numExperts).fill((numTokens * numExpertsPerToken) / numExperts);
  const concentrated = new Float64Array(numExperts).fill(numTokens, 0, numExpertsPerToken);

  it.each(Object.entries(LOAD_METRICS))("%s stays between the ends that it states", (_name, metric) => {
    const { of, floor = () => Number.NEGATIVE_INFINITY, ceiling = () => Number.POSITIVE_INFINITY, uniform } = metric;
    const atEven = of(even, numExpertsPerToken);
    const atConcentrated = of(concentrated, numExpertsPerToken);
    if (uniform !== undefined) expect(atEven).toBeCloseTo(uniform(shape), 10);
    for (const value of [atEven, atConcentrated]) {
      expect(value).toBeGreaterThanOrEqual(floor(shape) - 1e-12);
      expect(value).toBeLessThanOrEqual(ceiling(shape) + 1e-12);
    }
    // The two are the ends, so a stated end that cannot be reached is wrong.
    const [low, high] = [Math.min(atEven, atConcentrated), Math.max(atEven, atConcentrated)];
    if (metric.floor !== undefined) expect(low).toBeCloseTo(floor(shape), 10);
    if (metric.ceiling !== undefined) expect(high).toBeCloseTo(ceiling(shape), 10);
  });

  it("has NaN for a layer without tokens", () => {
    const none = new Float64Array(numExperts);
    for (const { of } of Object.values(LOAD_METRICS)) expect(of(none, numExpertsPerToken)).toBeNaN();
  });
});

describe("single figures", () => {
  it("an exactly even expert is not oversubscribed, whatever the division rounds to", () => {
    for (let numExperts = 2; numExperts < 130; numExperts++) {
      for (const count of [1, 3, 7, 10, 49]) {
        expect(oversubscribedFraction(new Float64Array(numExperts).fill(count))).toBe(0);
      }
    }
  });

  it("rarefaction: by enumeration of all pairs of 4 tokens", () => {
    // Tokens chose {0}, {0}, {1}, {0}; of the 6 pairs, expert 0 is missing in none and expert 1 in 3.
    expect(deadFractionRarefied([3, 1], 4, 2)).toBeCloseTo((0 + 3 / 6) / 2, 12);
    expect(deadFractionRarefied([3, 1], 4, 4)).toBe(0);
    expect(deadFractionRarefied([4, 0], 4, 2)).toBe(0.5);
    expect(deadFractionRarefied([3, 1], 4, 5)).toBeNaN();
  });
});
