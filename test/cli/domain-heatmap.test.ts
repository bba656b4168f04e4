import { describe, expect, it } from "vitest";
import { domainHeatmap } from "../../src/cli/domain-heatmap.js";
import { ExpertLoad } from "../../src/router/expert-load.js";

/** Loads of `numExperts` experts in layers 0 and 12; domain i sends every token of layer 0 to expert i. */
function domains(count: number, numExperts: number) {
  return Array.from({ length: count }, (_, i) => {
    const counts = new Float64Array(2 * numExperts).fill(5, numExperts);
    counts[i] = 5 * numExperts;
    return { name: `domain${i}`, load: new ExpertLoad(counts, [0, 12], numExperts) };
  });
}

describe("expert load by domain", () => {
  it("has a block of cells for each domain under its name", () => {
    const [names, first, second, legend] = domainHeatmap(domains(2, 4)).split("\n");
    expect(names).toBe("           domain0   domain1");
    expect(first).toBe("layer   0 │██      │   ██    │");
    expect(second).toBe("layer  12 │▒▒▒▒▒▒▒▒│ ▒▒▒▒▒▒▒▒│");
    expect(legend).toBe("one cell per expert; blank = idle, █ = 2.5 times the even share or more");
  });

  it("pools experts until the blocks fit the width", () => {
    for (const width of [60, 80, 300]) {
      const [, row, , legend] = domainHeatmap(domains(4, 64), { width }).split("\n");
      expect(row!.length).toBeLessThanOrEqual(width);
      expect(legend!.startsWith("each cell")).toBe(width < 300);
    }
  });

  it("says where there are no experts", () => {
    expect(domainHeatmap([])).toBe("This model has no routed experts.");
  });
});
