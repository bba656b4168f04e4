/** The two real checkpoints against transformers in float32 on their dequantised weights. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../src/model/model.js";
import { floats, type GoldenTensor, ints, readSafetensors } from "../golden/safetensors.js";
import { sharedPath } from "../golden/shared.js";
import { comparableLength, firstNearTie, maxAbsDifference, standardDeviation } from "../model/compare.js";
import { describeWithRealWeights, QWEN, SMOLLM } from "./real-weights.js";

describeWithRealWeights("real checkpoints", ["golden/real"], (path) => {
  describe.each([QWEN, SMOLLM])("%s", (file) => {
    let model: Model;
    let expected: Map<string, GoldenTensor>;
    let ids: Int32Array;

    beforeAll(async () => {
      model = await Model.load(path(file));
      const golden = file.replace("-instruct", "").replace(".gguf", ".safetensors");
      expected = readSafetensors(sharedPath("golden/real", golden));
      ids = ints(expected, "input_ids");
    });
    afterAll(() => model.dispose());

    it("gives every token's log-probability", async () => {
      const [score] = await model.loglikelihood([{ contextIds: ids.slice(0, 1), continuationIds: ids.slice(1) }]);
      const wanted = floats(expected, "token_logprobs");
      expect(maxAbsDifference(score!.tokenLogprobs, wanted)).toBeLessThanOrEqual(2e-3);
      const meanDifference =
        wanted.reduce((sum, value, i) => sum + Math.abs(value - score!.tokenLogprobs[i]!), 0) / wanted.length;
      expect(meanDifference).toBeLessThanOrEqual(1e-4);
    });

    it("gives the last logits", async () => {
      const { logits } = await model.forward(ids, { logits: "all" });
      const wanted = floats(expected, "last_logits");
      const actual = logits.subarray(logits.length - wanted.length);
      expect(maxAbsDifference(actual, wanted)).toBeLessThanOrEqual(1e-3 * standardDeviation(wanted));
    });

    it("continues greedily until the first near-tie", async () => {
      const wanted = ints(expected, "greedy_ids_after_64");
      const prompt = ids.slice(0, 64);
      const { logits } = await model.forward([...prompt, ...wanted.slice(0, -1)], { logits: "all" });
      const until = firstNearTie(logits, model.config.vocabSize, prompt.length - 1, 2e-3);
      const { tokenIds } = await model.generate(prompt, {
        temperature: 0,
        repetitionPenalty: 1,
        maxTokens: wanted.length,
      });
      const length = comparableLength(tokenIds, model.tokenizer.eosTokenIds, until);
      expect(length).toBeGreaterThan(8);
      expect(tokenIds.slice(0, length)).toEqual(wanted.slice(0, length));
    });
  });
});
