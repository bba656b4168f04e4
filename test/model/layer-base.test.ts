/** Scans over one layer: variants that share the layers below score with the bits of plain variants, and compute less. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bias, Model, mask, on, zero } from "../../src/index.js";
import { trieLevels } from "../../src/model/token-trie.js";
import { seededModel } from "../cli/seeded.js";

const ids = (length: number, seed: number) => Array.from({ length }, (_, i) => (i * 37 + seed * 11) % 250);
/** Questions with a common beginning and choices of different lengths; one context twice, one of its own, one continuation empty-handed. */
const REQUESTS = [1, 2, 3].flatMap((seed) =>
  [[7], [8], [9, 10, 11], [9, 10, 12]].map((continuationIds) => ({
    contextIds: [...ids(70, 0), ...ids(9, seed)],
    continuationIds,
  })),
);
REQUESTS.push({ contextIds: ids(5, 9), continuationIds: [1, 2] }, { contextIds: [3], continuationIds: [4] });

describe("shared layers", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(seededModel(), { threads: 2 });
  });
  afterAll(() => model.dispose());

  const changes = (layer: number) => [
    zero({ layers: [layer], experts: [1, 3] }),
    mask({ layers: [layer], experts: [0] }),
    bias({ layers: [layer, 3], bias: { 2: 1.5 }, positions: [10, 75] }),
    on("moe.output", { layers: [layer] }, (values) => values.map((value) => 0.5 * value)),
  ];

  it.each([1, 2, 3])("below layer %i give the bits of plain variants, also after eviction", async (layer) => {
    const changed = model.with(bias({ layers: [0], bias: { 4: 0.5 } }));
    for (const plain of [model, changed]) {
      for (const options of [{}, { maxBytes: 300_000 }, { maxBytes: 1 }]) {
        const base = plain.sharedBelow(layer, options);
        for (const change of changes(layer)) {
          const expected = await plain.with(change).loglikelihood(REQUESTS);
          const shared = base.with(change);
          expect(await shared.loglikelihood(REQUESTS)).toEqual(expected);
          expect(await shared.loglikelihood(REQUESTS.slice(2, 5))).toEqual(expected.slice(2, 5));
        }
        await base.dispose();
      }
    }
  });

  it("give plain variants where routes or segments are asked, and refuse what acts below", async () => {
    const base = model.sharedBelow(2);
    const change = zero({ layers: [2], experts: [1], segments: ["choice"] });
    expect(await base.with(change).loglikelihood(REQUESTS)).toEqual(await model.with(change).loglikelihood(REQUESTS));
    const [traced] = await base.with(zero({ layers: [2], experts: [1] })).loglikelihood(REQUESTS, { trace: "topk" });
    expect(traced!.trace!.layers).toEqual([0, 1, 2, 3]);
    expect(() => base.with(zero({ layers: [1], experts: [0] }))).toThrow("from layer 2 upwards");
    expect(() => model.sharedBelow(0)).toThrow("Expected a layer from 1 to 3 to share those below for layer, got 0");
    const unnamed = model.with(on("moe.output", { layers: [0] }, () => undefined));
    expect(() => unnamed.sharedBelow(2)).toThrow("Expected callbacks with id and version");
    await base.dispose();
    await expect(base.with(zero({ layers: [2], experts: [0] })).loglikelihood(REQUESTS)).rejects.toMatchObject({
      code: "DISPOSED",
    });
  });

  it("fail with the callback that fails, and end with the signal", async () => {
    const base = model.sharedBelow(2);
    const fault = new Error("not today");
    const failing = on("moe.output", { layers: [3] }, () => Promise.reject(fault));
    await expect(base.with(failing).loglikelihood(REQUESTS)).rejects.toBe(fault);
    const never = on("moe.output", { layers: [3] }, () => new Promise<undefined>(() => {}));
    const signal = AbortSignal.timeout(50);
    await expect(base.with(never).loglikelihood(REQUESTS, { signal })).rejects.toMatchObject({ code: "ABORTED" });
    const change = zero({ layers: [2], experts: [1] });
    expect(await base.with(change).loglikelihood(REQUESTS)).toEqual(await model.with(change).loglikelihood(REQUESTS));
    await base.dispose();
  });
});

describe("trieLevels", () => {
  it("computes each shared stretch once", () => {
    const texts = [[1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2], [1, 2, 3, 4], [7], []].map((text) => Int32Array.from(text));
    const levels = trieLevels(texts).map((level) => level.map(({ from, to, texts: own }) => [from, to, own]));
    expect(levels).toEqual([
      [
        [0, 2, [2, 0, 3, 1]],
        [0, 1, [4]],
      ],
      [[2, 3, [0, 3, 1]]],
      [
        [3, 4, [0, 3]],
        [3, 5, [1]],
      ],
    ]);
  });
});
