/** Work can be stopped at any time, and a disposed model says so. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededModelFolder } from "../../src/cli/seeded-model.js";
import { AbortError } from "../../src/errors.js";
import { Model } from "../../src/model/model.js";
import { packageRoot } from "../../src/native/addon.js";

/** Rows that the device has computed so far. */
async function rowsRun(model: Model): Promise<number> {
  const { counts } = await model.expertLoad();
  return counts.reduce((sum, count) => sum + count, 0) / (model.config.numLayers * model.config.numExpertsPerToken);
}

describe("cancelling", () => {
  let folder: string;
  let model: Model;
  beforeAll(async () => {
    folder = seededModelFolder(join(packageRoot(), "models", "demo"));
    model = await Model.load(folder, { maxContext: 1024 });
  });
  afterAll(() => model.dispose());

  it("ends a long forward pass in the middle and leaves the model usable", async () => {
    const controller = new AbortController();
    const ids = Array.from({ length: 1024 }, (_, i) => i % 1000);
    const work = model.forward(ids, { logits: "all", signal: controller.signal, onProgress: () => controller.abort() });
    await expect(work).rejects.toBeInstanceOf(AbortError);
    await expect(work).rejects.toMatchObject({ code: "ABORTED" });
    expect((await model.forward([1, 2, 3])).logits).toHaveLength(model.config.vocabSize);
  });

  it("ends a generation and its stream when the signal fires or the reader leaves", async () => {
    const controller = new AbortController();
    const pieces = [];
    const read = async () => {
      for await (const piece of model.stream("a", { maxTokens: 500, signal: controller.signal })) {
        pieces.push(piece);
        if (pieces.length === 3) controller.abort();
      }
    };
    await expect(read()).rejects.toMatchObject({ code: "ABORTED" });
    expect(pieces.length).toBeLessThan(20);
    const before = await rowsRun(model);
    for await (const _ of model.stream("a", { maxTokens: 500 })) break;
    expect((await rowsRun(model)) - before).toBeLessThan(100);
    expect((await model.generate("a", { maxTokens: 2 })).tokenIds.length).toBeGreaterThan(0);
  });

  it("leaves no sequence behind, whether work ended, failed or was cancelled", async () => {
    const fresh = await Model.load(folder);
    const { engine } = fresh.parts;
    const short = Array.from({ length: 10 }, (_, i) => i);
    await fresh.generate(short, { maxTokens: 90, n: 20, temperature: 1 });
    for await (const _ of fresh.stream(short, { maxTokens: 900, n: 3 })) break;
    await fresh.forward(short);
    const requests = [1, 2, 3].map((id) => ({ contextIds: [...short, id], continuationIds: [1, 2] }));
    await fresh.loglikelihood(requests);
    await expect(
      fresh.loglikelihood([...requests, { contextIds: [...short, 4], continuationIds: [99_999] }]),
    ).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(fresh.forward([99_999])).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const { active, waiting, reservedBytes } = await engine.usage();
    expect({ active, waiting, reservedBytes }).toEqual({ active: 0, waiting: 0, reservedBytes: 0 });
    await engine.clearPrefixes();
    expect((await engine.usage()).kvCacheBytes).toBe(0);
    await fresh.dispose();
  });

  it("fails the call whose progress callback throws, and no other", async () => {
    const ids = Array.from({ length: 900 }, (_, i) => i % 1000);
    const broken = model.forward(ids, {
      onProgress: () => {
        throw new RangeError("a fault of the caller");
      },
    });
    await expect(broken).rejects.toThrow("a fault of the caller");
    expect((await model.forward([1, 2, 3])).logits).toHaveLength(model.config.vocabSize);
  });

  it("does nothing once the signal has fired", async () => {
    const signal = AbortSignal.abort();
    await expect(model.forward([1], { signal })).rejects.toMatchObject({ code: "ABORTED" });
    await expect(model.generate("a", { signal })).rejects.toMatchObject({ code: "ABORTED" });
    await expect(model.loglikelihood([{ contextIds: [1], continuationIds: [2] }], { signal })).rejects.toMatchObject({
      code: "ABORTED",
    });
    await expect(Model.load(folder, { signal })).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("waits for the step that runs when it is disposed, refuses what comes after, and disposes twice in peace", async () => {
    const gone = await Model.load(folder);
    let disposing: Promise<void> | undefined;
    const running = gone.forward(
      Array.from({ length: 600 }, (_, i) => i),
      { onProgress: () => (disposing ??= gone.dispose()) },
    );
    expect((await running).logits).toHaveLength(gone.config.vocabSize);
    await disposing;
    await gone.dispose();
    await expect(gone.forward([1])).rejects.toMatchObject({ code: "DISPOSED" });
  });
});
