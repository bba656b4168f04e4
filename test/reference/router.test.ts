/** What the goldens do not reach: exact ties, forced slots, scopes by origin and segment. Values by hand. */

import { describe, expect, it } from "vitest";
import { type Change, select, type TokenPlace } from "./router.js";

const PLACE: TokenPlace = { position: 3, origin: "generated", segment: "choice" };
const LN2 = Math.LN2;

function choose(logits: number[], topK: number, changes: Change[] = [], renormalise = false) {
  return select(Float64Array.from(logits), { topK, renormalise }, 0, PLACE, changes);
}

describe("select", () => {
  it("gives ties to the lower index, at the boundary and between slots", () => {
    expect(choose([1, 2, 2, 1, 1], 3)).toMatchObject({ experts: [1, 2, 0], margin: 0 });
    expect(choose([0, 0, 0, 0], 2).weights).toEqual([0.25, 0.25]);
  });

  it("keeps the softmax over all experts unless it renormalises", () => {
    expect(choose([LN2, 0, 0, 0], 2).weights).toEqual([expect.closeTo(0.4, 12), expect.closeTo(0.2, 12)]);
    expect(choose([LN2, 0, 0, 0], 2, [], true).weights).toEqual([expect.closeTo(2 / 3, 12), expect.closeTo(1 / 3, 12)]);
  });

  it("seats a forced expert by its logit, in the place of the weakest", () => {
    const force = { kind: "force", layers: [0], experts: [3] };
    expect(choose([3, 2, 1, 0], 2, [force])).toMatchObject({ experts: [0, 3], margin: 1, intervened: true });
  });

  it("lets the others share the mass of a masked expert, and its margin is infinite where none is left", () => {
    const mask = { kind: "mask", layers: "all" as const, experts: [0, 2] };
    const selection = choose([9, LN2, 9, 0], 2, [mask]);
    expect(selection.experts).toEqual([1, 3]);
    expect(selection.weights).toEqual([expect.closeTo(2 / 3, 12), expect.closeTo(1 / 3, 12)]);
    expect(selection.margin).toBe(Number.POSITIVE_INFINITY);
  });

  it("zeroes by the selected id and runs swapped experts side by side", () => {
    const changes = [
      { kind: "zero", layers: [0], experts: [1, "shared" as const] },
      { kind: "swap", layers: [0], from: 0, to: 1 },
      { kind: "swap", layers: [0], from: 1, to: 0 },
    ];
    const selection = choose([1, 0, -9], 2, changes);
    expect(selection).toMatchObject({ experts: [0, 1], run: [1, 0], runsShared: false });
    expect(selection.weights[1]).toBe(0);
    expect(selection.weights[0]).toBeGreaterThan(0.7);
  });

  it.each<[string, Partial<Change>, boolean]>([
    ["its last position", { positions: [0, 4] }, true],
    ["the position after the range", { positions: [0, 3] }, false],
    ["its origin", { origin: "generated" }, true],
    ["another origin", { origin: "prompt" }, false],
    ["its segment", { segments: ["question", "choice"] }, true],
    ["another segment", { segments: ["question"] }, false],
    ["another layer", { layers: [1] }, false],
  ])("acts on %s: %o", (_, scope, acts) => {
    const selection = choose([1, 0], 1, [{ kind: "force", layers: [0], experts: [1], ...scope }]);
    expect(selection.intervened).toBe(acts);
    expect(selection.experts).toEqual([acts ? 1 : 0]);
  });
});
