/** The experiments on the command line: what they print and leave, and the sentence that each wrong use gets. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { linesOfTwoDomains } from "../experiment/lines.js";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

const folder = temporaryFolder();
const lines = join(folder, "lines.jsonl");
const model = seededModel();
beforeAll(() => {
  writeFileSync(
    lines,
    linesOfTwoDomains(6)
      .map((line) => JSON.stringify(line))
      .join("\n"),
  );
});

describe("experiments", () => {
  it("routes: a table, JSON, and the heat map", async () => {
    const out = join(folder, "routes");
    const argv = ["routes", model, "--data", lines, "--by", "group", "--permutations", "99"];
    const { code, stdout, stderr } = await runCli([...argv, "--out", out]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toContain("animals: 6 documents");
    expect(readFileSync(join(out, "domains.svg"), "utf8")).toContain("Expert use by domain");
    const result = JSON.parse((await runCli([...argv, "--json", "--quiet"])).stdout);
    expect(result.domains).toEqual(["animals", "code"]);
    expect(JSON.parse(readFileSync(join(out, "result.json"), "utf8"))).toEqual(result);
  });

  it("ablate-scan: the experts with the largest effect, a forest plot, and a second call that computes nothing", async () => {
    const out = join(folder, "scan");
    const argv = [
      "ablate-scan",
      model,
      "--data",
      lines,
      "--layers",
      "2",
      "--top",
      "3",
      "--controls",
      "1",
      "--out",
      out,
    ];
    const first = await runCli(argv);
    expect({ code: first.code, stderr: first.stderr }).toMatchObject({ code: 0 });
    expect(first.stdout).toMatch(/12 items, 3 of 32 experts, mode zero/);
    expect(existsSync(join(out, "logprob.svg"))).toBe(true);
    const again = JSON.parse((await runCli([...argv, "--json"])).stdout);
    expect(again.seconds).toBe(0);
    expect(again.experts.every(({ layer }: { layer: number }) => layer === 2)).toBe(true);
  });

  it("replay: a model's own routes change nothing", async () => {
    const argv = ["replay", model, "--routes-of", model, "--data", lines, "--limit", "2", "--json"];
    expect(JSON.parse((await runCli(argv)).stdout)).toMatchObject({ kl: { own: 0, replayed: 0 }, explained: "NaN" });
  });

  it("prune-report: what remains, and the pruned model", async () => {
    const out = join(folder, "pruned");
    const { code, stdout, stderr } = await runCli([
      "prune-report",
      model,
      "--data",
      lines,
      "--remove",
      "2",
      "--write",
      out,
    ]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toMatch(/^out +weights/m);
    expect(stderr).toContain("6 experts in every layer");
    expect((await runCli(["generate", out, "--prompt", "the cat", "--max-tokens", "2", "--quiet"])).code).toBe(0);
  });
});

describe("wrong uses", () => {
  const call = (command: string, ...more: string[]) => [command, model, "--data", lines, ...more];
  it.each<[string, string[], number, string]>([
    [
      "a layer that the model does not have",
      call("ablate-scan", "--layers", "7", "--out", join(folder, "x1")),
      2,
      "Expected one of the MoE layers 0, 1, 2, 3 for layer, got 7.",
    ],
    [
      "a layer that is no number",
      call("ablate-scan", "--layers", "one", "--out", join(folder, "x2")),
      2,
      `Expected whole numbers with commas between them, such as 0,3 for --layers, got "one".`,
    ],
    [
      "too many experts",
      call("ablate-scan", "--top", "99", "--out", join(folder, "x3")),
      2,
      "Expected a number of experts from 1 to 32 for top, got 99.",
    ],
    [
      "a criterion",
      call("ablate-scan", "--criterion", "size", "--out", join(folder, "x4")),
      2,
      'Expected load, gate-mass, ean or reap for --criterion, got "size".',
    ],
    [
      "a column",
      call("routes", "--by", "topic"),
      2,
      `Expected a column "topic" with text in line 1 of ${lines}, it has the columns id, group, context, choices, answer.`,
    ],
    ["one domain alone", call("routes"), 2, 'Expected at least two domains to compare, got "all" alone.'],
    ["a file or benchmark", ["routes", model, "--data", "mmlu-mino"], 3, "Expected a file or benchmarks (mmlu"],
    [
      "a benchmark's column",
      ["routes", model, "--data", "mmlu-mini", "--by", "domain"],
      2,
      'Expected task or subject for benchmarks for by, got "domain".',
    ],
    [
      "too few experts left",
      call("prune-report", "--remove", "7"),
      2,
      "Expected experts of each layer from 1 to 6 (2 must be left) for remove, got 7.",
    ],
    [
      "writing several",
      call("prune-report", "--remove", "1,2", "--write", join(folder, "x5")),
      2,
      "Expected one number for --remove with --write, got 1,2.",
    ],
    [
      "another model's routes",
      ["replay", model, "--routes-of", "demo", "--data", lines],
      2,
      "Expected two files of one mixture of experts, got MoE layers 0, 1, 2, 3 with 2 of 8 experts",
    ],
    ["a mode", call("explain", "--mode", "swap"), 2, 'Expected zero or mask for --mode, got "swap".'],
  ])("%s", async (_what, argv, expected, sentence) => {
    const { code, stderr } = await runCli([...argv, "--quiet"]);
    expect(stderr).toContain(sentence);
    expect(code).toBe(expected);
  });
});
