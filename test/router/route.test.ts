import { describe, expect, it } from "vitest";
import { bias, force, mask, replay, swap, topK, zero } from "../../src/router/intervention-builders.js";
import { checkInterventions } from "../../src/router/intervention-check.js";
import { resolveRoutes } from "../../src/router/interventions.js";
import { assertRouteFits, type RecordedRoute } from "../../src/router/route.js";
import { METADATA, promptRun, syntheticTrace } from "./synthetic-trace.js";

describe("a replayed route", () => {
  const route = syntheticTrace([promptRun(6, 2)]).route();

  it("comes from consecutive positions of a trace", () => {
    expect(route).toMatchObject({ start: 2, k: 2, layers: [1, 3] });
    const gap = syntheticTrace([promptRun(2), promptRun(2, 5)]);
    expect(() => gap.route()).toThrow("got position 5 after 1.");
    expect(() => gap.slice(0, 0).route()).toThrow("at least one token");
  });

  it.each<[string, object, Partial<RecordedRoute>, string]>([
    ["does not record a layer", { layers: "all" }, { layers: [1, 2] }, "that records layer 3, it records 1, 2."],
    ["has another k", {}, { k: 1 }, "Expected a route of 2 experts per token, got 1 at position 2."],
    ["does not cover the scope", { positions: [4, 12] }, {}, "covers position 8, it covers 2 to 7."],
    ["starts after the scope", { positions: [0, 3] }, {}, "covers position 0, it covers 2 to 7."],
    ["has empty slots", {}, { experts: route.experts.with(6, 65535) }, "got fewer at position 3 of layer 3."],
    ["has unknown experts", {}, { experts: route.experts.with(4, 6) }, "0 to 5, got 6 at position 3 of layer 1."],
  ])("is refused where it %s", (_, options, change, message) => {
    const item = replay({ layers: [1, 3], route: { ...route, ...change }, ...options });
    expect(() => checkInterventions([item], METADATA)).toThrow(message);
  });

  it.each([mask({ layers: [3], experts: [0] }), force({ layers: [3], experts: [0] }), topK({ layers: [3], k: 1 })])(
    "takes no $kind on its layer",
    (other) => {
      const item = replay({ layers: [3], route });
      expect(() => checkInterventions([item, other], METADATA)).toThrow(
        `Layer 3 is replayed, so it takes no ${other.kind}.`,
      );
      const elsewhere = { ...other, positions: [10, 20] as [number, number] };
      const scoped = replay({ layers: [3], route, positions: [2, 8] });
      expect(() => checkInterventions([scoped, elsewhere], METADATA)).not.toThrow();
    },
  );

  it("takes bias, zero and swap, and happens once", () => {
    const others = [
      bias({ layers: [1], bias: { 0: 1 } }),
      zero({ layers: [1], experts: [1] }),
      swap({ layers: [1], from: 0, to: 2 }),
    ];
    const item = replay({ layers: [1], route });
    expect(() => checkInterventions([item, ...others], METADATA)).not.toThrow();
    expect(() => checkInterventions([item, item], METADATA)).toThrow("Layer 1 is replayed 2 times, once is possible.");
  });

  it("names the first position where the text differs", () => {
    const text = Int32Array.of(7, 8, ...route.tokenIds);
    expect(() => assertRouteFits(route, text, 0, [2, 8])).not.toThrow();
    expect(() => assertRouteFits(route, text, 0)).toThrow("covers positions 2 to 7, the text has position 0.");
    expect(() => assertRouteFits(route, [102, 9, 104], 2)).toThrow("has token 103 at position 3, the text has 9.");
    expect(() => assertRouteFits(route, text, 0, [6, 20])).not.toThrow();
    expect(() => assertRouteFits(route, [...text, 1], 0, [6, 20])).toThrow("the text has position 8.");
  });

  it("is loaded by name, once per name", async () => {
    let loads = 0;
    const named = [1, 3].map((layer) => replay({ layers: [layer], route: "r.parquet" }));
    const resolved = await resolveRoutes([...named, topK({ layers: [1], k: 1 })], async () => {
      loads++;
      return route;
    });
    expect(loads).toBe(1);
    expect(resolved[1]).toEqual({ ...named[1], route });
  });
});
