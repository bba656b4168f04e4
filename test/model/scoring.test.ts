/** Traces and interventions of scored pairs: each row belongs to its own request, whatever else is scored beside it. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededModelFolder } from "../../src/cli/seeded-model.js";
import { Model } from "../../src/model/model.js";
import { packageRoot } from "../../src/native/addon.js";
import type { Intervention } from "../../src/router/interventions.js";
import type { RouterTrace } from "../../src/router/trace.js";

const SHARED = Array.from({ length: 40 }, (_, i) => (i * 131 + 7) % 2000);

/** Continuations of one token and of several; one context is the beginning of another pair's context and continuation. */
const REQUESTS = [
  { contextIds: SHARED, continuationIds: [5, 6, 7] },
  { contextIds: SHARED, continuationIds: [5, 9] },
  { contextIds: [...SHARED, 5], continuationIds: [6, 7] },
  { contextIds: [...SHARED, 11, 12], continuationIds: [13] },
  { contextIds: SHARED.slice(0, 20), continuationIds: SHARED.slice(20, 24) },
];

describe("scored pairs", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(seededModelFolder(join(packageRoot(), "models", "demo")));
  });
  afterAll(() => model.dispose());

  const segmentsOf = (trace: RouterTrace) =>
    Array.from(trace.columns.segments, (label) => trace.layout.segments[label]);

  it("label the rows of a context and of a continuation, alone, in company and from the cache", async () => {
    for (const requests of [...REQUESTS.map((request) => [request]), REQUESTS, REQUESTS]) {
      const scores = await model.loglikelihood(requests, { trace: "topk" });
      for (const [i, { contextIds, continuationIds }] of requests.entries()) {
        const expected = [...contextIds.map(() => "question"), ...continuationIds.slice(1).map(() => "choice")];
        expect(segmentsOf(scores[i]!.trace!)).toEqual(expected);
      }
    }
    const { trace } = await model.forward(SHARED, { trace: "topk", logits: "none" });
    expect(new Set(segmentsOf(trace!))).toEqual(new Set(["question"]));
    const generated = await model.generate(SHARED, { maxTokens: 3, trace: "topk" });
    expect(segmentsOf(generated.trace!)).toEqual([...SHARED.map(() => "question"), "generated", "generated"]);
  });

  it.each<[string, Intervention]>([
    ["prefix", { kind: "mask", layers: [1], experts: [0, 1, 2], segments: ["prefix"] }],
    ["question", { kind: "mask", layers: [1], experts: [0, 1, 2], segments: ["question"] }],
    ["choice", { kind: "bias", layers: "all", bias: { "3": 4 }, segments: ["choice"] }],
  ])("score the same alone as in company under a change to the segment %s", async (segment, intervention) => {
    const changed = model.with(intervention);
    const together = await changed.loglikelihood(REQUESTS, { trace: "logits" });
    const plain = await model.loglikelihood(REQUESTS);
    for (const [i, request] of REQUESTS.entries()) {
      const [alone] = await changed.loglikelihood([request], { trace: "logits" });
      expect(together[i]!.tokenLogprobs).toEqual(alone!.tokenLogprobs);
      expect(together[i]!.trace!.columns.intervened).toEqual(alone!.trace!.columns.intervened);
      const touched = segmentsOf(alone!.trace!).includes(segment);
      expect(alone!.trace!.columns.intervened.includes(1)).toBe(touched);
      if (!touched) expect(alone!.tokenLogprobs).toEqual(plain[i]!.tokenLogprobs);
    }
  });

  it("mark every row that ran as computed once, as the device counted it", async () => {
    const fresh = await Model.load(seededModelFolder(join(packageRoot(), "models", "demo")));
    let seen = 0;
    for (const requests of [REQUESTS, [...REQUESTS, ...REQUESTS]]) {
      const scores = await fresh.loglikelihood(requests, { trace: "topk" });
      const total = (rows: "computed" | "attributed") =>
        scores.flatMap(({ trace }) => [...trace!.expertLoad(rows).counts]).reduce((sum, count) => sum + count, 0);
      const device = (await fresh.expertLoad()).counts.reduce((sum, count) => sum + count, 0);
      expect(total("computed")).toBe(device - seen);
      seen = device;
      const { numLayers, numExpertsPerToken } = fresh.config;
      const rows = requests.reduce((sum, r) => sum + r.contextIds.length + r.continuationIds.length - 1, 0);
      expect(total("attributed")).toBe(rows * numLayers * numExpertsPerToken);
    }
    await fresh.dispose();
  });

  it("are greedy where every token is the likeliest after those before it", async () => {
    const { tokenIds } = await model.generate(SHARED, { maxTokens: 3, temperature: 0 });
    const [a, b, c] = tokenIds as unknown as [number, number, number];
    const continuations = [[a], [a, b, c], [a + 1, b, c], [a, b, c + 1], [a, b + 1]];
    const requests = continuations.map((continuationIds) => ({ contextIds: SHARED, continuationIds }));
    const scores = await model.loglikelihood(requests);
    expect(scores.map(({ isGreedy }) => isGreedy)).toEqual([true, true, false, false, false]);
  });

  it("share no prefix with a model of other interventions, or of none", async () => {
    const mask: Intervention = { kind: "mask", layers: [0], experts: [0, 1] };
    const other: Intervention = { kind: "mask", layers: [0], experts: [2, 3] };
    const requests = REQUESTS.slice(0, 3);
    const results: Float32Array[][] = [];
    for (const changes of [[], [mask], [other]]) {
      const fresh = await Model.load(seededModelFolder(join(packageRoot(), "models", "demo")));
      const scores = await fresh.with(changes).loglikelihood(requests);
      results.push(scores.map(({ tokenLogprobs }) => tokenLogprobs));
      await fresh.dispose();
    }
    for (const [i, changes] of [[], [mask], [other], [], [mask]].entries()) {
      const scores = await model.with(changes).loglikelihood(requests);
      expect(scores.map(({ tokenLogprobs }) => tokenLogprobs)).toEqual(results[i % 3]);
    }
  });

  it("fill the context to its last position and refuse one token more, or cut it from the left", async () => {
    const { maxContext } = model.config;
    const long = Array.from({ length: maxContext }, (_, i) => (i * 17 + 3) % 2000);
    const [full] = await model.loglikelihood([{ contextIds: long, continuationIds: [4] }]);
    expect(full!.logprob).toBeLessThan(0);
    const over = [{ contextIds: [9, ...long], continuationIds: [4] }];
    await expect(model.loglikelihood(over)).rejects.toMatchObject({ code: "CONTEXT_TOO_LONG" });
    const [cut] = await model.loglikelihood(over, { truncate: true });
    expect(cut!.tokenLogprobs).toEqual(full!.tokenLogprobs);
  });
});
