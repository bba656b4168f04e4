/** 65,536 tokens under the YaRN constants of Qwen2-57B: every stored position against transformers. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { kvCacheBytesPerToken } from "../../src/checkpoint/model-config.js";
import { Model } from "../../src/model/model.js";
import { floats, type GoldenTensor, ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { maxAbsDifference, standardDeviation } from "../model/compare.js";

/** fp32 angles reach 65,535 rad, where their spacing is 0.004 to 0.008 rad (engine.md, section 7). */
const RELATIVE_TOLERANCE = 1e-3;

describeWithGoldens("a context of 65,536 tokens", "golden/long", () => {
  let model: Model;
  let expected: Map<string, GoldenTensor>;

  beforeAll(async () => {
    model = await Model.load(sharedPath("golden/long"));
    expected = readSafetensors(sharedPath("golden/long/expected.safetensors"));
  });
  afterAll(() => model.dispose());

  it("gives transformers' logits at every stored position", async () => {
    const ids = ints(expected, "input_ids");
    const started = performance.now();
    const { logits } = await model.forward(ids, { logits: "all" });
    const kvBytes = ids.length * kvCacheBytesPerToken(model.config, "f32");
    console.info(`${kvBytes / 2 ** 20} MiB of keys and values`);
    console.info(`65,536 tokens in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    const { vocabSize } = model.config;
    const names = [...expected.keys()].filter((key) => key.startsWith("logits."));
    expect(names.length).toBeGreaterThan(5);
    for (const name of names) {
      const position = Number(name.slice("logits.".length));
      const wanted = floats(expected, name);
      const actual = logits.subarray(position * vocabSize, (position + 1) * vocabSize);
      expect(maxAbsDifference(actual, wanted)).toBeLessThanOrEqual(RELATIVE_TOLERANCE * standardDeviation(wanted));
    }
  });
});
