/** `demo`: says what it runs on, and shows text, scores with intervals and expert load. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeSeededModel } from "../../src/cli/seeded-model.js";
import { Model } from "../../src/model/model.js";
import { runCli } from "./run-cli.js";
import { PROJECT, seededModel, temporaryFolder } from "./seeded.js";

const isTrained = existsSync(join(PROJECT, "models", "demo", "model.safetensors"));

describe("demo", () => {
  it("says at once that it works, and what kind of model this is", async () => {
    const { code, stdout, stderr } = await runCli(["demo"]);
    expect(code).toBe(0);
    expect(stderr.split("\n")[0]).toBe("Loading the demo model ...");
    expect(stdout).toMatch(isTrained ? /trained from nothing/ : /It is UNTRAINED/);
    for (const domain of ["English", "Chinese", "arithmetic", "code"]) expect(stdout).toContain(`  ${domain}: `);
    expect(stdout).toMatch(/mmlu-mini\S* +\d+\.\d % +\d+\.\d % to \d+\.\d %/);
    expect(stdout).toContain("layer 0 │");
  });

  it("gives the same as JSON: loads that add up, intervals around the accuracy", async () => {
    const { stdout } = await runCli(["demo", "--json", "--quiet"]);
    const { domains, scores, model } = JSON.parse(stdout);
    expect(domains).toHaveLength(4);
    const sums = domains[0].expertLoad.map(({ counts }: { counts: number[] }) =>
      counts.reduce((sum, count) => sum + count, 0),
    );
    expect(new Set(sums).size).toBe(1);
    const names = isTrained ? ["mmlu-mini", "ceval-mini"] : ["mmlu-mini-letter", "ceval-mini-letter"];
    expect(scores.map(({ suite }: { suite: string }) => suite)).toEqual([...names, "gsm8k-mini"]);
    for (const { estimate } of scores) {
      expect(estimate.n).toBe(estimate === scores[2].estimate ? 12 : 24);
      expect(estimate.interval[0]).toBeLessThanOrEqual(estimate.value);
      expect(estimate.interval[1]).toBeGreaterThanOrEqual(estimate.value);
    }
    expect(existsSync(model)).toBe(true);
  });
});

describe("the seeded model", () => {
  const folder = temporaryFolder();

  it("has the same bytes each time it is made, and finite logits", async () => {
    const again = join(folder, "again");
    makeSeededModel(again, join(PROJECT, "models", "demo", "tokenizer.json"));
    const bytesOf = (model: string) => readFileSync(join(model, "model.safetensors"));
    expect(bytesOf(again).equals(bytesOf(seededModel()))).toBe(true);
    const model = await Model.load(again);
    const { logits } = await model.forward([5, 6, 7, 8]);
    await model.dispose();
    expect(logits.every(Number.isFinite)).toBe(true);
  });
});
