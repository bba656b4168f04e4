import { describe, expect, it } from "vitest";
import { InvalidArgumentError } from "../../src/errors.js";
import { bias, force, mask, on, replay, swap, topK, zero } from "../../src/router/intervention-builders.js";
import { checkInterventions } from "../../src/router/intervention-check.js";
import type { Intervention } from "../../src/router/interventions.js";
import { METADATA } from "./synthetic-trace.js";

/** 4 layers, all MoE, 8 experts, top 2; METADATA has MoE layers 1 and 3 and 6 experts. */
const SHAPE = {
  numLayers: 4,
  moeLayers: [0, 1, 2, 3],
  numExperts: 8,
  numExpertsPerToken: 2,
  normTopkProb: false,
  hasSharedExpert: false,
};

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
