import { describe, expect, it } from "vitest";
import { InvalidArgumentError } from "../../src/errors.js";
import { ablate, bias, force, mask, on, replay, swap, topK, zero } from "../../src/router/intervention-builders.js";
import { checkInterventions } from "../../src/router/intervention-check.js";
import { type Intervention, parseInterventions, resolveRoutes } from "../../src/router/interventions.js";
import { assertRouteFits, type RecordedRoute } from "../../src/router/route.js";
import { METADATA, promptRun, syntheticTrace } from "./synthetic-trace.js";

/** 4 layers, all MoE, 8 experts, top 2; METADATA has MoE layers 1 and 3 and 6 experts. */
const SHAPE = {
  numLayers: 4,
  moeLayers: [0, 1, 2, 3],
  numExperts: 8,
  numExpertsPerToken: 2,
  normTopkProb: false,
  hasSharedExpert: false,
};

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
    [{ kind: "callback", layers: [0], hook: "router.probs" }, "Expected one of residual.before, router.logits,"],
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

describe("checkInterventions", () => {
  it("spells layers out", () => {
    const checked = checkInterventions(
      [zero({ layers: "all", experts: [1] }), mask({ layers: [3, 1, 3], experts: [0] })],
      METADATA,
    );
    expect(checked.map((item) => item.layers)).toEqual([
      [1, 3],
      [1, 3],
    ]);
  });

  const refusals: [string, Intervention[], string][] = [
    [
      "an unknown layer",
      [mask({ layers: [4], experts: [0] })],
      "Expected MoE layers from 0 to 3 for mask, got layer 4.",
    ],
    ["an unknown expert", [mask({ layers: [0], experts: [8] })], "Expected experts from 0 to 7 for mask, got 8."],
    [
      "an unknown expert of zero",
      [zero({ layers: [0], experts: [9] })],
      "Expected experts from 0 to 7 for zero, got 9.",
    ],
    ["an unknown expert of force", [force({ layers: [0], experts: [8] })], "for force, got 8."],
    ["an unknown expert of swap", [swap({ layers: [0], from: 0, to: 8 })], "for swap, got 8."],
    ["an unknown expert of bias", [bias({ layers: [0], bias: { 8: 1 } })], "for bias, got 8."],
    ["a shared expert that is not there", [zero({ layers: [0], experts: ["shared"] })], "this one has none."],
    ["k beyond the experts", [topK({ layers: [0], k: 9 })], "Expected k from 1 to 8 for top-k, got 9."],
    [
      "an unknown segment",
      [mask({ layers: [0], experts: [0], segments: ["answer"] })],
      'Expected segments prefix, question, choice, generated for mask, got "answer".',
    ],
    [
      "masks that leave too few together",
      [mask({ layers: "all", experts: [0, 1, 2, 3] }), mask({ layers: [2], experts: [3, 4, 5, 6] })],
      "Layer 2 needs 2 experts, the masks leave 1 of 8.",
    ],
    [
      "masks that leave too few where they overlap",
      [
        mask({ layers: [0], experts: [0, 1, 2, 3], positions: [0, 10] }),
        mask({ layers: [0], experts: [4, 5, 6], positions: [9, 20] }),
      ],
      "Layer 0 (positions 9 to 9) needs 2 experts, the masks leave 1 of 8.",
    ],
    [
      "a top-k beyond what masks leave",
      [topK({ layers: [1], k: 7 }), mask({ layers: [1], experts: [0, 1], origin: "generated" })],
      "Layer 1 (origin generated) needs 7 experts, the masks leave 6 of 8.",
    ],
    [
      "more forced than chosen",
      [force({ layers: [0], experts: [1, 2] }), force({ layers: [0], experts: [2, 3], segments: ["choice"] })],
      "Layer 0 (segment choice) chooses 2 experts, 3 are forced.",
    ],
    [
      "more forced than a smaller top-k leaves",
      [force({ layers: [0], experts: [1, 2] }), topK({ layers: [0], k: 1 })],
      "Layer 0 chooses 1 experts, 2 are forced.",
    ],
    [
      "a forced expert that is masked",
      [force({ layers: [0, 1], experts: [4] }), mask({ layers: [1], experts: [4] })],
      "Layer 1 forces expert 4, which is masked.",
    ],
    ["two values of k", [topK({ layers: [0], k: 1 }), topK({ layers: "all", k: 3 })], "Layer 0 gets top-k 1 and 3"],
    [
      "a swap to two experts",
      [swap({ layers: [0], from: 1, to: 2 }), swap({ layers: [0], from: 1, to: 3 })],
      "Layer 0 swaps expert 1 for 2 and for 3.",
    ],
    [
      "a hook of the model with layers",
      [on("final.norm", { layers: [0] }, () => undefined)],
      "Expected no layers for the hook final.norm",
    ],
    [
      "a hook of a layer without layers",
      [on("moe.output", {}, () => undefined)],
      "Expected layers for the hook moe.output",
    ],
    [
      "an unknown layer of a hook",
      [on("residual.after", { layers: [4] }, () => undefined)],
      "Expected layers from 0 to 3",
    ],
    [
      "a route that was not loaded",
      [replay({ layers: [0], route: "r" })],
      'Expected a loaded route for replay, got the name "r".',
    ],
  ];
  it.each(refusals)("refuses %s", (_, interventions, message) => {
    expect(() => checkInterventions(interventions, SHAPE)).toThrow(message);
    expect(() => checkInterventions([...interventions].reverse(), SHAPE)).toThrow(InvalidArgumentError);
  });

  const accepted: [string, Intervention[]][] = [
    [
      "masks that would leave too few, in places that do not meet",
      [
        mask({ layers: [0], experts: [0, 1, 2, 3], positions: [0, 10] }),
        mask({ layers: [0], experts: [4, 5, 6, 7], positions: [10, 20] }),
      ],
    ],
    [
      "one expert forced by origin, k 1",
      [
        topK({ layers: "all", k: 1 }),
        force({ layers: [0], experts: [1], origin: "prompt" }),
        force({ layers: [0], experts: [2], origin: "generated" }),
      ],
    ],
    [
      "masked in one segment, forced in another",
      [
        mask({ layers: [0], experts: [1], segments: ["question"] }),
        force({ layers: [0], experts: [1], segments: ["choice", "generated"] }),
      ],
    ],
    ["all experts", [topK({ layers: [0], k: 8 })]],
    ["a cycle of swaps", [swap({ layers: [0], from: 1, to: 2 }), swap({ layers: [0], from: 2, to: 1 })]],
    ["the same swap twice", [swap({ layers: [0], from: 1, to: 2 }), swap({ layers: "all", from: 1, to: 2 })]],
    ["a hook of a dense layer's residual", [on("residual.before", { layers: "all" }, () => undefined)]],
  ];
  it.each(accepted)("accepts %s", (_, interventions) => {
    expect(() => checkInterventions(interventions, SHAPE)).not.toThrow();
  });

  it("names the MoE layers where some are dense, and a model without any", () => {
    const item = mask({ layers: [2], experts: [0] });
    expect(() => checkInterventions([item], METADATA)).toThrow("Expected MoE layers 1, 3 for mask, got layer 2.");
    const dense = { ...SHAPE, moeLayers: [], numExperts: 0, numExpertsPerToken: 0 };
    expect(() => checkInterventions([item], dense)).toThrow(
      "Expected a model with routed experts for mask, this one has none.",
    );
  });

  it("knows the caller's own segments", () => {
    const item = mask({ layers: [0], experts: [0], segments: ["hint"] });
    expect(() => checkInterventions([item], SHAPE, ["hint", "answer"])).not.toThrow();
  });
});

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
