/** Precision `fast` on llama.cpp's files: no further from the reference than llama.cpp itself, and the same bits however it is asked. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../src/model/model.js";
import { floats, type GoldenTensor, ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { maxAbsDifference, sameBits } from "./compare.js";

interface Peer {
  peer: { plain_kv_f32: { position_max_abs_median: number; mean_kl: number } };
  logit_std: number;
}

/** Ours against the peer's: both round activations, we to 8 bits by other blocks or to bf16. */
const ALLOWED = 1.25;

/** The machine's best way to multiply, and the one that every machine has. */
describe.each(["best", "portable"])("the %s way to multiply", (way) => {
  beforeAll(() => {
    if (way === "portable") process.env.MOESCOPE_FAST = way;
  });
  afterAll(() => {
    delete process.env.MOESCOPE_FAST;
  });
  withGoldenModels();
});

it("names the way to multiply, and refuses one that the machine does not have", async () => {
  process.env.MOESCOPE_FAST = "portable";
  const model = await Model.load("demo", { precision: "fast" });
  expect(model.parts.device).toBe("cpu portable");
  await model.dispose();
  process.env.MOESCOPE_FAST = "abacus";
  await expect(Model.load("demo", { precision: "fast" })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining("portable in MOESCOPE_FAST, got abacus"),
  });
  delete process.env.MOESCOPE_FAST;
});

function withGoldenModels(): void {
  describeWithGoldens("precision fast on golden GGUF models", "golden/gguf/models", () => {
    const folder = sharedPath("golden/gguf/models");
    const files = readdirSync(folder);
    const manifest = JSON.parse(readFileSync(`${folder}/manifest.json`, "utf8")) as Record<string, Peer>;

    describe.each(Object.keys(manifest))("%s", (name) => {
      let model: Model;
      let expected: Map<string, GoldenTensor>;
      let ids: Int32Array;

      beforeAll(async () => {
        const file = files.find((candidate) => candidate.startsWith(name) && candidate.endsWith(".gguf"));
        model = await Model.load(`${folder}/${file}`, { precision: "fast" });
        expected = readSafetensors(`${folder}/${name}.expected.safetensors`);
        ids = ints(expected, "input_ids");
      });
      afterAll(() => model.dispose());

      it("errs no more than llama.cpp, and flips experts only where the margin is below its error", async () => {
        const { logits, trace } = await model.forward(ids, { logits: "all", trace: "logits" });
        const wanted = floats(expected, "logits");
        const { vocabSize, numExperts } = model.config;
        const flipped = new Set<number>();
        for (const [index, layer] of trace!.layers.entries()) {
          const z = floats(expected, `router_logits.${layer}`);
          const topK = trace!.topK;
          const wantedIds = ints(expected, `topk_experts.${layer}`);
          for (let row = 0; row < ids.length; row++) {
            const place = row * trace!.layers.length + index;
            const chosen = [...trace!.columns.topkExperts.subarray(place * topK, (place + 1) * topK)].sort(
              (a, b) => a - b,
            );
            const golden = [...wantedIds.subarray(row * topK, (row + 1) * topK)].sort((a, b) => a - b);
            if (chosen.join() === golden.join()) continue;
            flipped.add(row);
            const reference = z.subarray(row * numExperts, (row + 1) * numExperts);
            const ordered = [...reference].sort((a, b) => b - a);
            const raw = trace!.columns.routerLogits.subarray(place * numExperts, (place + 1) * numExperts);
            expect(ordered[topK - 1]! - ordered[topK]!).toBeLessThanOrEqual(2 * maxAbsDifference(raw, reference));
          }
        }
        const rowsKept = Array.from(ids.keys()).filter((row) => !flipped.has(row));
        const maxima: number[] = [];
        let kl = 0;
        for (const row of rowsKept) {
          const slice = [row * vocabSize, (row + 1) * vocabSize] as const;
          maxima.push(maxAbsDifference(logits.subarray(...slice), wanted.subarray(...slice)));
          kl += divergence(wanted.subarray(...slice), logits.subarray(...slice)) / rowsKept.length;
        }
        const { position_max_abs_median, mean_kl } = manifest[name]!.peer.plain_kv_f32;
        expect(rowsKept.length).toBeGreaterThan(ids.length / 2);
        // Files of F32 are computed as in `ref`, so the peer's figure only bounds rounding there.
        const floor = 1e-4 * manifest[name]!.logit_std;
        expect(median(maxima)).toBeLessThanOrEqual(Math.max(ALLOWED * position_max_abs_median, floor));
        expect(kl).toBeLessThanOrEqual(Math.max(ALLOWED * mean_kl, 1e-9));
      });

      it("gives the same bits on one thread and on several", async () => {
        const { logits } = await model.forward(ids, { logits: "all" });
        for (const threads of [1, 3]) {
          const other = await Model.load(model.parts.checkpoint.path, { precision: "fast", threads });
          expect(sameBits((await other.forward(ids, { logits: "all" })).logits, logits)).toBe(true);
          await other.dispose();
        }
      });

      it("gives the same bits whole or token by token, and with the prefix shared", async () => {
        const { logits } = await model.forward(ids, { logits: "all" });
        const { vocabSize } = model.config;
        for (const length of [1, 7, 33]) {
          const part = await model.forward(ids.slice(0, length));
          expect(sameBits(part.logits, logits.subarray((length - 1) * vocabSize, length * vocabSize))).toBe(true);
        }
        const greedy = await model.generate(ids, { temperature: 0, maxTokens: 8 });
        const again = await model.forward([...ids, ...greedy.tokenIds.slice(0, -1)], { logits: "all" });
        for (const [step, token] of greedy.tokenIds.entries()) {
          const row = again.logits.subarray((ids.length - 1 + step) * vocabSize, (ids.length + step) * vocabSize);
          expect(row.indexOf(Math.max(...row))).toBe(token);
          expect(Math.abs(greedy.logprobs[step]! - (row[token]! - logTotal(row)))).toBeLessThanOrEqual(1e-5);
        }
      });
    });
  });
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function logTotal(logits: Float32Array): number {
  const largest = Math.max(...logits);
  return largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
}

/** Kullback-Leibler divergence of two rows of logits, in nats. */
function divergence(reference: Float32Array, actual: Float32Array): number {
  const [referenceTotal, actualTotal] = [logTotal(reference), logTotal(actual)];
  return reference.reduce((sum, logit, token) => {
    const log = logit - referenceTotal;
    return sum + Math.exp(log) * (log - (actual[token]! - actualTotal));
  }, 0);
}
