/** `perplexity`: the harness's numbers, and two files of one model. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

describe("perplexity", () => {
  const folder = temporaryFolder();
  const file = join(folder, "text.txt");
  writeFileSync(file, "The cat sat on the mat. The dog did not.\n".repeat(20));

  it("prints a table, and the same numbers as JSON", async () => {
    const table = await runCli(["perplexity", seededModel(), "--file", file, "--window", "64"]);
    const json = JSON.parse(
      (await runCli(["perplexity", seededModel(), "--file", file, "--window", "64", "--json"])).stdout,
    );
    expect(table.code).toBe(0);
    expect(json).toMatchObject({ window: 64, bytes: 820, words: 201 });
    expect(json.perplexity.bitsPerByte).toBeCloseTo(-json.logprob / 820 / Math.LN2, 9);
    expect(json.perplexity.perWord).toBeCloseTo(Math.exp(-json.logprob / 201), 3);
    expect(table.stdout).toContain(`bits per byte  ${" ".repeat(0)}`);
    expect(table.stdout).toContain(Number(json.perplexity.bitsPerByte.toPrecision(6)).toString());
  });

  it("finds no divergence of a model from itself", async () => {
    const argv = ["perplexity", seededModel(), "--file", file, "--window", "64", "--against", seededModel(), "--json"];
    const { kl, top1Agreement, routes, logprob, other } = JSON.parse((await runCli(argv)).stdout);
    expect(kl).toEqual({ mean: 0, median: 0, max: 0 });
    expect({ top1Agreement, routes }).toEqual({ top1Agreement: 1, routes: { sameSet: 1, overlap: 1 } });
    expect(other.logprob).toBe(logprob);
  });
});

describeWithGoldens(
  "perplexity on golden files",
  ["golden/lm_eval/rolling_tiny.jsonl", "golden/models", "golden/gguf/models"],
  () => {
    const folder = temporaryFolder();
    const rows = readFileSync(sharedPath("golden/lm_eval/rolling_tiny.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map(
        (line) =>
          JSON.parse(line) as {
            note: string;
            text: string;
            max_length: number;
            loglikelihood: number;
            n_tokens: number;
          },
      );

    it("agrees with lm-evaluation-harness within 1e-3 a token", async () => {
      const { text, max_length, loglikelihood, n_tokens } = rows.find(({ note }) => note === "code")!;
      const file = join(folder, "code.txt");
      writeFileSync(file, text);
      const argv = [
        "perplexity",
        sharedPath("golden/models/qwen2moe-e8k2"),
        "--file",
        file,
        "--window",
        String(max_length),
        "--json",
      ];
      const { logprob, tokens } = JSON.parse((await runCli(argv)).stdout);
      expect(tokens).toBe(n_tokens);
      expect(Math.abs(logprob - loglikelihood)).toBeLessThanOrEqual(1e-3 * n_tokens);
    });

    it("tells two quantisations of a mixture apart, routes included", async () => {
      const [a, b] = ["Q5_K_M", "Q3_K_M"].map((type) => sharedPath(`golden/gguf/models/qwen2moe-k256-${type}.gguf`));
      const file = join(folder, "cat.txt");
      writeFileSync(file, rows.find(({ note }) => note === "short")!.text);
      const argv = ["perplexity", a!, "--file", file, "--against", b!, "--json"];
      const { kl, top1Agreement, routes } = JSON.parse((await runCli(argv)).stdout);
      expect(kl.mean).toBeGreaterThan(0);
      expect(kl.max).toBeGreaterThanOrEqual(kl.median);
      expect(top1Agreement).toBeLessThanOrEqual(1);
      expect(routes.overlap).toBeGreaterThanOrEqual(routes.sameSet);
    });
  },
);
