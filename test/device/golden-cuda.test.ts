/**
 * Device cuda against the goldens of transformers, through the whole library: `npm run test:emulator` emulates the card, `npm run
 * test:gpu` wants one. Activations meet weights in 8 bits or bf16, so the bound is one of rounding: errors of 5 % of the spread of what
 * is compared, all rows together; routes may differ only where the reference hardly prefers one expert to the next.
 */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Model } from "../../src/model/model.js";
import { parseInterventions } from "../../src/router/interventions.js";
import { floats, type GoldenTensor, ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { sameBits, standardDeviation } from "../model/compare.js";

const ERROR = 0.05;
/** Rows of each text; an emulated card computes a few in a second. */
const ROWS = 20;

const load = (path: string): Promise<Model> => Model.load(path, { device: "cuda", cacheType: "f32" });

/** Compares the logits of the rows in which every layer's experts are the reference's. */
function expectNear(
  { logits, trace }: Awaited<ReturnType<Model["forward"]>>,
  wanted: Float32Array,
  routes: { ids: (layer: number) => Int32Array; logits: (layer: number) => Float32Array },
): void {
  const { topK, layers, columns } = { ...trace!.layout, columns: trace!.columns };
  const vocabSize = logits.length / ROWS;
  let squares = 0;
  let rows = 0;
  for (let row = 0; row < ROWS; row++) {
    const flipped = layers.findIndex((layer, index) => {
      const place = (row * layers.length + index) * topK;
      const golden = routes.ids(layer).subarray(row * topK, (row + 1) * topK);
      return !columns.topkExperts.subarray(place, place + topK).every((id) => golden.includes(id));
    });
    if (flipped >= 0) {
      const limit = 6 * ERROR * standardDeviation(routes.logits(layers[flipped]!));
      expect(columns.margin[row * layers.length + flipped]!).toBeLessThan(limit);
      continue;
    }
    rows += 1;
    for (let token = row * vocabSize; token < (row + 1) * vocabSize; token++) {
      squares += (logits[token]! - wanted[token]!) ** 2;
    }
  }
  expect(rows).toBeGreaterThan(0);
  expect(Math.sqrt(squares / (rows * vocabSize))).toBeLessThan(ERROR * standardDeviation(wanted));
}

describeWithGoldens("golden models on device cuda", "golden/models", () => {
  const inputs = JSON.parse(readFileSync(sharedPath("golden/models/inputs.json"), "utf8")) as { a: number[] };
  const names = readdirSync(sharedPath("golden/models"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);

  it.each(names)("%s", async (name) => {
    const model = await load(sharedPath(`golden/models/${name}`));
    const expected = readSafetensors(sharedPath(`golden/models/${name.split(".")[0]}/expected.safetensors`));
    const result = await model.forward(inputs.a.slice(0, ROWS), { logits: "all", trace: "logits" });
    expectNear(result, floats(expected, "a.logits"), {
      ids: (layer) => ints(expected, `a.topk_experts.${layer}`),
      logits: (layer) => floats(expected, `a.router_logits.${layer}`),
    });
    // One token after another, and drawn on the card: the same bits as the whole.
    const again = await model.forward(inputs.a.slice(0, 5), { logits: "last" });
    const vocabSize = result.logits.length / ROWS;
    expect(sameBits(again.logits, result.logits.subarray(4 * vocabSize, 5 * vocabSize))).toBe(true);
    const { tokenIds } = await model.generate(inputs.a.slice(0, 5), {
      temperature: 0,
      maxTokens: 1,
      repetitionPenalty: 1,
    });
    expect(tokenIds[0]).toBe(again.logits.indexOf(Math.max(...again.logits)));
    await model.dispose();
  });
});

describeWithGoldens("golden GGUF files on device cuda", "golden/gguf/models", () => {
  const folder = sharedPath("golden/gguf/models");
  const manifest = JSON.parse(readFileSync(`${folder}/manifest.json`, "utf8")) as Record<string, unknown>;
  const files = readdirSync(folder);

  it.each(Object.keys(manifest))("%s", async (name) => {
    const file = files.find((candidate) => candidate.startsWith(name) && candidate.endsWith(".gguf"));
    const expected: Map<string, GoldenTensor> = readSafetensors(`${folder}/${name}.expected.safetensors`);
    const model = await load(`${folder}/${file}`).catch((error: { code: string; message: string }) => error);
    if (!(model instanceof Model)) {
      expect(model).toMatchObject({ code: "UNSUPPORTED", message: /Device cuda has no products with weights of type/ });
      return;
    }
    const ids = ints(expected, "input_ids").slice(0, ROWS);
    const result = await model.forward(ids, { logits: "all", trace: "logits" });
    expectNear(result, floats(expected, "logits"), {
      ids: (layer) => ints(expected, `topk_experts.${layer}`),
      logits: (layer) => floats(expected, `router_logits.${layer}`),
    });
    await model.dispose();
  });
});

describeWithGoldens("golden interventions on device cuda", ["golden/interventions", "golden/models"], () => {
  const folder = sharedPath("golden/interventions");
  const name = "qwen2moe-e8k2";
  const cases = JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8")) as Record<string, { kind: string }[]>;
  // Replays of a route need its golden; native/test/emulator/route_test.cpp has them bit for bit.
  const withoutReplay = Object.keys(cases).filter((one) => cases[one]!.every(({ kind }) => kind !== "replay"));
  let model: Model;
  beforeAll(async () => {
    model = await load(sharedPath(`golden/models/${name}`));
  });
  afterAll(() => model.dispose());

  it.each(withoutReplay)("%s", async (caseName) => {
    const expected = readSafetensors(`${folder}/${name}.safetensors`);
    const result = await model
      .with(parseInterventions(cases[caseName]!))
      .forward(ints(expected, "input_ids"), { logits: "all" });
    const wanted = floats(expected, `${caseName}.logits`);
    const logits = result.logits.subarray(result.logits.length - wanted.length);
    const spread = standardDeviation(wanted);
    const error = Math.sqrt(
      logits.reduce((sum, logit, token) => sum + (logit - wanted[token]!) ** 2, 0) / logits.length,
    );
    expect(error).toBeLessThan(ERROR * spread);
  });
});
