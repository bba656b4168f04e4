import { describe, expect, it } from "vitest";
import { ablate, bias, force, mask, on, replay, swap, topK, zero } from "../../src/router/intervention-builders.js";
import { parseInterventions } from "../../src/router/interventions.js";

describe("parseInterventions", () => {
  it("accepts every form of the contract, alone or in a list", () => {
    const forms = [
      { kind: "zero", layers: [1], experts: [0, "shared"] },
      { kind: "mask", layers: "all", experts: [0, 3], positions: [10, 20] },
      { kind: "swap", layers: [1], from: 3, to: 5, origin: "generated" },
      { kind: "bias", layers: [0], bias: { "2": 1.5, "6": -0.75 }, segments: ["question"] },
      { kind: "force", layers: [0, 1], experts: [4] },
      { kind: "top-k", layers: [0], k: 1 },
      { kind: "replay", layers: [0], weights: "recorded", route: "runs/a/trace/part-00000.parquet" },
      { kind: "callback", layers: [0], hook: "router.logits", id: "my-probe", version: "1" },
    ];
    expect(parseInterventions(JSON.parse(JSON.stringify(forms)))).toEqual(forms);
    expect(parseInterventions(forms[1])).toEqual([forms[1]]);
  });

  it.each<[unknown, string]>([
    [3, "Expected an intervention object for --intervene, got 3 (number)."],
    [[null], "Expected an intervention object for --intervene[0], got null."],
    [{ kind: "drop" }, "Expected one of zero, mask, swap, bias, force, top-k, replay, callback for --intervene.kind"],
    [{ kind: "toString" }, 'for --intervene.kind, got "toString".'],
    [{ kind: "mask", layers: [0] }, "Expected expert numbers from 0, at least one"],
    [{ kind: "mask", layers: [0], experts: [] }, "for --intervene.experts, got []."],
    [{ kind: "mask", layers: [0], experts: ["shared"] }, 'for --intervene.experts, got ["shared"].'],
    [{ kind: "mask", layers: [], experts: [1] }, 'Expected layer numbers from 0, at least one, or "all"'],
    [{ kind: "mask", layers: [-1], experts: [1] }, "for --intervene.layers, got [-1]."],
    [{ kind: "mask", layers: [0.5], experts: [1] }, "for --intervene.layers, got [0.5]."],
    [{ kind: "mask", layers: ["0"], experts: [1] }, 'for --intervene.layers, got ["0"].'],
    [{ kind: "mask", layer: [0], experts: [1] }, "for --intervene.layers, got nothing."],
    [
      { kind: "mask", layers: [0], experts: [1], expert: 2 },
      "Expected the fields layers, experts, positions, origin, segments in --intervene of kind mask, got expert.",
    ],
    [{ kind: "bias", layers: [0], bias: {} }, "Expected finite numbers by expert number"],
    [{ kind: "bias", layers: [0], bias: { "01": 1 } }, "for --intervene.bias"],
    [{ kind: "bias", layers: [0], bias: { 1: Number.POSITIVE_INFINITY } }, "for --intervene.bias"],
    [{ kind: "bias", layers: [0], bias: { 1: 1e39 } }, 'got {"1":1e+39}.'],
    [{ kind: "top-k", layers: [0], k: 0 }, "Expected a number of experts from 1 for --intervene.k, got 0."],
    [{ kind: "swap", layers: [0], from: 1 }, "Expected an expert number from 0 for --intervene.to, got nothing."],
    [{ kind: "zero", layers: [0], experts: [1], positions: [5, 5] }, "Expected [start, end) with 0 <= start < end"],
    [{ kind: "zero", layers: [0], experts: [1], positions: [5] }, "for --intervene.positions, got [5]."],
    [{ kind: "zero", layers: [0], experts: [1], origin: "user" }, 'Expected "prompt" or "generated"'],
    [{ kind: "zero", layers: [0], experts: [1], segments: [] }, "Expected names of text parts, at least one"],
    [{ kind: "replay", layers: [0], weights: "model" }, "Expected the name of a stored trace or a recorded route"],
    [{ kind: "replay", layers: [0], weights: "mine", route: "r" }, 'Expected "model" or "recorded"'],
    [{ kind: "callback", layers: [0], hook: "router.probs" }, "Expected one of residual.before, router.input,"],
    [
      [
        { kind: "top-k", layers: [0], k: 1 },
        { kind: "force", layers: [0] },
      ],
      "--intervene[1].experts",
    ],
  ])("refuses %j", (value, message) => {
    expect(() => parseInterventions(value, "--intervene")).toThrow(message);
    expect(() => parseInterventions(value, "--intervene")).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });
});

describe("builders", () => {
  it("return the plain objects", () => {
    const scope = { positions: [1, 2] as [number, number] };
    expect(zero({ layers: [1], experts: ["shared"] })).toEqual({ kind: "zero", layers: [1], experts: ["shared"] });
    expect(mask({ layers: "all", experts: [1], ...scope })).toEqual({
      kind: "mask",
      layers: "all",
      experts: [1],
      ...scope,
    });
    expect(swap({ layers: [1], from: 1, to: 2 })).toEqual({ kind: "swap", layers: [1], from: 1, to: 2 });
    expect(bias({ layers: [1], bias: { 2: 0.5 } })).toEqual({ kind: "bias", layers: [1], bias: { 2: 0.5 } });
    expect(force({ layers: [1], experts: [2] })).toEqual({ kind: "force", layers: [1], experts: [2] });
    expect(topK({ layers: [1], k: 4 })).toEqual({ kind: "top-k", layers: [1], k: 4 });
    expect(replay({ layers: [1], route: "r" })).toEqual({ kind: "replay", layers: [1], route: "r", weights: "model" });
    const probe = () => undefined;
    expect(on("router.logits", { layers: [1], id: "probe", version: "2" }, probe)).toEqual({
      ...{ kind: "callback", hook: "router.logits", layers: [1], id: "probe", version: "2", callback: probe },
    });
  });

  it("spell ablate out, which has no default mode", () => {
    expect(ablate({ layers: [3], experts: [5], mode: "mask" })).toEqual(mask({ layers: [3], experts: [5] }));
    expect(ablate({ layers: [3], experts: [5], mode: "zero" })).toEqual(zero({ layers: [3], experts: [5] }));
    expect(ablate({ layers: [3], experts: [5, 6], mode: "swap", to: 0 })).toEqual([
      swap({ layers: [3], from: 5, to: 0 }),
      swap({ layers: [3], from: 6, to: 0 }),
    ]);
    const loose = ablate as (options: object) => unknown;
    expect(() => loose({ layers: [3], experts: [5] })).toThrow('Expected "zero", "mask" or "swap" for ablate.mode');
    expect(() => loose({ layers: [3], experts: [5], mode: "swap" })).toThrow("Expected the expert `to`");
    expect(() => loose({ layers: [3], experts: [5], mode: "mask", to: 1 })).toThrow("Expected no expert `to`");
  });

  it("check what they are given", () => {
    expect(() => topK({ layers: [1], k: 1.5 })).toThrow("Expected a number of experts from 1 for top-k.k, got 1.5.");
    expect(() => on("router.logit", { layers: [1] }, () => undefined)).toThrow("for callback.hook");
  });
});
