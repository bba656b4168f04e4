/** GGUF files of llama.cpp's quantizer, against transformers in float32 on the weights dequantised by gguf-py. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generationContext } from "../../src/model/generation.js";
import { Model } from "../../src/model/model.js";
import { floats, type GoldenTensor, ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { comparableLength, maxAbsDifference, standardDeviation } from "./compare.js";

const RELATIVE_TOLERANCE = 1e-4;

describeWithGoldens("golden GGUF models", "golden/gguf/models", () => {
  const folder = sharedPath("golden/gguf/models");
  const files = readdirSync(folder);
  const names = files.flatMap((file) =>
    file.endsWith(".expected.safetensors") ? [file.slice(0, -".expected.safetensors".length)] : [],
  );

  describe.each(names)("%s", (name) => {
    let model: Model;
    let expected: Map<string, GoldenTensor>;
    let tolerance: number;

    beforeAll(async () => {
      model = await Model.load(`${folder}/${files.find((file) => file.startsWith(name) && file.endsWith(".gguf"))}`);
      expected = readSafetensors(`${folder}/${name}.expected.safetensors`);
      tolerance = RELATIVE_TOLERANCE * standardDeviation(floats(expected, "logits"));
    });
    afterAll(() => model.dispose());

    it("ends texts at the file's eos and at the vocabulary's other ends of a turn", () => {
      // <|im_end|>, which the file names, and <|endoftext|>, which generation_config.json of the same model lists beside it.
      expect(generationContext(model, "counts").eosTokenIds).toEqual(new Set([1023, 1021]));
    });

    it("gives the reference logits", async () => {
      const { logits } = await model.forward(ints(expected, "input_ids"), { logits: "all" });
      expect(maxAbsDifference(logits, floats(expected, "logits"))).toBeLessThanOrEqual(tolerance);
    });

    it("routes as the reference does", async () => {
      const ids = ints(expected, "input_ids");
      const { trace } = await model.forward(ids, { logits: "none", trace: "logits" });
      const { numExperts } = model.config;
      for (const [index, layer] of trace!.layers.entries()) {
        const z = floats(expected, `router_logits.${layer}`);
        const routerTolerance = RELATIVE_TOLERANCE * standardDeviation(z);
        for (let row = 0; row < ids.length; row++) {
          const place = row * trace!.layers.length + index;
          const raw = trace!.columns.routerLogits.subarray(place * numExperts, (place + 1) * numExperts);
          expect(maxAbsDifference(raw, z.subarray(row * numExperts, (row + 1) * numExperts))).toBeLessThanOrEqual(
            routerTolerance,
          );
          if (trace!.columns.margin[place]! <= 2 * routerTolerance) continue;
          const k = trace!.topK;
          const wanted = ints(expected, `topk_experts.${layer}`).subarray(row * k, (row + 1) * k);
          expect(trace!.columns.topkExperts.slice(place * k, (place + 1) * k)).toEqual(Uint16Array.from(wanted));
        }
      }
    });

    it("continues greedily as the reference does, up to the first near-tie", async () => {
      const wanted = ints(expected, "greedy_ids");
      const nearTie = floats(expected, "greedy_margins").findIndex((margin) => margin <= 2 * tolerance);
      const { tokenIds } = await model.generate(ints(expected, "input_ids"), {
        temperature: 0,
        maxTokens: wanted.length,
      });
      const length = comparableLength(tokenIds, model.config.eosTokenIds, nearTie < 0 ? wanted.length : nearTie);
      expect(tokenIds.slice(0, length)).toEqual(wanted.slice(0, length));
    });
  });
});
