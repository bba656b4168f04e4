/** --intervene on every command that runs a model. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

const MASK = JSON.stringify({ kind: "mask", layers: [1], experts: [0, 1, 2] });

describe("--intervene", () => {
  const folder = temporaryFolder();
  const text = join(folder, "text.txt");
  const requests = join(folder, "requests.jsonl");
  writeFileSync(text, "The cat sat on the mat, and the dog did not.");
  writeFileSync(requests, '{"id": 1, "context": "2 + 2 =", "continuation": " 4"}\n');
  const model = seededModel();

  it.each([
    ["generate", [model, "--prompt", "The cat", "--max-tokens", "4", "--json"]],
    ["score", [model, "--requests", requests]],
    ["perplexity", [model, "--file", text, "--json"]],
  ])("changes what %s computes", async (command, args) => {
    const plain = await runCli([command, ...args, "--quiet"]);
    const masked = await runCli([command, ...args, "--quiet", "--intervene", MASK]);
    expect([plain.code, masked.code]).toEqual([0, 0]);
    const figures = (output: string) => output.replaceAll(/"(prompt|generate|timing)\w*":\{?[^,}]*/g, "");
    expect(figures(masked.stdout)).not.toBe(figures(plain.stdout));
  });

  it("is recorded by trace, and a mistake is told before a model is loaded", async () => {
    const out = join(folder, "routes");
    const { code, stdout } = await runCli([
      "trace",
      model,
      "--file",
      text,
      "--out",
      out,
      "--json",
      "--intervene",
      MASK,
    ]);
    expect(code).toBe(0);
    const { layers } = JSON.parse(stdout);
    expect(layers[1].counts.slice(0, 3)).toEqual([0, 0, 0]);
    const wrong = await runCli(["score", "nowhere", "--requests", requests, "--intervene", '{"kind": "mute"}']);
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toContain("Expected one of zero, mask,");
    const unknown = await runCli(["chat", model, "--intervene", '{"kind": "mask", "layers": [9], "experts": [0]}']);
    expect(unknown.stderr).toContain("Expected MoE layers from 0 to 3 for mask, got layer 9.");
  });
});
