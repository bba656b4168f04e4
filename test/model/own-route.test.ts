/** Interventions that change nothing change no bit: a model's own route replayed, an expert zeroed that nobody chose. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model, replay, zero } from "../../src/index.js";
import { seededModel } from "../cli/seeded.js";

const IDS = Int32Array.from({ length: 6 }, (_, i) => (i * 37 + 11) % 250);

describe("interventions without effect", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(seededModel(), { threads: 2 });
  });
  afterAll(() => model.dispose());

  it.each(["model", "recorded"] as const)("replay the model's own route with gates of the %s", async (weights) => {
    const plain = await model.forward(IDS, { logits: "all", trace: "logits" });
    const route = plain.trace!.route();
    const again = await model
      .with(replay({ layers: "all", route, weights }))
      .forward(IDS, { logits: "all", trace: "logits" });
    expect(again.logits).toEqual(plain.logits);
    const { intervened: _, ...columns } = plain.trace!.columns;
    expect(again.trace!.columns).toMatchObject(columns);
  });

  it("zero experts that no token chose", async () => {
    const plain = await model.forward(IDS, { logits: "all", trace: "topk" });
    const load = plain.trace!.expertLoad();
    const unused = load.layers.flatMap((layer) => {
      const experts = [...load.layer(layer).keys()].filter((expert) => load.layer(layer)[expert] === 0);
      return experts.length === 0 ? [] : [zero({ layers: [layer], experts })];
    });
    expect(unused.length).toBeGreaterThan(0);
    const without = await model.with(unused).forward(IDS, { logits: "all", trace: "topk" });
    expect(without.logits).toEqual(plain.logits);
    expect(without.trace!.columns.topkWeights).toEqual(plain.trace!.columns.topkWeights);
  });
});
