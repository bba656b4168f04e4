/** Interventions run natively, against transformers with its router changed the same way. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../src/model/model.js";
import { parseInterventions } from "../../src/router/interventions.js";
import type { RecordedRoute } from "../../src/router/route.js";
import { floats, type GoldenTensor, ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { maxAbsDifference, sameBits, standardDeviation } from "./compare.js";

type Case = { kind: string; layers: number[] }[];

/** Logits of order 1 to 10 that went through two or three layers of fp32 sums; the same bound as without interventions. */
const RELATIVE_TOLERANCE = 1e-4;

describeWithGoldens("golden interventions", ["golden/interventions", "golden/models"], () => {
  const folder = sharedPath("golden/interventions");
  const names = readdirSync(folder).flatMap((file) => (file.endsWith(".json") ? [file.slice(0, -".json".length)] : []));

  describe.each(names)("on %s", (name) => {
    const cases = JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8")) as Record<string, Case>;
    let model: Model;
    let expected: Map<string, GoldenTensor>;
    let ids: Int32Array;

    beforeAll(async () => {
      model = await Model.load(sharedPath(`golden/models/${name}`));
      expected = readSafetensors(`${folder}/${name}.safetensors`);
      ids = ints(expected, "input_ids");
    });
    afterAll(() => model.dispose());

    function recordedRoute(layers: number[]): RecordedRoute {
      const k = expected.get(`replay.topk_experts.${layers[0]}`)!.shape[1]!;
      const experts = new Uint16Array(ids.length * layers.length * k);
      const weights = new Float32Array(experts.length);
      for (const [index, layer] of layers.entries()) {
        for (let row = 0; row < ids.length; row++) {
          const from = [row * k, (row + 1) * k] as const;
          const to = (row * layers.length + index) * k;
          experts.set(ints(expected, `replay.topk_experts.${layer}`).subarray(...from), to);
          weights.set(floats(expected, `replay.topk_weights.${layer}`).subarray(...from), to);
        }
      }
      return { start: 0, tokenIds: ids, layers, k, experts, weights };
    }

    it.each(Object.keys(cases))("%s", async (caseName) => {
      const interventions = cases[caseName]!.map((item) =>
        item.kind === "replay" ? { ...item, route: recordedRoute(item.layers) } : item,
      );
      const changed = model.with(parseInterventions(interventions));
      const { logits, trace } = await changed.forward(ids, { logits: "all", trace: "logits" });
      const wanted = floats(expected, `${caseName}.logits`);
      const tolerance = RELATIVE_TOLERANCE * standardDeviation(wanted);
      expect(maxAbsDifference(logits.subarray(logits.length - wanted.length), wanted)).toBeLessThanOrEqual(tolerance);
      const { topK, layers } = trace!.layout;
      for (const [index, layer] of layers.entries()) {
        const golden = expected.get(`${caseName}.topk_weights.${layer}`)!;
        const k = golden.shape[1]!;
        const weights = Float32Array.from({ length: ids.length * k }, (_, i) => {
          const row = Math.floor(i / k);
          return trace!.columns.topkWeights[(row * layers.length + index) * topK + (i % k)]!;
        });
        expect(maxAbsDifference(weights, golden.values as Float32Array)).toBeLessThanOrEqual(RELATIVE_TOLERANCE);
      }
    });

    it("leaves the base model as it was", async () => {
      const before = await model.forward(ids, { logits: "all" });
      const changed = model.with({ kind: "zero", layers: "all", experts: [0] });
      await changed.forward(ids, { logits: "all" });
      expect(sameBits((await model.forward(ids, { logits: "all" })).logits, before.logits)).toBe(true);
    });

    it("changes no bit by replaying a model's own route", async () => {
      const { logits, trace } = await model.forward(ids, { logits: "all", trace: "topk" });
      for (const weights of ["model", "recorded"] as const) {
        const replayed = model.with({ kind: "replay", layers: "all", weights, route: trace!.route() });
        expect(sameBits((await replayed.forward(ids, { logits: "all" })).logits, logits)).toBe(true);
      }
    });

    it("refuses to replay a route over other tokens", async () => {
      const { trace } = await model.forward(ids, { logits: "none", trace: "topk" });
      const replayed = model.with({ kind: "replay", layers: "all", weights: "model", route: trace!.route() });
      const others = ids.map((id, index) => (index === 5 ? (id + 1) % model.config.vocabSize : id));
      await expect(replayed.forward(others)).rejects.toThrow(/position 5/);
      await expect(replayed.forward([...ids, 1])).rejects.toThrow(new RegExp(`position ${ids.length}`));
    });
  });
});
