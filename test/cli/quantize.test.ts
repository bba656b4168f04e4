/** `quantize`: what a person and a script see of it; the files are checked in test/quantize. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

describe("quantize", () => {
  const folder = temporaryFolder();

  it("writes a file that the other commands take, and says what it holds", async () => {
    const out = join(folder, "small.gguf");
    const { code, stdout, stderr } = await runCli(["quantize", seededModel(), out, "--type", "Q8_0"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^type +tensors +bytes\n/);
    expect(stdout).toContain(`Wrote ${out}: Q8_0, `);
    const generated = await runCli(["generate", out, "--prompt", "The", "--max-tokens", "4", "--json", "--quiet"]);
    expect(generated.code).toBe(0);
    expect(JSON.parse(generated.stdout).tokenIds).toHaveLength(4);
  });

  it("--json gives every tensor, and the size that the file has", async () => {
    const out = join(folder, "json.gguf");
    const { stdout } = await runCli(["quantize", seededModel(), out, "--type", "Q4_K_M", "--json"]);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ path: out, type: "Q4_K_M", architecture: "qwen2_moe", written: true });
    expect(report.fileBytes).toBe(statSync(out).size);
    const bytes = report.tensors.reduce((sum: number, tensor: { bytes: number }) => sum + tensor.bytes, 0);
    expect(report.bitsPerWeight).toBeCloseTo((8 * bytes) / report.parameters, 9);
    expect(report.tensors.find(({ name }: { name: string }) => name === "blk.0.ffn_gate_inp.weight").dtype).toBe("F32");
  });

  it("--dry-run shows every tensor and writes nothing", async () => {
    const out = join(folder, "dry.gguf");
    const { code, stdout } = await runCli(["quantize", seededModel(), out, "--type", "Q6_K", "--dry-run"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/blk\.3\.ffn_down_exps\.weight +\w+ -> \w+ +\[8, \d+, \d+\]/);
    expect(stdout).toContain("Q6_K would take ");
    expect(readdirSync(folder).filter((name) => name.startsWith("dry"))).toEqual([]);
    // Without a place to write to, too.
    expect((await runCli(["quantize", seededModel(), "--type", "q6_k", "--dry-run"])).stdout).toBe(stdout);
  });

  it("warns of weights that are quantised already, where they change", async () => {
    const first = join(folder, "first.gguf");
    await runCli(["quantize", seededModel(), first, "--type", "Q8_0"]);
    const dryRun = ["quantize", first, "--dry-run", "--type"];
    expect((await runCli([...dryRun, "Q4_0"])).stderr).toMatch(/quantised already \(.*: Q8_0\)/);
    expect((await runCli([...dryRun, "Q4_0", "--quiet"])).stderr).toBe("");
    expect((await runCli([...dryRun, "Q8_0"])).stderr).toBe("");
  });

  it("ends at Ctrl-C without a file", async () => {
    const out = join(folder, "stopped.gguf");
    const { code } = await runCli(["quantize", seededModel(), out, "--type", "Q8_0"], { signal: AbortSignal.abort() });
    expect([code, existsSync(out), existsSync(`${out}.partial`)]).toEqual([130, false, false]);
  });

  it.each([
    [["--type", "Q4_K"], /^Expected F32, .* for --type, got "Q4_K"/],
    [[], /--type/],
    [["--type", "Q8_0", "--threads", "0"], /--threads/],
  ])("refuses %j with exit code 2", async (options, sentence) => {
    const { code, stderr } = await runCli(["quantize", seededModel(), join(folder, "bad.gguf"), ...options]);
    expect(code).toBe(2);
    expect(stderr).toMatch(sentence);
  });

  it("asks for a place to write to", async () => {
    const { code, stderr } = await runCli(["quantize", seededModel(), "--type", "Q8_0"]);
    expect(code).toBe(2);
    expect(stderr).toBe("Expected the path of a file to write behind the model (or --dry-run), got none.\n");
  });
});
