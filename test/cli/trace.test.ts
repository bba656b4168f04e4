/** `trace`: the files it writes hold what the router did. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { Model } from "../../src/model/model.js";
import { checkTrace } from "../../src/router/invariants.js";
import { RouterTrace } from "../../src/router/trace.js";
import { loadTrace } from "../../src/router/trace-files.js";
import { floats, readSafetensors } from "../golden/safetensors.js";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

const TEXT = "The cat sat on the mat, and the dog did not.";

describe("trace", () => {
  const folder = temporaryFolder();
  const call = (out: string, ...more: string[]) => [
    "trace",
    seededModel(),
    "--prompt",
    TEXT,
    "--out",
    join(folder, out),
    ...more,
  ];

  it.each(["parquet", "arrow"])("writes a checked trace with provenance as %s", async (format) => {
    const { code, stdout } = await runCli(call(format, "--level", "logits", "--format", format));
    expect(code).toBe(0);
    expect(stdout).toContain("layer 3 │");
    const trace = await loadTrace(join(folder, format, `part-00000.${format}`));
    const { rows, recomputedRows } = checkTrace(trace, { rules: [] });
    expect(recomputedRows).toBe(rows);
    expect(trace.layout.metadata.provenance).toHaveProperty("textSha256");
    const model = await Model.load(seededModel());
    const ids = await model.tokenizer.encode(TEXT);
    const direct = await model.forward(ids, { logits: "none", trace: "logits" });
    await model.dispose();
    expect(trace.columns.topkExperts).toEqual(direct.trace!.columns.topkExperts);
    expect(trace.columns.routerLogits).toEqual(direct.trace!.columns.routerLogits);
  });

  it("writes counts that agree at every level", async () => {
    const counts = [];
    for (const level of ["counts", "topk", "hidden"]) {
      const { code, stdout } = await runCli(call(level, "--level", level, "--json"));
      expect(code).toBe(0);
      const file = JSON.parse(readFileSync(join(folder, level, "counts.json"), "utf8"));
      expect(file).toMatchObject({ level, isComplete: true, numExperts: 8, numExpertsPerToken: 2 });
      expect(file.model.files[0].sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(JSON.parse(stdout).layers).toEqual(file.layers);
      for (const { counts } of file.layers) {
        expect(counts.reduce((sum: number, count: number) => sum + count, 0)).toBe(2 * file.tokens);
      }
      counts.push(file.layers);
    }
    expect(counts[1]).toEqual(counts[0]);
    expect(counts[2]).toEqual(counts[0]);
    expect(readdirSync(join(folder, "counts"))).toEqual(["counts.json"]);
  });

  it("writes the residual stream as safetensors at level hidden", async () => {
    await runCli(call("states", "--level", "hidden"));
    const tensors = readSafetensors(join(folder, "states", "hidden-00000.safetensors"));
    expect([...tensors.keys()].sort()).toEqual(["hidden.0", "hidden.1", "hidden.2", "hidden.3"]);
    const model = await Model.load(seededModel());
    const ids = await model.tokenizer.encode(TEXT);
    const { trace } = await model.forward(ids, { logits: "none", trace: "hidden" });
    await model.dispose();
    for (const layer of [0, 3]) expect(floats(tensors, `hidden.${layer}`)).toEqual(trace!.hiddenAfter(layer));
  });

  it("records the layers that it is asked for, and refuses what is not there", async () => {
    expect((await runCli(call("some", "--level", "hidden", "--layers", "1,3", "--origin", "prompt"))).code).toBe(0);
    const trace = await loadTrace(join(folder, "some", "part-00000.parquet"));
    expect(trace.layers).toEqual([1, 3]);
    expect(trace.layout.metadata.moeLayers).toEqual([0, 1, 2, 3]);
    const tensors = readSafetensors(join(folder, "some", "hidden-00000.safetensors"));
    expect([...tensors.keys()].sort()).toEqual(["hidden.1", "hidden.3"]);
    const wrong: [string[], string][] = [
      [["--layers", "2-7"], "Expected MoE layers from 0 to 3 for trace.layers, got 4."],
      [["--layers", "x"], 'Expected layer numbers such as 0,4-7 for --layers, got "x".'],
      [
        ["--segments", "answer"],
        'Expected one of prefix, question, choice, generated for trace.segments, got "answer".',
      ],
      [["--origin", "answer"], "Expected prompt or generated"],
      [["--level", "counts", "--layers", "1"], "Expected no layers for a trace at level counts"],
    ];
    for (const [index, [flags, message]] of wrong.entries()) {
      const { code, stderr } = await runCli(call(`wrong-${index}`, ...flags));
      expect(stderr).toContain(message);
      expect(code).not.toBe(0);
    }
  });

  it("stops at a row that breaks an invariant", async () => {
    const make = RouterTrace.fromStep.bind(RouterTrace);
    const spy = vi.spyOn(RouterTrace, "fromStep").mockImplementation((step, runs, options) => {
      const trace = make(step, runs, options);
      trace.columns.topkWeights[9] = Number.NaN;
      return trace;
    });
    const { code, stderr } = await runCli(call("broken", "--level", "topk"));
    spy.mockRestore();
    expect(code).not.toBe(0);
    expect(stderr).toContain("Router trace: Row 1 (position 1) of layer 0 should have a weight of expert");
    expect(readdirSync(join(folder, "broken"))).toEqual([]);
  });

  it("cuts a long text into windows, each from position 0", async () => {
    const { stderr } = await runCli(call("windows", "--window", "5"));
    const names = readdirSync(join(folder, "windows")).filter((name) => name.startsWith("part-"));
    expect(stderr).toContain(`${names.length} passes of up to 5`);
    const second = await loadTrace(join(folder, "windows", "part-00001.parquet"));
    expect(Array.from(second.columns.positions)).toEqual([0, 1, 2, 3, 4]);
    expect(second.keys[0]?.request).toBe(1);
  });

  it("leaves a folder that says it is not complete when it is cancelled", async () => {
    const stop = new AbortController();
    const out = join(folder, "cancelled");
    const watch = setInterval(() => {
      try {
        if (readdirSync(out).some((name) => name.startsWith("part-"))) stop.abort();
      } catch {}
    }, 1);
    const argv = ["trace", seededModel(), "--prompt", TEXT.repeat(200), "--window", "3", "--out", out];
    const { code, stderr } = await runCli(argv, { signal: stop.signal });
    clearInterval(watch);
    expect(code).toBe(130);
    expect(stderr).toMatch(/The trace was cancelled after \d+ of \d+ tokens/);
    const file = JSON.parse(readFileSync(join(out, "counts.json"), "utf8"));
    expect(file.isComplete).toBe(false);
    expect(file.tokens).toBeLessThanOrEqual(3 * readdirSync(out).filter((name) => name.startsWith("part-")).length);
  });
});
