/** `demo`: says what it runs on, and shows text, scores with intervals and expert load. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeSeededModel } from "../../src/cli/seeded-model.js";
import { Model } from "../../src/model/model.js";
import { runCli } from "./run-cli.js";
import { PROJECT, seededModel, temporaryFolder } from "./seeded.js";

const isTrained = existsSync(join(PROJECT, "models", "demo", "model.safetensors"));

const FEW = ["demo", "--limit", "8"];

describe("demo", () => {
  const folder = temporaryFolder();

  it("says at once that it works, what kind of model this is, and what its experts did in each domain", async () => {
    const out = join(folder, "run");
    const { code, stdout, stderr } = await runCli([...FEW, "--out", out]);
    expect(code).toBe(0);
    expect(stderr.split("\n")[0]).toBe("Loading the demo model ...");
    expect(stdout).toMatch(isTrained ? /trained from nothing/ : /It is UNTRAINED/);
    for (const domain of ["English", "Chinese", "arithmetic", "code"]) {
      expect(stdout).toContain(`  ${domain}: "`);
      expect(stdout).toMatch(new RegExp(`  ${domain}: layer \\d+ expert \\d+ \\(`));
    }
    expect(stdout).toMatch(/English +mmlu-mini\S* +\d+\.\d % +\d+\.\d % to \d+\.\d % +25\.0 % +8 /);
    expect(stdout).toMatch(/ English +Chinese +arithmetic +code\n +layer +0 │/);
    expect(stdout).toContain(`Every question, answer and route: ${join(out, "report.html")}`);
    const names = tasksOf(out).map(({ name }) => name);
    expect(stdout.split("\n").filter((line) => names.some((name) => line.startsWith(`  ${name}: `)))).toHaveLength(4);
    expect(readFileSync(join(out, "report.html"), "utf8")).toContain("<!doctype html>");
  });

  it("gives the same as JSON: loads that add up, intervals around the score", async () => {
    const { stdout } = await runCli([...FEW, "--json", "--quiet"]);
    const { domains, scores, contrasts, model, report } = JSON.parse(stdout);
    expect(domains).toHaveLength(4);
    for (const { expertLoad } of domains) {
      const sums = expertLoad.map(({ counts }: { counts: number[] }) => counts.reduce((sum, count) => sum + count, 0));
      expect(sums[0]).toBeGreaterThan(0);
      expect(new Set(sums).size).toBe(1);
    }
    const choices = isTrained ? ["mmlu-mini", "ceval-mini"] : ["mmlu-mini-letter", "ceval-mini-letter"];
    const names = [...choices, "gsm8k-mini", "humaneval-mini"];
    expect(scores.map(({ suite }: { suite: string }) => suite)).toEqual(names);
    expect(contrasts.map(({ task }: { task: string }) => task)).toEqual(names);
    for (const { estimate } of scores) {
      if (estimate.n === 0) continue; // programs are not run without a sandbox
      expect(estimate.n).toBe(8);
      expect(estimate.interval[0]).toBeLessThanOrEqual(estimate.value);
      expect(estimate.interval[1]).toBeGreaterThanOrEqual(estimate.value);
    }
    expect(existsSync(model)).toBe(true);
    expect(existsSync(report)).toBe(true);
  });
});

function tasksOf(run: string): { name: string }[] {
  return JSON.parse(readFileSync(join(run, "run.json"), "utf8")).result.tasks;
}

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
