/** Figures that need the outputs of experts, against the float64 oracle of the seeded model. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Random } from "../../src/analysis/random.js";
import { outputSimilarity } from "../../src/analysis/similarity.js";
import { expertSimilarity } from "../../src/experiment/expert-similarity.js";
import { routeRegret, sampleRoute } from "../../src/experiment/route-regret.js";
import { subsetReconstruction } from "../../src/experiment/subset-reconstruction.js";
import { Model } from "../../src/model/model.js";
import { seededModel } from "../cli/seeded.js";
import { loadOracle } from "../reference/oracle.js";

const document = (length: number, seed: number) => Int32Array.from({ length }, (_, i) => (i * 37 + seed * 11) % 250);
const DOCUMENTS = [document(20, 1), document(9, 2), document(13, 3)];
const LAYER = 2;
const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((sum, value) => sum + value ** 2, 0));
const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

let model: Model;
let oracle: ReturnType<typeof loadOracle>;
beforeAll(async () => {
  model = await Model.load(seededModel(), { threads: 2 });
  oracle = loadOracle(seededModel());
});
afterAll(() => model.dispose());

describe("subset reconstruction", () => {
  it("is the change of the residual stream behind the layer, in float64", async () => {
    const { numExperts, numExpertsPerToken } = model.config;
    const kept = Array.from({ length: Math.max(numExpertsPerToken, numExperts / 2) }, (_, e) => e);
    const out = Array.from({ length: numExperts }, (_, e) => e).filter((e) => !kept.includes(e));
    const found = await subsetReconstruction(model, DOCUMENTS, LAYER, kept);
    const errors = DOCUMENTS.flatMap((ids) => {
      const full = oracle(ids).hidden[LAYER]!;
      const less = oracle(ids, { changes: [{ kind: "mask", layers: [LAYER], experts: out }] }).hidden[LAYER]!;
      return full.map((row, t) => norm(row.map((value, i) => value - less[t]![i]!)));
    });
    expect(found.tokens).toBe(42);
    expect(Math.abs(found.mean / mean(errors) - 1)).toBeLessThan(1e-4);
    expect(Math.abs(found.frobenius / norm(errors) - 1)).toBeLessThan(1e-4);
    expect(found.relative).toBeGreaterThan(0);
    expect(found.interval[0]).toBeLessThan(found.mean);
    expect(found.interval[1]).toBeGreaterThan(found.mean);
    expect(found.controls).toHaveLength(4);
    for (const control of found.controls) expect(control.kept).toHaveLength(kept.length);
  });

  it("of all experts is 0, and wrong subsets are refused", async () => {
    const all = Array.from({ length: model.config.numExperts }, (_, e) => e);
    const found = await subsetReconstruction(model, DOCUMENTS, LAYER, all, { controls: 0 });
    expect([found.mean, found.frobenius, ...found.interval]).toEqual([0, 0, 0, 0]);
    await expect(subsetReconstruction(model, DOCUMENTS, LAYER, [0, 0])).rejects.toThrow("Expected distinct experts");
    await expect(subsetReconstruction(model, DOCUMENTS, LAYER, [0])).rejects.toThrow(
      "Expected at least 2 experts to keep",
    );
    await expect(subsetReconstruction(model, DOCUMENTS, 99, all)).rejects.toThrow("one of the MoE layers");
  });
});

describe("similarity of experts", () => {
  it("by outputs is that of all experts on the same tokens", async () => {
    const { numExperts, hiddenSize } = model.config;
    const outputs = Array.from({ length: numExperts }, () => [] as number[]);
    for (const ids of DOCUMENTS) {
      const seen = new Map<string, Float64Array>();
      oracle(ids, {
        changes: [{ kind: "top-k", layers: [LAYER], k: numExperts }],
        onExpert: (layer, position, expert, _gate, output) => {
          if (layer === LAYER) seen.set(`${expert} ${position}`, output);
        },
      });
      for (let e = 0; e < numExperts; e++) {
        for (let t = 0; t < ids.length; t++) outputs[e]!.push(...seen.get(`${e} ${t}`)!);
      }
    }
    for (const measure of ["cosine", "angular", "centred-cosine", "jsd", "cka"] as const) {
      const found = await expertSimilarity(model, DOCUMENTS, LAYER, { measure });
      expect(found.tokens).toBe(42);
      for (let a = 0; a < numExperts; a++) {
        for (let b = 0; b < numExperts; b++) {
          const expected = outputSimilarity(outputs[a]!, outputs[b]!, hiddenSize, measure);
          expect(Math.abs(found.values[a * numExperts + b]! - expected)).toBeLessThan(a === b ? 1e-3 : 1e-4);
          if (a !== b) expect(found.null[a * numExperts + b]).not.toBeNaN();
        }
      }
    }
    expect((await expertSimilarity(model, DOCUMENTS, LAYER, { maxTokens: 25 })).tokens).toBe(25);
  });
});

describe("route regret", () => {
  const texts = DOCUMENTS.map((tokenIds) => ({ tokenIds, goldStart: 5 }));

  it("is the best sampled route less the standard one, the same for a seed", async () => {
    const found = await routeRegret(model, texts, { routes: 4, seed: 1 });
    for (const [i, { standard, sampled, regret }] of found.texts.entries()) {
      const ids = DOCUMENTS[i]!;
      const expected = oracle(ids)
        .logits.slice(4, -1)
        .reduce((sum, row, at) => {
          const top = Math.max(...row);
          return sum + row[ids[5 + at]!]! - top - Math.log(row.reduce((s, z) => s + Math.exp(z - top), 0));
        }, 0);
      expect(Math.abs(standard - expected)).toBeLessThan(1e-2);
      expect(new Set(sampled).size).toBe(4);
      expect(regret).toBe(Math.max(...sampled) - standard);
    }
    expect(found.mean).toBeCloseTo(mean(found.texts.map(({ regret }) => regret)), 12);
    expect(found.typical).toBeLessThan(found.mean);
    expect(await routeRegret(model, texts, { routes: 4, seed: 1 })).toEqual(found);
    expect((await routeRegret(model, texts, { routes: 4, seed: 2 })).texts).not.toEqual(found.texts);
  });

  it("draws first experts as often as the router's softmax says, and k distinct ones", async () => {
    const ids = DOCUMENTS[1]!;
    const { trace } = await model.forward(ids, { logits: "last", trace: "logits" });
    const { numExperts, numExpertsPerToken: k } = model.config;
    const z = Array.from(trace!.columns.routerLogits.subarray(0, numExperts));
    const norm = z.reduce((sum, value) => sum + Math.exp(value), 0);
    const random = new Random(5);
    const draws = 2000;
    const first = new Float64Array(numExperts);
    for (let i = 0; i < draws; i++) {
      const { experts } = sampleRoute(trace!, 1, random);
      first[experts[0]!]!++;
      expect(new Set(experts.subarray(0, k)).size).toBe(k);
    }
    for (const [e, value] of z.entries()) {
      const p = Math.exp(value) / norm;
      expect(Math.abs(first[e]! / draws - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / draws) + 1 / draws);
    }
  });

  it("is 0 where the temperature leaves only the standard route", async () => {
    const found = await routeRegret(model, texts, { routes: 2, temperature: 1e-9 });
    expect(found.mean).toBe(0);
    expect(found.typical).toBe(0);
    expect(found.interval).toEqual([0, 0]);
  });

  it("refuses texts without an answer", async () => {
    await expect(routeRegret(model, [])).rejects.toThrow("at least one text");
    await expect(routeRegret(model, [{ tokenIds: [1, 2], goldStart: 2 }])).rejects.toThrow("texts[0].goldStart");
  });
});
