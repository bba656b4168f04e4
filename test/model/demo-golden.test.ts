/** The embedded model against transformers on the same files (models/demo/golden.json): needs nothing from outside the repository. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hashFiles } from "../../src/model/file-hashes.js";
import { Model } from "../../src/model/model.js";
import { packageRoot } from "../../src/native/addon.js";
import { standardDeviation } from "./compare.js";

interface Golden {
  weights_sha256: string;
  entries: {
    text: string;
    ids: number[];
    top_logits: { ids: number[]; values: number[] };
    logit_sum: number;
    experts_of_last_token: { experts: number[]; weights: number[] }[];
    greedy_ids: number[];
    greedy_text: string;
  }[];
}

const golden = JSON.parse(readFileSync(join(packageRoot(), "models", "demo", "golden.json"), "utf8")) as Golden;

describe("the embedded model", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load("demo");
  });
  afterAll(() => model.dispose());

  it("is the one that the golden was made of", async () => {
    const [weights] = await hashFiles([join(packageRoot(), "models", "demo", "model.safetensors")]);
    expect(weights!.sha256).toBe(golden.weights_sha256);
  });

  it.each(golden.entries)("answers as transformers does: $text", async (entry) => {
    expect([...(await model.tokenizer.encode(entry.text, { parseSpecial: true }))]).toEqual(entry.ids);
    const { logits, trace } = await model.forward(entry.ids, { trace: "topk" });
    // Both compute in float32 on bf16 weights: the bound of the other goldens.
    const tolerance = 1e-4 * standardDeviation(logits);
    for (const [rank, id] of entry.top_logits.ids.entries()) {
      expect(Math.abs(logits[id]! - entry.top_logits.values[rank]!)).toBeLessThanOrEqual(tolerance);
    }
    const sum = logits.reduce((total, logit) => total + logit, 0);
    expect(Math.abs(sum - entry.logit_sum)).toBeLessThanOrEqual(tolerance * logits.length);
    const last = trace!.slice(trace!.numTokens - 1);
    for (const [layer, { experts, weights }] of entry.experts_of_last_token.entries()) {
      const slots = [layer * last.topK, (layer + 1) * last.topK] as const;
      expect([...last.columns.topkExperts.subarray(...slots)]).toEqual(experts);
      for (const [slot, weight] of weights.entries()) {
        expect(Math.abs(last.columns.topkWeights[slots[0] + slot]! - weight)).toBeLessThanOrEqual(1e-4);
      }
    }
    const { tokenIds } = await model.generate(entry.ids, { temperature: 0, maxTokens: entry.greedy_ids.length });
    expect([...tokenIds]).toEqual(entry.greedy_ids);
  });
});
