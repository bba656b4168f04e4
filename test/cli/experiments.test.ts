/** The experiments on the command line: what they print and leave, and the sentence that each wrong use gets. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { linesOfTwoDomains } from "../experiment/lines.js";
import { runCli } from "./run-cli.js";
import { copyOfSeeded, seededModel, temporaryFolder } from "./seeded.js";

const folder = temporaryFolder();
const lines = join(folder, "lines.jsonl");
const model = seededModel();
const otherTokenizer = join(folder, "other-tokenizer");
beforeAll(() => {
  writeFileSync(
    lines,
    linesOfTwoDomains(6)
      .map((line) => JSON.stringify(line))
      .join("\n"),
  );
  const line = (group: string, id: string) => JSON.stringify({ id, group, text: "the cat and the dog" });
  writeFileSync(join(folder, "lonely.jsonl"), [line("a", "1"), line("a", "2"), line("code", "3")].join("\n"));
  writeFileSync(join(folder, "empty.jsonl"), "");
  // The same weights and vocabulary, but without its first merges: other tokens for the same text.
  const path = join(copyOfSeeded(otherTokenizer), "tokenizer.json");
  const tokenizer = JSON.parse(readFileSync(path, "utf8"));
  tokenizer.model.merges = tokenizer.model.merges.slice(20);
  writeFileSync(path, JSON.stringify(tokenizer));
});

const EXPERIMENTS = "routes explain ablate-scan prune-report drift replay similarity reconstruct regret".split(" ");

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

  it("similarity: pairs beside what unrelated tokens or weights give", async () => {
    const argv = ["similarity", model, "--data", lines, "--layers", "2", "--measure", "cka"];
    const text = (await runCli(argv)).stdout;
    expect(text).toMatch(/^cka of outputs, \d+ tokens; null: the second expert's tokens permuted/);
    const out = join(folder, "alike");
    const found = JSON.parse((await runCli([...argv, "--of", "weights", "--json", "--out", out])).stdout);
    expect(found.layers).toHaveLength(1);
    expect(found.layers[0]).toMatchObject({ layer: 2, measure: "cka" });
    expect(found.layers[0].values).toHaveLength(64);
    expect(JSON.parse(readFileSync(join(out, "result.json"), "utf8"))).toEqual(found);
  });

  it("reconstruct: what the least useful experts' absence moves, beside random sets", async () => {
    const argv = ["reconstruct", model, "--data", lines, "--layers", "1", "--controls", "2", "--json"];
    const [layer] = JSON.parse((await runCli([...argv, "--remove", "3"])).stdout).layers;
    expect(layer.kept).toHaveLength(5);
    expect(layer.controls).toHaveLength(2);
    const named = JSON.parse((await runCli([...argv, "--keep", layer.kept.join(",")])).stdout).layers[0];
    expect(named).toEqual(layer);
    expect((await runCli(argv.slice(0, -1))).stdout).toMatch(/^\d+ tokens; \|F\(x\) - F_kept\(x\)\|/);
  });

  it("regret: right answers on sampled routes", async () => {
    const argv = ["regret", model, "--data", lines, "--limit", "3", "--routes", "2"];
    const found = JSON.parse((await runCli([...argv, "--json"])).stdout);
    expect(found.texts).toHaveLength(3);
    for (const { standard, sampled, regret } of found.texts) {
      expect(regret).toBeCloseTo(Math.max(...sampled) - standard, 9);
    }
    expect((await runCli(argv)).stdout).toContain("3 answers, 2 routes each at temperature 1");
  });

  it.each(EXPERIMENTS)("%s has help with an example", async (command) => {
    const { code, stdout } = await runCli([command, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/--json[\s\S]*--quiet[\s\S]*Example:\n {2}\$ moescope/);
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
      'Expected whole numbers with commas between them, each once, such as 0,3 for --layers, got "one".',
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
    [
      "a layer to compare",
      call("similarity", "--layers", "4"),
      2,
      "Expected one of the MoE layers 0, 1, 2, 3 for layer, got 4.",
    ],
    [
      "a layer twice",
      call("similarity", "--layers", "1,1"),
      2,
      'Expected whole numbers with commas between them, each once, such as 0,3 for --layers, got "1,1".',
    ],
    [
      "a measure of outputs for weights",
      call("similarity", "--of", "weights", "--measure", "centred-cosine"),
      2,
      "Expected cosine, angular, jsd, cka for --measure of weights, got centred-cosine.",
    ],
    [
      "an expert that the model does not have",
      call("reconstruct", "--keep", "0,8"),
      2,
      "Expected distinct experts from 0 to 7 to keep, got 8.",
    ],
    [
      "fewer experts than a token chooses",
      call("reconstruct", "--keep", "3"),
      2,
      "Expected at least 2 experts to keep, as many as a token chooses, got 1.",
    ],
    [
      "removing too many",
      call("reconstruct", "--remove", "7"),
      2,
      "Expected at least 2 experts to keep, as many as a token chooses, got 1.",
    ],
    [
      "regret without right answers",
      ["regret", model, "--data", "mmlu-mini", "--limit", "2"],
      2,
      "Expected a file of lines with context and right answer for --data, got the benchmarks mmlu-mini.",
    ],
    ["a k", call("ablate-scan", "--top", "0", "--out", join(folder, "x6")), 2, "for --top, got"],
    [
      "a group of one line",
      ["routes", model, "--data", join(folder, "lonely.jsonl"), "--by", "group"],
      2,
      'Expected at least two documents in every domain, got 1 in "code".',
    ],
    [
      "an empty file",
      ["explain", model, "--data", join(folder, "empty.jsonl")],
      3,
      `Expected at least one line of JSON in ${join(folder, "empty.jsonl")}, got none.`,
    ],
    [
      "files with two tokenizers",
      ["drift", model, otherTokenizer, "--data", lines],
      2,
      'Expected two models with one tokenizer, they read "The quick brown fox',
    ],
    [
      "routes from another tokenizer",
      ["replay", model, "--routes-of", otherTokenizer, "--data", lines],
      2,
      'Expected two models with one tokenizer, they read "The quick brown fox',
    ],
    ["a mode", call("explain", "--mode", "swap"), 2, 'Expected zero or mask for --mode, got "swap".'],
  ])("%s", async (_what, argv, expected, sentence) => {
    const { code, stderr } = await runCli([...argv, "--quiet"]);
    expect(stderr).toContain(sentence);
    expect(code).toBe(expected);
  });
});
