/** A model without routed experts offers the harness no expert load, so that a run at level `counts` keeps none. */
import { expect, it } from "vitest";
import { Model } from "../../src/model/model.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";

describeWithGoldens("a dense model as the harness sees it", "golden/models", () => {
  it.each([
    ["qwen2-dense", false],
    ["qwen2moe-e8k2", true],
  ])("%s", async (name, hasExperts) => {
    const model = await Model.load(sharedPath("golden/models", name));
    expect(model.toLanguageModel().expertLoad !== undefined).toBe(hasExperts);
    await model.dispose();
  });
});
