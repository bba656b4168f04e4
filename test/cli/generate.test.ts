/** `generate`: what programs and people get; `chat.test.ts` compares with transformers. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Model } from "../../src/model/model.js";
import { loadTrace } from "../../src/router/trace-files.js";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

describe("generate", () => {
  const folder = temporaryFolder();
  const call = (...more: string[]) => ["generate", seededModel(), "--max-tokens", "12", ...more];

  it("answers {text, tokenIds, finishReason, usage, timing} with --json, and nothing else on stdout", async () => {
    const { code, stdout } = await runCli(call("--prompt", "The cat", "--json"));
    expect(code).toBe(0);
    const answer = JSON.parse(stdout);
    expect(Object.keys(answer)).toEqual(
      expect.arrayContaining(["text", "tokenIds", "finishReason", "usage", "timing"]),
    );
    const model = await Model.load(seededModel());
    const expected = await model.generate("The cat", { maxTokens: 12 });
    await model.dispose();
    expect(answer.tokenIds).toEqual(Array.from(expected.tokenIds));
    expect(answer.text).toBe(expected.text);
    expect(answer.usage).toEqual({ promptTokens: expected.promptIds.length, completionTokens: answer.tokenIds.length });
  });

  it("prints the same text as it grows, whatever brings the prompt", async () => {
    const json = JSON.parse((await runCli(call("--prompt", "One two", "--json"))).stdout);
    const fromOption = await runCli(call("--prompt", "One two"));
    const fromStdin = await runCli(call(), { stdin: "One two" });
    expect(fromOption.stdout).toBe(`${json.text}\n`);
    expect(fromStdin.stdout).toBe(fromOption.stdout);
    expect(fromOption.stderr).toContain("12 generated");
    expect(fromOption.stderr).toContain("sampling: greedy");
  });

  it("gives a list for --n above 1, its members those of one seed", async () => {
    const { stdout } = await runCli(
      call("--prompt", "The cat", "--n", "3", "--temperature", "1", "--seed", "7", "--json"),
    );
    const answers = JSON.parse(stdout);
    expect(answers).toHaveLength(3);
    const alone = JSON.parse(
      (await runCli(call("--prompt", "The cat", "--temperature", "1", "--seed", "7", "--json"))).stdout,
    );
    expect(answers[0].tokenIds).toEqual(alone.tokenIds);
    expect(answers[1].tokenIds).not.toEqual(alone.tokenIds);
    expect(answers[0].sampling.sources.temperature).toBe("call");
  });

  it("ends before a stop text", async () => {
    const whole = JSON.parse((await runCli(call("--prompt", "The cat", "--json"))).stdout);
    const stop = whole.text.slice(6, 9);
    const cut = JSON.parse((await runCli(call("--prompt", "The cat", "--stop", stop, "--json"))).stdout);
    expect(cut.finishReason).toBe("stop");
    expect(cut.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
  });

  it("writes the routes of every text with --trace", async () => {
    const out = join(folder, "routes");
    const { code } = await runCli(call("--prompt", "The cat", "--n", "2", "--trace", out, "--json"));
    expect(code).toBe(0);
    expect(readdirSync(out).sort()).toEqual(["counts.json", "part-00000.parquet", "part-00001.parquet"]);
    const trace = await loadTrace(join(out, "part-00001.parquet"));
    // Each of the tokens but the last was read again.
    expect(trace.numTokens).toBeGreaterThan(12);
    expect(trace.keys[0]?.request).toBe(1);
  });

  it("says nothing on stderr with --quiet", async () => {
    expect((await runCli(call("--prompt", "The cat", "--quiet"))).stderr).toBe("");
  });

  it("prints what there is when it is cancelled, as text and as JSON, and exits with 130", async () => {
    const long = ["generate", seededModel(), "--prompt", "The cat", "--max-tokens", "900", "--quiet"];
    const stop = new AbortController();
    const text = await runCli(long, { signal: stop.signal, onStdout: (shown) => shown.length > 40 && stop.abort() });
    expect(text).toMatchObject({ code: 130, stderr: "The operation was cancelled.\n" });
    expect(text.stdout.endsWith("\n")).toBe(true);
    const stopJson = new AbortController();
    setTimeout(() => stopJson.abort(), 150);
    const json = await runCli([...long, "--json"], { signal: stopJson.signal });
    expect(json.code).toBe(130);
    if (json.stdout !== "") expect(JSON.parse(json.stdout).finishReason).toBe("cancelled");
  });
});
