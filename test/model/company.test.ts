/** Calls that overlap share the steps of one model: what each of them gets, when, and what one's end does to the others. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededModelFolder } from "../../src/cli/seeded-model.js";
import { Model } from "../../src/model/model.js";
import { packageRoot } from "../../src/native/addon.js";
import type { Intervention } from "../../src/router/interventions.js";

/** Ids that begin alike for equal seeds. */
function someIds(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => (i * 131 + seed * 977 + i * i * 7) % 2000);
}

const folder = (): string => seededModelFolder(join(packageRoot(), "models", "demo"));
const SAMPLED = { temperature: 0.9, topK: 40, seed: 3 };
const MASK: Intervention = { kind: "mask", layers: [1], experts: [0, 3] };
const WIDE: Intervention = { kind: "top-k", layers: [0], k: 5 };
const LAST: Intervention = { kind: "zero", layers: [3], experts: [1, 2] };

/** Rows that the device has computed so far. */
async function rowsRun(model: Model): Promise<number> {
  const { counts } = await model.expertLoad();
  return counts.reduce((sum, count) => sum + count, 0) / (model.config.numLayers * model.config.numExpertsPerToken);
}

/** Resolves once something of the model is under way. */
async function underWay(model: Model, active: number = 1): Promise<void> {
  while (model.parts.engine.scheduler.usage().active < active) await new Promise((resolve) => setImmediate(resolve));
}

describe.each(["ref", "fast"] as const)("calls that overlap, %s", (precision) => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(folder(), { precision });
  });
  afterAll(() => model.dispose());

  it("give what each gives alone: texts, scores, logits and routes, changed or not, watched or not, with neighbours cancelled", async () => {
    const shared = someIds(1, 100);
    const pairs = [1, 2, 3].map((seed) => ({
      contextIds: [...shared, ...someIds(seed, 30)],
      continuationIds: someIds(seed + 9, seed),
    }));
    const calls = [[], [MASK], [WIDE], [LAST]].flatMap((changes) => {
      const subject = model.with(changes);
      const prompt = [...shared, ...someIds(5, 20 + changes.length)];
      return (["counts", "topk", "hidden"] as const).flatMap((trace) => [
        (signal?: AbortSignal) => subject.generate(prompt, { ...SAMPLED, maxTokens: 12, n: 2, trace, signal }),
        (signal?: AbortSignal) => subject.loglikelihood(pairs, { trace, signal }),
        (signal?: AbortSignal) => subject.forward(prompt, { logits: "all", trace, signal }),
      ]);
    });
    const said = (answer: unknown) =>
      JSON.stringify(answer, (name, value) => {
        if (name === "timing" || name === "computed") return undefined;
        return ArrayBuffer.isView(value)
          ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")
          : value;
      });
    const alone: string[] = [];
    for (const call of calls) {
      await model.parts.engine.clearPrefixes();
      alone.push(said(await call()));
    }
    const doomed = calls.map((call, i) => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 7 * i);
      return call(controller.signal).catch((error) => error.code);
    });
    const together = await Promise.all(calls.map((call) => call()));
    for (const [i, answer] of together.entries()) expect(said(answer) === alone[i], `call ${i}`).toBe(true);
    expect(await Promise.all(doomed)).toContain("ABORTED");
  }, 120_000);
});

