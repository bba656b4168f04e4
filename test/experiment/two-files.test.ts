/** Two files of one model: drift and replay, on the seeded model and its Q4_K_M file. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { drift, driftPlot } from "../../src/experiment/drift.js";
import { lineQuestions } from "../../src/experiment/questions.js";
import { routeReplay } from "../../src/experiment/route-replay.js";
import { Model } from "../../src/model/model.js";
import { quantizeModel } from "../../src/quantize/quantize.js";
import { PROJECT, seededModel, temporaryFolder } from "../cli/seeded.js";
import { linesOfTwoDomains } from "./lines.js";

const folder = temporaryFolder();
const questions = lineQuestions(linesOfTwoDomains(3), "two domains");
let a: Model;
let b: Model;
beforeAll(async () => {
  const file = join(folder, "seeded-Q4_K_M.gguf");
  await quantizeModel(seededModel(), file, { type: "Q4_K_M" });
  a = await Model.load(seededModel());
  b = await Model.load(file);
});
afterAll(async () => {
  await a?.dispose();
  await b?.dispose();
});

describe("drift", () => {
  it("of a model from itself is nothing", async () => {
    const found = await drift(a, a, questions);
    expect(found.logitError).toMatchObject({ rms: 0, max: 0 });
    expect(found.kl).toEqual({ mean: 0, median: 0, max: 0 });
    expect([...found.agreement, found.top1Agreement]).toEqual([1, 1, 1, 1, 1]);
    expect([...found.differs, found.differsInAnyLayer]).toEqual([0, 0, 0, 0, 0]);
    expect(found.flips.every(({ flips }) => flips === 0)).toBe(true);
    expect(found.changedAnswers).toEqual([]);
    for (const effect of found.scores) expect(effect).toMatchObject({ difference: 0, p: 1 });
  });

  it("of a quantised file has flips where margins are small, and tells routes from weights", async () => {
    const found = await drift(a, b, questions);
    expect(found.documents).toBe(6);
    expect(found.logitError.rms).toBeGreaterThan(0.01);
    expect(found.logitError.rms).toBeLessThan(0.5);
    const total = found.flips.reduce((sum, { flips }) => sum + flips, 0);
    expect(total).toBe(Math.round([...found.differs].reduce((sum, share) => sum + share * found.tokens, 0)));
    expect(total).toBeGreaterThan(0);
    expect(driftPlot(found).bins.at(-1)!.tokens).toBeGreaterThan(0);
    for (const answer of found.changedAnswers) {
      expect(answer.tokenA).not.toBe(answer.tokenB);
      if (answer.causedByRoutes) expect(answer.flips).toBeGreaterThan(0);
      for (const flip of answer.nearest) expect(flip.lost).toHaveLength(flip.gained.length);
    }
  });

  it("refuses models that are not files of one", async () => {
    const demo = await Model.load(join(PROJECT, "models", "demo"));
    await expect(drift(a, demo, questions)).rejects.toThrow(
      "Expected two files of one mixture of experts, got MoE layers 0, 1, 2, 3",
    );
    await demo.dispose();
  });
});

describe("replay", () => {
  it("of a model's own routes changes no bit", async () => {
    for (const weights of ["model", "recorded"] as const) {
      const found = await routeReplay(a, a, questions, { weights });
      expect(found.kl).toEqual({ own: 0, replayed: 0 });
      expect(found.logprob.replayed).toBe(found.logprob.own);
      expect(found.effect).toMatchObject({ difference: 0, stderr: 0 });
      expect(found.top1).toEqual({ own: 1, replayed: 1 });
      expect(found.explained).toBeNaN();
    }
  });

  it("of another file's routes brings its logits nearer", async () => {
    const found = await routeReplay(b, a, questions);
    expect(found.documents).toBe(6);
    expect(found.kl.own).toBeGreaterThan(0);
    expect(found.kl.replayed).toBeLessThan(found.kl.own);
    expect(found.explained).toBeCloseTo(1 - found.kl.replayed / found.kl.own, 12);
    expect(found.perLayer.map(({ layer }) => layer)).toEqual([0, 1, 2, 3]);
    expect(found.logprob.other).not.toBe(found.logprob.own);
  });
});
