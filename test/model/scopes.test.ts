/** Interventions whose scopes do not meet live together on one layer, natively as in the checks of TypeScript. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { seededModelFolder } from "../../src/cli/seeded-model.js";
import { Model } from "../../src/model/model.js";
import { packageRoot } from "../../src/native/addon.js";
import type { Intervention } from "../../src/router/interventions.js";

let model: Model;
beforeAll(async () => {
  model = await Model.load(seededModelFolder(join(packageRoot(), "models", "demo")));
});
afterAll(() => model.dispose());

const IDS = Array.from({ length: 24 }, (_, i) => 40 + i);
const SIX = [0, 1, 2, 3, 4, 5]; // of 8 experts, 2 chosen: no other mask fits beside

it.each<[string, Intervention[]]>([
  [
    "masks in disjoint positions",
    [
      { kind: "mask", layers: [1], experts: SIX, positions: [0, 10] },
      { kind: "mask", layers: [1], experts: [6, 7], positions: [10, 20] },
    ],
  ],
  [
    "a mask and a force of one expert, one after the other",
    [
      { kind: "mask", layers: [1], experts: [3], positions: [0, 5] },
      { kind: "force", layers: [1], experts: [3], positions: [5, 9] },
    ],
  ],
  [
    "forces that fill k, for prompt and for generated tokens",
    [
      { kind: "top-k", layers: [1], k: 1 },
      { kind: "force", layers: [1], experts: [2], origin: "prompt" },
      { kind: "force", layers: [1], experts: [5], origin: "generated" },
    ],
  ],
])("%s", async (_, interventions) => {
  const { trace } = await model.with(interventions).forward(IDS, { trace: "logits" });
  const rowsTouched = trace!.columns.intervened.reduce((sum, flag) => sum + flag, 0);
  expect(rowsTouched).toBeGreaterThan(0);
  expect(rowsTouched).toBeLessThanOrEqual(IDS.length);
});

it("a replay of some positions and a mask of others", async () => {
  const { trace } = await model.forward(IDS, { trace: "topk" });
  const changed = model.with([
    { kind: "replay", layers: [1], weights: "model", route: trace!.route(), positions: [0, 10] },
    { kind: "mask", layers: [1], experts: [0], positions: [10, 20] },
  ]);
  await changed.forward(IDS, { trace: "logits" });
  const meeting = [
    { kind: "replay", layers: [1], weights: "model", route: trace!.route(), positions: [0, 11] },
    { kind: "mask", layers: [1], experts: [0], positions: [10, 20] },
  ] as const satisfies Intervention[];
  expect(() => model.with(meeting)).toThrow(/replay/);
});

it("interventions add to those already there, and leave the model that they came from as it was", async () => {
  const first: Intervention = { kind: "mask", layers: [0], experts: [1] };
  const second: Intervention = { kind: "bias", layers: [1], bias: { "2": 9 } };
  const both = model.with(first).with([second]);
  expect(both.interventions).toEqual([first, second]);
  expect(model.interventions).toEqual([]);
  const layersTouched = async (changed: Model) => {
    const { trace } = await changed.forward(IDS, { trace: "topk" });
    const { layers, columns } = { layers: trace!.layers, columns: trace!.columns };
    return layers.filter((_, index) => columns.intervened[index] === 1);
  };
  expect(await layersTouched(both)).toEqual([0, 1]);
  expect(await layersTouched(model)).toEqual([]);
});
