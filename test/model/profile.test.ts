/** `Model.profile`: the rows of a profile, and what becomes of it when the work fails. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../src/index.js";
import { seededModel } from "../cli/seeded.js";

describe("a profile", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(seededModel(), { threads: 2 });
  });
  afterAll(() => model.dispose());

  it("has a row per op, the longest first, and gives back what the work gives", async () => {
    const { value, profile } = await model.profile(() => model.generate([1, 2, 3], { maxTokens: 5, temperature: 0 }));
    expect(value.tokenIds.length).toBe(5);
    expect(profile).toMatchObject({ steps: 5, tokens: 3 + 4, threads: 2 });
    const rows = profile.byOp();
    expect(new Set(rows.map(({ op }) => op)).size).toBe(rows.length);
    expect(rows.map(({ op }) => op)).toEqual(
      expect.arrayContaining(["attention", "experts in", "experts out", "head"]),
    );
    expect(rows.map(({ seconds }) => seconds)).toEqual(rows.map(({ seconds }) => seconds).toSorted((a, b) => b - a));
    const total = rows.reduce((sum, { share }) => sum + share, 0);
    expect(total).toBeGreaterThan(0.3);
    expect(total).toBeLessThanOrEqual(1);
    expect(profile.stepSeconds).toBeLessThanOrEqual(profile.wallSeconds);
    for (const { waiting } of rows) expect(waiting >= 0 && waiting <= 1).toBe(true);
  });

  it("by layer adds up to by op", async () => {
    const { profile } = await model.profile(() => model.forward([1, 2, 3]));
    const { numLayers } = model.config;
    const layers = profile.byLayer().filter(({ op }) => op === "experts in");
    expect(layers.map(({ layer }) => layer).sort()).toEqual([...Array(numLayers).keys()]);
    const together = profile.byOp().find(({ op }) => op === "experts in")!;
    expect(layers.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(together.bytes);
    expect(layers.reduce((sum, { seconds }) => sum + seconds, 0)).toBeCloseTo(together.seconds, 9);
    expect(JSON.parse(JSON.stringify(profile)).byLayer).toHaveLength(profile.byLayer().length);
  });

  it("ends with the work, be it by an error; a second one beside it is refused", async () => {
    const failing = model.profile(() => model.forward([]));
    await expect(failing).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const nested = model.profile(() => model.profile(() => model.forward([1])));
    await expect(nested).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect((await model.profile(() => model.forward([1]))).profile.steps).toBe(1);
  });
});
