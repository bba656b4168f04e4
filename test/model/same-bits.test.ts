/** What a model answers about a text does not depend on what else is asked, how, or how closely it is watched: bit for bit. */

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededModelFolder } from "../../src/cli/seeded-model.js";
import { Model } from "../../src/model/model.js";
import { packageRoot } from "../../src/native/addon.js";
import { CACHE_TYPES } from "../../src/native/binding.js";
import type { TraceColumns } from "../../src/router/trace-columns.js";
import { sameBits } from "./compare.js";

const PROMPTS = [
  "def add(a, b):",
  "Which planet is the largest?",
  "水的化学式是什么?",
  "Tom has 3 apples and buys 4 more.",
  "a",
];
const SAMPLED = { temperature: 0.9, topK: 40, topP: 0.95, seed: 7, maxTokens: 24 };

/** 200 ids that begin alike for equal seeds. */
function someIds(seed: number, length: number): number[] {
  return Array.from({ length }, (_, i) => (i * 131 + seed * 977 + i * i * 7) % 2000);
}

describe("same bits", () => {
  let folder: string;
  let model: Model;
  beforeAll(async () => {
    folder = seededModelFolder(join(packageRoot(), "models", "demo"));
    model = await Model.load(folder);
  });
  afterAll(() => model.dispose());

  it("draws the same text alone, in company and one of many samples", async () => {
    const alone = [];
    for (const prompt of PROMPTS) {
      const fresh = await Model.load(folder);
      alone.push(await fresh.generate(prompt, SAMPLED));
      await fresh.dispose();
    }
    const together = await Promise.all(PROMPTS.map((prompt) => model.generate(prompt, { ...SAMPLED, n: 3 })));
    for (const [index, { samples }] of together.entries()) {
      expect(samples[0]!.tokenIds).toEqual(alone[index]!.tokenIds);
      expect(samples[0]!.logprobs).toEqual(alone[index]!.logprobs);
      expect(new Set(samples.map(({ tokenIds }) => tokenIds.join())).size).toBeGreaterThan(1);
    }
    const batch = await model.toLanguageModel().generate(
      PROMPTS.map((prompt) => ({
        prompt,
        stop: [],
        maxTokens: SAMPLED.maxTokens,
        sampling: { ...SAMPLED, minP: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 },
      })),
    );
    expect(batch.map(({ tokenIds }) => tokenIds)).toEqual(alone.map(({ tokenIds }) => tokenIds));
  });

  it("scores a pair the same alone, in a tree of shared prefixes, and from the prefix cache", async () => {
    const shared = someIds(1, 90);
    const requests = [0, 1, 2, 3].flatMap((question) => {
      const contextIds = [...shared, ...someIds(question + 2, 20 + question)];
      return [5, 6, 7].map((answer) => ({
        contextIds,
        continuationIds: question % 2 === 0 ? [answer] : [answer, 9, 3],
      }));
    });
    const alone = [];
    for (const request of requests) {
      const fresh = await Model.load(folder);
      alone.push(...(await fresh.loglikelihood([request])));
      await fresh.dispose();
    }
    for (const _ of ["tree", "cache"]) {
      const scores = await model.loglikelihood(requests, { trace: "logits" });
      expect(scores.map(({ tokenLogprobs }) => tokenLogprobs)).toEqual(alone.map(({ tokenLogprobs }) => tokenLogprobs));
      expect(scores.map(({ isGreedy }) => isGreedy)).toEqual(alone.map(({ isGreedy }) => isGreedy));
    }
  });

  it("returns with a prefix hit the routes that were stored with it, as attributed and not as computed", async () => {
    const fresh = await Model.load(folder);
    const contextIds = someIds(3, 120);
    const requests = [[5], [6, 7]].map((continuationIds) => ({ contextIds, continuationIds }));
    const [first] = await fresh.loglikelihood(requests, { trace: "topk" });
    const [again] = await fresh.loglikelihood(requests, { trace: "topk" });
    expect(again!.trace!.columns.topkExperts).toEqual(first!.trace!.columns.topkExperts);
    expect(again!.trace!.columns.topkWeights).toEqual(first!.trace!.columns.topkWeights);
    expect(again!.trace!.expertLoad("attributed").counts).toEqual(first!.trace!.expertLoad("attributed").counts);
    const computed = again!.trace!.columns.computed.reduce((sum, flag) => sum + flag, 0);
    expect(computed).toBeLessThan(contextIds.length / 2);
    await fresh.dispose();
  });

  it.each(["counts", "topk", "logits", "hidden"] as const)(
    "gives the same logits watched at level %s",
    async (trace) => {
      const ids = someIds(4, 150);
      const plain = await model.forward(ids, { logits: "all" });
      const watched = await model.forward(ids, { logits: "all", trace });
      expect(sameBits(watched.logits, plain.logits)).toBe(true);
    },
  );

  it.each(CACHE_TYPES)(
    "scores the same whole, cut anywhere and token by token, on a cache in %s",
    async (cacheType) => {
      const other = await Model.load(folder, { cacheType });
      const ids = someIds(8, 300);
      const score = async (length: number) => {
        const request = { contextIds: ids.slice(0, length), continuationIds: ids.slice(length) };
        return (await other.loglikelihood([request]))[0]!.tokenLogprobs;
      };
      const whole = await score(1);
      // Around a chunk's and a tile's border, and where the prefix cache begins and ends.
      for (const length of [15, 17, 64, 255, 256, 257, 299])
        expect(await score(length)).toEqual(whole.slice(length - 1));
      const { tokenIds, logprobs } = await other.generate(ids.slice(0, 40), { ...SAMPLED, maxTokens: 30 });
      const [read] = await other.loglikelihood([{ contextIds: ids.slice(0, 40), continuationIds: tokenIds }]);
      expect(logprobs).toEqual(read!.tokenLogprobs);
      await other.dispose();
    },
  );

  it.each([1, 3])("gives the same logits and routes on %i threads", async (threads) => {
    const ids = someIds(5, 300);
    const other = await Model.load(folder, { threads });
    const expected = await model.forward(ids, { logits: "all", trace: "logits" });
    const actual = await other.forward(ids, { logits: "all", trace: "logits" });
    expect(sameBits(actual.logits, expected.logits)).toBe(true);
    for (const [name, values] of Object.entries(expected.trace!.columns)) {
      expect(sameBits(actual.trace!.columns[name as keyof TraceColumns], values), name).toBe(true);
    }
    await other.dispose();
  });

  it("changes no bit by removing an expert that is never selected", async () => {
    const ids = someIds(6, 12);
    const { logits, trace } = await model.forward(ids, { logits: "all", trace: "topk" });
    const load = trace!.expertLoad();
    const [layer, expert] = load.layers
      .flatMap((layer, index) =>
        Array.from(
          { length: load.numExperts },
          (_, expert) => [layer, expert, load.counts[index * load.numExperts + expert]!] as const,
        ),
      )
      .find(([, , count]) => count === 0)!;
    const without = model.with({ kind: "zero", layers: [layer], experts: [expert] });
    expect(sameBits((await without.forward(ids, { logits: "all" })).logits, logits)).toBe(true);
  });

  it("counts as computed every row that ran, and no other", async () => {
    const fresh = await Model.load(folder);
    const ids = someIds(7, 64);
    await fresh.forward(ids);
    const counts = (await fresh.expertLoad()).counts.reduce((sum, count) => sum + count, 0);
    const { numLayers, numExpertsPerToken } = fresh.config;
    expect(counts).toBe(ids.length * numLayers * numExpertsPerToken);
    await fresh.dispose();
  });
});
