/** Medians, spreads and paired ratios, against figures worked out by hand. */
import { describe, expect, it } from "vitest";
import { pairedRatios, spreadOf } from "../../../src/cli/bench/spread.js";

describe("a spread", () => {
  it("has median, ends and quartiles", () => {
    // Of 1 2 4 8 16 32 64 the quartiles lie at places 1.5 and 4.5: 3 and 24.
    expect(spreadOf([8, 1, 64, 2, 32, 4, 16])).toEqual({
      ...{ median: 8, min: 1, max: 64, iqr: 21 },
      values: [8, 1, 64, 2, 32, 4, 16],
    });
    expect(spreadOf([3, 1])).toMatchObject({ median: 2, min: 1, max: 3 });
    expect(spreadOf([5])).toMatchObject({ median: 5, iqr: 0 });
    expect(spreadOf([])).toBeNull();
  });

  it("compares pair by pair, more being better", () => {
    expect(pairedRatios([10, 30], [5, 60], false)).toEqual([2, 0.5]);
    expect(pairedRatios([10, 30], [5, 60], true)).toEqual([0.5, 2]);
    // A peer that gave fewer figures is compared where it gave them.
    expect(pairedRatios([1, 2, 3], [4], false)).toEqual([0.25]);
  });
});
