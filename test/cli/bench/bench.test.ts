/** `bench`: what a person and a script see of it on a model that takes no time; how fast it is is not a matter of tests. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { resultPath } from "../../../src/cli/bench/result-file.js";
import { syntheticPath, writeSyntheticModel } from "../../../src/cli/bench/synthetic-model.js";
import { SYNTHETIC_SHAPES } from "../../../src/cli/bench/synthetic-shape.js";
import { runCli } from "../run-cli.js";
import { seededModel, temporaryFolder } from "../seeded.js";

const folder = temporaryFolder();
const FEW = ["--only", "decode,prefill", "--quick", "--quiet", "--threads", "2"];

describe("bench", () => {
  beforeEach(() => {
    vi.stubEnv("XDG_CACHE_HOME", join(folder, "cache"));
    vi.stubEnv("MOESCOPE_LLAMA_CPP", undefined);
  });
  afterEach(() => vi.unstubAllEnvs());

  it("--json has the machine, its ceilings, and each figure with spread and fraction", async () => {
    const out = join(folder, "out.json");
    const { code, stdout, stderr } = await runCli(["bench", seededModel(), ...FEW, "--json", "--out", out]);
    expect([code, stderr]).toEqual([0, ""]);
    const result = JSON.parse(stdout);
    expect(JSON.parse(readFileSync(out, "utf8"))).toEqual(result);
    expect(result).toMatchObject({ threads: 2, contended: false, machine: { cores: expect.any(Number) } });
    for (const { oneThread, allThreads } of result.ceilings) expect(oneThread > 0 && allThreads > 0).toBe(true);
    const [{ works, peer, ours }] = result.models;
    expect(peer).toBeNull();
    expect(ours).toMatchObject({ precision: "fast", cacheType: "bf16", threads: 2 });
    expect(works.map(({ work }: { work: string }) => work)).toEqual(["decode 1", "decode 16", "prefill 512"]);
    for (const work of works) {
      expect(work.ours.median).toBeGreaterThan(0);
      expect(work.ours.values).toHaveLength(1);
      expect(work.ceiling.ours).toBeGreaterThan(0);
    }
  });

  it("prints a table", async () => {
    const { code, stdout } = await runCli(["bench", seededModel(), ...FEW]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^read memory, GB\/s +\d/m);
    expect(stdout).toMatch(/^decode 16 +tokens\/s +[\d.]+ \([\d.]+-[\d.]+\) +\d+ %$/m);
  });

  it("--profile shows where the time goes", async () => {
    const argv = ["bench", seededModel(), "--profile", "--quick", "--quiet"];
    const { code, stdout } = await runCli(argv);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^op +calls +ms +share/m);
    expect(stdout).toMatch(/^experts in \d +\d+ /m);
    const [report] = JSON.parse((await runCli([...argv, "--json"])).stdout);
    expect(report.decode.byOp.length).toBeGreaterThan(5);
    expect(report.prefill.tokens).toBe(512);
  });

  it("makes, keeps and deletes a synthetic model", async () => {
    // A small file in the place of the true one: it is taken as it is.
    const path = syntheticPath("mini", "Q8_0");
    expect(path.startsWith(folder)).toBe(true);
    mkdirSync(join(path, ".."), { recursive: true });
    const shape = { ...SYNTHETIC_SHAPES.mini, numLayers: 1, hiddenSize: 256, vocabSize: 2048, numExperts: 4 };
    await writeSyntheticModel(path, shape, "Q8_0", { name: "small" });
    const synthetic = ["bench", "--synthetic", "mini", "--type", "q8_0", "--quiet"];
    expect((await runCli([...synthetic, "--write-only"])).stdout).toBe(`${path}\n`);
    expect(existsSync(path)).toBe(true);
    expect((await runCli([...synthetic, "--quick", "--only", "prefill", "--discard"])).code).toBe(0);
    expect(existsSync(path)).toBe(false);
  });

  it("measures load, first token and memory in a process of its own", async () => {
    const { stdout } = await runCli(["bench", seededModel(), "--only", "load", "--quick", "--quiet", "--json"]);
    const figures = JSON.parse(stdout).models[0].works;
    expect(figures.map(({ figure }: { figure: string }) => figure)).toEqual([
      "load",
      "process to first token",
      "peak memory",
    ]);
    const [load, first, peak] = figures.map(({ ours }: { ours: { median: number } | null }) => ours?.median);
    expect(first).toBeGreaterThan(load);
    if (process.platform === "linux") expect(peak).toBeGreaterThan(20e6);
  });

  it("reads what llama.cpp's tools print", { timeout: 120_000 }, async () => {
    const bin = join(folder, "bin");
    mkdirSync(bin);
    const tools = {
      "llama-bench": '[ "$1" = --version ] && echo "version: 1" || echo \'[{"avg_ts": 50}]\'',
      "llama-batched-bench": 'echo "main: x"; echo \'{"pl": 16, "speed_tg": 80.5}\'',
      "llama-completion": "exit 3",
      "llama-server": "exit 3",
    };
    for (const [name, body] of Object.entries(tools)) {
      writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`);
      chmodSync(join(bin, name), 0o755);
    }
    const model = join(folder, "small.gguf");
    const shape = { ...SYNTHETIC_SHAPES.mini, numLayers: 1, hiddenSize: 256, vocabSize: 2048, numExperts: 4 };
    await writeSyntheticModel(model, shape, "Q4_0", { name: "small" });
    const peer = ["--peer", "llama.cpp", "--peer-path", bin, "--quick", "--quiet", "--json"];
    const { stdout } = await runCli(["bench", model, ...peer, "--only", "decode,prefill"]);
    const { works, peer: description } = JSON.parse(stdout).models[0];
    expect(description).toMatchObject({ name: "llama.cpp", version: "version: 1" });
    expect(works.map((work: { peer: { median: number } }) => work.peer.median)).toEqual([50, 80.5, 50]);
    expect(works[0].ratio.median).toBeCloseTo(works[0].ours.median / 50, 9);
    const failed = await runCli(["bench", model, ...peer, "--only", "load"]);
    expect(failed.code).not.toBe(0);
    expect(failed.stderr).toMatch(/llama-completion ended with 3/);
    expect((await runCli(["bench", model, ...peer, "--only", "score"])).stderr).toMatch(/llama-server ended with 3/);
  });

  it.each([
    [[], /^Expected a model or --synthetic with a shape, and not both\.\n$/],
    [["demo", "--synthetic", "mini"], /and not both/],
    [["--synthetic", "maxi"], /^Expected mini, a27b or q57cut for --synthetic, got "maxi"/],
    [["demo", "--only", "decode,speed"], /^Expected load, decode, prefill or score for --only, got "decode,speed"/],
    [["demo", "--pairs", "0"], /for --pairs, got "0"/],
    [["demo", "--peer", "llama.cpp"], /^Expected the folder with llama-bench as --peer-path or in MOESCOPE_LLAMA_CPP/],
    [["demo", "--peer", "llama.cpp", "--peer-path", "/nowhere"], /^Expected llama\.cpp's llama-bench in \/nowhere/],
    [["demo", "--peer", "node-llama-cpp", "--peer-path", "/nowhere"], /^Expected node-llama-cpp in \/nowhere/],
    [["demo", "--write-only", "--discard"], /cannot be used with/],
  ])("refuses %j in one sentence", async (argv, sentence) => {
    const { code, stdout, stderr } = await runCli(["bench", ...argv]);
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
    expect(stderr).toMatch(sentence);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  it("names a file in a folder by the machine and the day, without its host", () => {
    const machine = { cpu: "AMD EPYC(TM) 9654", cores: 2, memoryBytes: 1, platform: "", node: "", loadAverage: 0 };
    const date = new Date("2026-11-24T12:00:00Z");
    expect(resultPath(`${folder}/`, machine, date)).toBe(join(folder, "amd-epyc-tm-9654-2-cores-2026-11-24.json"));
    expect(resultPath("figures.json", machine, date)).toBe("figures.json");
  });
});
