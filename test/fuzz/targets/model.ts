import { Model } from "../../../src/model/model.js";
import { type FuzzTarget, fileWriter, fuzzTarget } from "../target.js";

const write = fileWriter("model.gguf");

/** A GGUF file, loaded and computed with: native code sees whatever its reader lets through, the weights' bytes above all. */
export const fuzz: FuzzTarget = fuzzTarget(async (data) => {
  for (const precision of ["ref", "fast"] as const) {
    const model = await Model.load(write(data), { threads: 1, precision, maxContext: 8 });
    try {
      await model.forward([0, 1, 0], { logits: "all", trace: "logits" });
    } finally {
      await model.dispose();
    }
  }
});