describe("calls that overlap", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(folder(), { ropeScaling: { type: "yarn", factor: 4 } });
  });
  afterAll(() => model.dispose());

  it("compute what they have in common once, also where all begin at the same time", async () => {
    const shared = someIds(20, 300);
    const before = await rowsRun(model);
    await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        model.loglikelihood([{ contextIds: [...shared, ...someIds(i + 30, 10)], continuationIds: [4] }]),
      ),
    );
    // The ends may begin alike for a few tokens.
    expect((await rowsRun(model)) - before).toBeLessThanOrEqual(300 + 12 * 10);
    const again = await rowsRun(model);
    await model.loglikelihood([{ contextIds: [...shared, ...someIds(99, 10)], continuationIds: [4] }]);
    expect((await rowsRun(model)) - again).toBeLessThanOrEqual(10);
  });

  it("share keys and values up to the last layer that an intervention reaches, and never routes", async () => {
    const contextIds = someIds(40, 200);
    const request = [{ contextIds, continuationIds: [4] }];
    await model.loglikelihood(request);
    const rowsOf = async (work: () => Promise<unknown>) => {
      const before = await rowsRun(model);
      await work();
      return (await rowsRun(model)) - before;
    };
    // What the last layer's experts do reaches no keys and values.
    expect(await rowsOf(() => model.with(LAST).loglikelihood(request))).toBe(1);
    expect(await rowsOf(() => model.with(MASK).loglikelihood(request))).toBe(200);
    expect(await rowsOf(() => model.with(LAST).loglikelihood(request, { trace: "topk" }))).toBe(200);
  });

  it("wait for no long prompt: a short one is answered within a few steps", async () => {
    const long = model.forward(someIds(50, 4096), { logits: "none" });
    await underWay(model);
    const before = await rowsRun(model);
    await model.generate(someIds(51, 60), { maxTokens: 4 });
    // Five steps of 256 rows, and those that ran before it came, which may be four times as long.
    expect((await rowsRun(model)) - before).toBeLessThanOrEqual(2 * 1024 + 5 * 256);
    let isDone = false;
    void long.then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isDone).toBe(false);
    await long;
  });

  it("take turns: a call that comes after one with hundreds of texts is not the last", async () => {
    const order: string[] = [];
    const many = Array.from({ length: 400 }, (_, i) => ({ contextIds: someIds(i, 40), continuationIds: [4] }));
    const crowd = model.loglikelihood(many, { onProgress: (done) => done === 400 && order.push("crowd") });
    await underWay(model);
    await model.generate([7], { maxTokens: 3 });
    order.push("late");
    await crowd;
    expect(order).toEqual(["late", "crowd"]);
  });

  it("fail alone: a bad token or a throwing callback ends its own call", async () => {
    const expected = await model.generate(someIds(60, 40), { ...SAMPLED, maxTokens: 20 });
    const outcomes = await Promise.allSettled([
      model.generate(someIds(60, 40), { ...SAMPLED, maxTokens: 20 }),
      model.forward([1, 2, 99_999]),
      model.loglikelihood([{ contextIds: [5, 6], continuationIds: [99_999] }]),
      model.forward(someIds(61, 600), {
        onProgress: () => {
          throw new RangeError("a fault of the caller");
        },
      }),
      model.generate(someIds(60, 41), { ...SAMPLED, maxTokens: 20 }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      "fulfilled",
      ...["rejected", "rejected", "rejected"],
      "fulfilled",
    ]);
    const reasons = outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason : outcome.value));
    expect((reasons[0] as typeof expected).logprobs).toEqual(expected.logprobs);
    expect(reasons.slice(1, 3)).toMatchObject([{ code: "INVALID_ARGUMENT" }, { code: "INVALID_ARGUMENT" }]);
    expect(reasons[3]).toMatchObject({ message: "a fault of the caller" });
  });

  it("are cancelled at once, and leave nothing", async () => {
    const { engine } = model.parts;
    await engine.clearPrefixes();
    const controllers = [0, 1, 2].map(() => new AbortController());
    const calls = controllers.map(({ signal }, i) => model.forward(someIds(70 + i, 4000), { signal, logits: "none" }));
    await underWay(model, 3);
    for (const [i, controller] of controllers.entries()) {
      const start = performance.now();
      controller.abort();
      await expect(calls[i]).rejects.toMatchObject({ code: "ABORTED" });
      expect(performance.now() - start).toBeLessThan(50); // of the seconds that it would have taken
    }
    const { active, waiting, reservedBytes, kvCacheBytes } = await engine.usage();
    expect([active, waiting, reservedBytes, kvCacheBytes]).toEqual([0, 0, 0, 0]);
  });

  it("keep their bits and the bound of the cache while prefixes are evicted", async () => {
    const kvCacheBytes = 64 * 2048 * 16; // sixteen pages of four layers
    const tight = await Model.load(folder(), { kvCacheBytes });
    const prompts = Array.from({ length: 30 }, (_, i) => [...someIds(i % 3, 70), ...someIds(i + 80, 50 + i)]);
    const answers = await Promise.all(prompts.map((ids) => tight.generate(ids, { ...SAMPLED, maxTokens: 6 })));
    const usage = await tight.parts.engine.usage();
    expect(usage.prefixNodes).toBeGreaterThan(0);
    expect(usage.prefixBytes).toBeLessThanOrEqual(kvCacheBytes);
    expect(usage.kvCacheBytes).toBeLessThanOrEqual(kvCacheBytes);
    for (const [i, ids] of prompts.entries()) {
      await tight.parts.engine.clearPrefixes();
      const { logprobs } = await tight.generate(ids, { ...SAMPLED, maxTokens: 6 });
      expect(answers[i]!.logprobs).toEqual(logprobs);
    }
    // One text that is larger than the cache runs alone, and is not kept.
    await tight.generate(someIds(3, 1000), { maxTokens: 2 });
    const { kvCacheBytes: after } = await tight.parts.engine.usage();
    expect(after).toBeLessThanOrEqual(kvCacheBytes);
    await tight.dispose();
  });
});
