/** The engine in `ref` precision against transformers in float32, on every checkpoint of golden/models. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../src/model/model.js";
import { floats, type GoldenTensor, ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { comparableLength, firstNearTie, maxAbsDifference, standardDeviation } from "./compare.js";

interface Inputs {
  a: number[];
  b: number[];
  chat: number[];
}

/** Router logits are as near as final logits: both are sums of a few hundred fp32 products of values of order 1. */
const RELATIVE_TOLERANCE = 1e-4;

describeWithGoldens("golden models", "golden/models", () => {
  const inputs = JSON.parse(readFileSync(sharedPath("golden/models/inputs.json"), "utf8")) as Inputs;
  const names = readdirSync(sharedPath("golden/models"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);

  describe.each(names)("%s", (name) => {
    let model: Model;
    let expected: Map<string, GoldenTensor>;
    let tolerance: number;

    beforeAll(async () => {
      model = await Model.load(sharedPath(`golden/models/${name}`));
      expected = readSafetensors(sharedPath(`golden/models/${name.split(".")[0]}/expected.safetensors`));
      tolerance = RELATIVE_TOLERANCE * standardDeviation(floats(expected, "a.logits"));
    });
    afterAll(() => model.dispose());

    it.each(["a", "chat"] as const)("gives transformers' logits of %s", async (text) => {
      const { logits } = await model.forward(inputs[text], { logits: "all" });
      expect(maxAbsDifference(logits, floats(expected, `${text}.logits`))).toBeLessThanOrEqual(tolerance);
    });

    it("gives the last logits and every token's log-probability of b", async () => {
      const ids = inputs.b.slice(0, Math.min(240, model.config.maxPositionEmbeddings));
      const { logits } = await model.forward(ids, { logits: "all" });
      const wanted = floats(expected, "b.logits");
      expect(maxAbsDifference(logits.subarray(logits.length - wanted.length), wanted)).toBeLessThanOrEqual(tolerance);
      const [score] = await model.loglikelihood([{ contextIds: ids.slice(0, 1), continuationIds: ids.slice(1) }]);
      expect(maxAbsDifference(score!.tokenLogprobs, floats(expected, "b.token_logprobs"))).toBeLessThanOrEqual(1e-4);
    });

    it.each(["a", "b", "chat"] as const)("routes %s as transformers does", async (text) => {
      const ids = inputs[text].slice(0, Math.min(240, model.config.maxPositionEmbeddings));
      const { trace } = await model.forward(ids, { logits: "none", trace: "logits" });
      const { topK, layers, columns } = { ...trace!.layout, columns: trace!.columns };
      const numExperts = model.config.numExperts;
      for (const [index, layer] of layers.entries()) {
        const z = floats(expected, `${text}.router_logits.${layer}`);
        const routerTolerance = RELATIVE_TOLERANCE * standardDeviation(z);
        const wantedIds = ints(expected, `${text}.topk_experts.${layer}`);
        const wantedWeights = floats(expected, `${text}.topk_weights.${layer}`);
        const gates =
          model.config.sharedExpertIntermediateSize > 0 ? floats(expected, `${text}.shared_gate.${layer}`) : [];
        for (let row = 0; row < ids.length; row++) {
          const place = row * layers.length + index;
          const slots = [place * topK, (place + 1) * topK] as const;
          const raw = columns.routerLogits.subarray(place * numExperts, (place + 1) * numExperts);
          expect(maxAbsDifference(raw, z.subarray(row * numExperts, (row + 1) * numExperts))).toBeLessThanOrEqual(
            routerTolerance,
          );
          if (columns.margin[place]! <= 2 * routerTolerance) continue;
          const goldenIds = wantedIds.subarray(row * topK, (row + 1) * topK);
          expect(columns.topkExperts.slice(...slots)).toEqual(Uint16Array.from(goldenIds));
          expect(
            maxAbsDifference(
              columns.topkWeights.subarray(...slots),
              wantedWeights.subarray(row * topK, (row + 1) * topK),
            ),
          ).toBeLessThanOrEqual(RELATIVE_TOLERANCE);
          if (gates.length > 0) expect(columns.sharedGate[place]! - gates[row]!).toBeCloseTo(0, 4);
        }
      }
    });

    it("leaves transformers' residual stream after every layer of a", async () => {
      const { trace } = await model.forward(inputs.a, { logits: "none", trace: "hidden" });
      for (let layer = 0; layer < model.config.numLayers; layer++) {
        const wanted = floats(expected, `a.hidden.${layer}`);
        const actual = trace!.hiddenAfter(layer);
        expect(maxAbsDifference(actual, wanted)).toBeLessThanOrEqual(RELATIVE_TOLERANCE * standardDeviation(wanted));
      }
    });

    it.each(["a", "chat"] as const)(
      "continues %s greedily as transformers does, up to the first near-tie",
      async (text) => {
        const wanted = ints(expected, `${text}.greedy_ids`);
        const whole = [...inputs[text], ...wanted].slice(0, model.config.maxContext);
        const { logits } = await model.forward(whole.slice(0, -1), { logits: "all" });
        const until = firstNearTie(logits, model.config.vocabSize, inputs[text].length - 1, 2 * tolerance);
        const generated = await model.generate(inputs[text], {
          temperature: 0,
          repetitionPenalty: 1,
          maxTokens: wanted.length,
        });
        const length = comparableLength(generated.tokenIds, model.config.eosTokenIds, until);
        expect(generated.tokenIds.slice(0, length)).toEqual(wanted.slice(0, length));
      },
    );

    it("applies the repetition penalty as transformers does", async () => {
      const wanted = ints(expected, "chat.greedy_repetition_penalty_1.3_ids");
      const generated = await model.generate(inputs.chat, {
        temperature: 0,
        repetitionPenalty: 1.3,
        maxTokens: wanted.length,
      });
      expect(generated.tokenIds).toEqual(wanted.slice(0, generated.tokenIds.length));
    });
  });
});
