/** `data get` and `data list`: the official content or none, the sentence for an offline machine, and the way that errors point to it. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FileServer, startFileServer } from "../hub/file-server.js";
import { runCli } from "./run-cli.js";
import { temporaryFolder } from "./seeded.js";

describe("data", () => {
  const folder = temporaryFolder();
  const { HF_ENDPOINT } = process.env;
  let server: FileServer;
  beforeAll(async () => {
    server = await startFileServer({ "/datasets/ceval/ceval-exam/resolve/main/ceval-exam.zip": Buffer.from("a zip") });
    process.env.HF_ENDPOINT = server.url;
  });
  afterAll(async () => {
    if (HF_ENDPOINT === undefined) delete process.env.HF_ENDPOINT;
    else process.env.HF_ENDPOINT = HF_ENDPOINT;
    await server.close();
  });

  it("refuses content that is not the known one, or takes it and says so", async () => {
    const refused = await runCli(["data", "get", "ceval", "--dir", folder]);
    expect([refused.code, existsSync(join(folder, "ceval/ceval-exam.zip"))]).toEqual([3, false]);
    expect(refused.stderr).toMatch(
      /^C-Eval, licence CC BY-NC-SA 4\.0.*\nExpected content of sha256 b28bc5\w+ for ceval\/ceval-exam\.zip/,
    );
    const taken = await runCli(["data", "get", "ceval", "--dir", folder, "--unpinned"]);
    expect(taken.code).toBe(0);
    expect(taken.stdout).toMatch(
      /ceval-exam\.zip from http.* at c0ffee, another content than the pinned one: sha256 \w{64}/,
    );
    expect(readFileSync(join(folder, "ceval/ceval-exam.zip"), "utf8")).toBe("a zip");
    const origin = JSON.parse(readFileSync(join(folder, "ceval/origin.json"), "utf8"));
    expect(origin).toMatchObject({
      licence: expect.stringContaining("CC BY-NC-SA"),
      parts: [{ commit: "c0ffee", isPinned: false }],
    });
  });

  it("lists what is here", async () => {
    const { stdout } = await runCli(["data", "list", "--dir", folder]);
    expect(stdout).toMatch(/mmlu\s+MMLU\s+missing\s+MIT\n/);
    expect(stdout).toMatch(/ceval\s+C-Eval\s+here\s+CC BY-NC-SA/);
  });

  it("knows the benchmarks", async () => {
    const { code, stderr } = await runCli(["data", "get", "gpqa"]);
    expect([code, stderr]).toEqual([2, 'Expected mmlu, gsm8k, humaneval, ceval for benchmarks, got "gpqa".\n']);
  });

  it("is the command that a missing benchmark names", async () => {
    const argv = ["eval", "demo", "--tasks", "humaneval", "--data", join(folder, "none"), "--out", join(folder, "run")];
    const { code, stderr } = await runCli([...argv, "--quiet"]);
    expect([code, stderr]).toEqual([
      3,
      `Expected the files of HumanEval in ${folder}/none, humaneval/HumanEval.jsonl.gz missing; to fetch them: moescope data get humaneval --dir ${folder}/none\n`,
    ]);
  });
});
