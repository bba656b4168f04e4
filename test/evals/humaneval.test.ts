import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type HumanEvalOptions, humaneval } from "../../evals/humaneval.js";
import { evaluate, runTable, type SampleResponse, type Sandbox, scriptedModel } from "../../src/index.js";
import { recorded, sandboxHere, scriptedSandbox } from "../eval/sandbox/here.js";
import { readGolden, shared, skipReason } from "../eval/shared.js";
import { digestOfPrompts, expectAggregate, promptDigests, promptText, readRun, replay } from "./lm-eval.js";

const dataDir = shared("data");

/** A problem of our own in HumanEval's format. */
const ADD = {
  task_id: "ours/0",
  prompt: 'from typing import List\n\n\ndef add(a: int, b: int) -> int:\n    """a + b"""\n',
  canonical_solution: "    return a + b\n",
  test: "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n",
  entry_point: "add",
};

describe("HumanEval, track ref", () => {
  it.skipIf(skipReason)(`asks, runs, scores and aggregates like the harness${skipReason}`, async (context) => {
    const { run, items } = readRun("humaneval");
    const sandbox = recorded(await sandboxHere(context));
    const task = humaneval({ dataDir, sandbox, sampleIds: items.map((item) => `HumanEval/${item.doc_id}`) });
    const loaded = await task.load();
    items.forEach((item, i) => {
      const [request, ...more] = loaded.requests(loaded.samples[i]!);
      expect(more).toEqual([]);
      expect(promptText(request!)).toBe(item.context);
      expect(request).toMatchObject({ kind: "generate", stop: item.until, maxTokens: 1024 });
    });
    const result = await evaluate(scriptedModel(replay(items)), [task]);
    items.forEach((item, i) => {
      const { source, tests } = sandbox.programs.find(({ source }) => source === item.filters[0]!.filtered[0])!;
      expect(`${source}\n${tests}`).toBe(item.program);
      const { value, answer } = result.scores.get("humaneval")![i]!.scores["pass@1"]!;
      expect([value, answer], `doc ${item.doc_id}`).toEqual([Number(item.passed), item.filters[0]!.filtered[0]]);
    });
    const aggregate = run.aggregates.humaneval!;
    const { estimate } = result.tasks[0]!.metrics[0]!;
    expectAggregate(estimate, aggregate["pass@1,create_test"]!, aggregate["pass@1_stderr,create_test"]!);
  });

  it.skipIf(skipReason)(`gives the prompts of the whole task, of the official 164 problems${skipReason}`, async () => {
    const [digest, ...more] = promptDigests((task) => task === "humaneval");
    expect(more).toEqual([]);
    const loaded = await humaneval({ dataDir, sandbox: scriptedSandbox() }).load();
    expect([loaded.samples.length, loaded.dataset.officialRows]).toEqual([digest!.n_docs, 164]);
    expect(digestOfPrompts(loaded)).toBe(digest!.sha256_of_all);
    expect(loaded.dataset.files[0]!.sha256).toMatch(/^b796127e/);
  });

  it.skipIf(skipReason)(`judges the invented responses like the harness${skipReason}`, async (context) => {
    const rows = readGolden<Synthetic>("lm_eval/scoring_synthetic.jsonl").filter((row) => row.task === "humaneval");
    const loaded = await humaneval({ dataDir, sandbox: await sandboxHere(context) }).load();
    expect(rows.length).toBeGreaterThan(5);
    for (const { note, response, doc, filters } of rows) {
      const sample = { ...loaded.samples[0]!, doc: { ...loaded.samples[0]!.doc, ...doc } };
      const scores = await loaded.score(sample, [generated(response)]);
      const { filtered, metrics } = filters[0]!;
      expect(scores["pass@1"], note).toMatchObject({ value: metrics["pass@1"], answer: filtered[0] });
    }
  });

  it.skipIf(skipReason)(
    `passes every canonical solution and fails it mutated${skipReason}`,
    { timeout: 120_000 },
    async (context) => {
      const loaded = await humaneval({ dataDir, sandbox: await sandboxHere(context) }).load();
      const verdicts = (mutate: (doc: typeof ADD) => string) =>
        Promise.all(
          loaded.samples.map(async (sample) => {
            const scores = await loaded.score(sample, [generated(mutate(sample.doc))]);
            return { id: sample.id, ...scores["pass@1"]! };
          }),
        );
      const canonical = await verdicts((doc) => doc.canonical_solution);
      expect(canonical.filter(({ value }) => value !== 1)).toEqual([]);
      // A result of another kind, and the exception that follows from it.
      const mutated = await verdicts((doc) => `    return [${doc.entry_point}.__name__]\n${doc.canonical_solution}`);
      expect(mutated.filter(({ value }) => value !== 0)).toEqual([]);
      expect(new Set(mutated.map(({ note }) => note))).toContain("failed: AssertionError");
    },
  );
});

describe("HumanEval in WebAssembly", () => {
  /** Two Pythons have to start for each program: a part of the problems in CI, all of them with MOESCOPE_EVERY=1. */
  const every = Number(process.env.MOESCOPE_EVERY ?? 16);

  it.skipIf(skipReason)(
    `passes canonical solutions, each ${every}th, and fails them mutated${skipReason}`,
    { timeout: 60_000 + 1_800_000 / every },
    async (context) => {
      const loaded = await humaneval({
        dataDir,
        sandbox: await sandboxHere(context, "wasi"),
        timeoutMs: 30_000,
      }).load();
      const samples = loaded.samples.filter((_, i) => i % every === 0);
      const scored = (text: (doc: typeof ADD) => string) =>
        Promise.all(
          samples.map(async (sample) => (await loaded.score(sample, [generated(text(sample.doc))]))["pass@1"]!),
        );
      const canonical = await scored((doc) => doc.canonical_solution);
      expect(canonical.filter(({ value }) => value !== 1)).toEqual([]);
      const mutated = await scored((doc) => `    return [${doc.entry_point}.__name__]\n${doc.canonical_solution}`);
      expect(mutated.filter(({ value }) => value !== 0)).toEqual([]);
    },
  );
});

describe("HumanEval, track qwen", () => {
  const source = "def add(a, b):\n\treturn a + b\n";
  const ask = async (answer: string, options: HumanEvalOptions = {}) => {
    const loaded = await humaneval({ dataDir: folderOf([ADD]), track: "qwen", ...options }).load();
    const sample = loaded.samples[0]!;
    return { request: loaded.requests(sample)[0]!, scores: await loaded.score(sample, [generated(answer)]) };
  };

  it("writes the conversation out and begins the answer with a fence", async () => {
    const { request } = await ask(source, { sandbox: scriptedSandbox() });
    expect(request).toEqual({
      kind: "generate",
      prompt:
        '<|im_start|>system\nYou are an intelligent programming assistant to produce Python algorithmic solutions<|im_end|>\n<|im_start|>user\nCan you complete the following Python function?\n```python\nfrom typing import List\n\n\ndef add(a: int, b: int) -> int:\n    """a + b"""\n```\n<|im_end|>\n<|im_start|>assistant\n```python\n',
      parseSpecial: true,
      stop: ["<|endoftext|>", "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(", "\n```"],
      maxTokens: 2048,
      sampling: expect.objectContaining({ temperature: 0, repetitionPenalty: 1 }),
    });
  });

  it.each([
    ["cuts at the closing fence", `${source}\`\`\`\nThis works by adding.`, "def add(a, b):\n    return a + b\n"],
    ["turns tabs into spaces", source, "def add(a, b):\n    return a + b\n"],
    ["does not put the prompt before it", "    return a + b", "    return a + b"],
  ])("%s", async (_what, answer, program) => {
    const sandbox = scriptedSandbox();
    const { scores } = await ask(answer, { sandbox });
    expect(sandbox.programs.map(({ source }) => source)).toEqual([program]);
    expect(scores["pass@1"]!.answer).toBe(program);
  });

  it("finds no answer where the fence closes at once", async () => {
    const sandbox = scriptedSandbox();
    const { scores } = await ask(" \n```\nSorry.", { sandbox });
    expect(scores).toEqual({ "pass@1": { value: 0, answer: null } });
    expect(sandbox.programs).toEqual([]);
  });

  it.skipIf(skipReason).for([
    ["the whole function", (canonical: string, prompt: string) => prompt + canonical, 1, undefined],
    [
      "the import left out",
      (canonical: string, prompt: string) => prompt.replace(/^from.*\n/, "") + canonical,
      0,
      "failed: NameError",
    ],
    ["the body alone", (canonical: string) => canonical, 0, "failed: IndentationError"],
    [
      "a fault that the tests do not see",
      (canonical: string, prompt: string) => prompt + canonical.replace("< threshold", "<= threshold"),
      1,
      undefined,
    ],
  ] as const)(`judges %s as evals.md, section 7, says${skipReason}`, async ([, answer, value, note], context) => {
    const sandbox = await sandboxHere(context);
    const loaded = await humaneval({ dataDir, sandbox, track: "qwen", sampleIds: ["HumanEval/0"] }).load();
    const { canonical_solution: canonical, prompt } = loaded.samples[0]!.doc;
    const scores = await loaded.score(loaded.samples[0]!, [generated(answer(canonical, prompt))]);
    expect([scores["pass@1"]!.value, scores["pass@1"]!.note]).toEqual([value, note]);
  });
});

describe("HumanEval's programs", () => {
  const dataDir = folderOf([ADD]);

  it("draws several from seeds of their own and gives pass@k", async () => {
    const results = [
      "passed",
      "failed",
      "passed",
      "timeout",
      "failed",
      "passed",
      "failed",
      "failed",
      "failed",
      "failed",
    ] as const;
    const sandbox = scriptedSandbox(...results);
    const task = humaneval({ dataDir, sandbox, numSamples: 10, k: [1, 5], temperature: 0.8, seed: 7 });
    const loaded = await task.load();
    const seeds = loaded.requests(loaded.samples[0]!).map((r) => r.kind === "generate" && r.sampling.seed);
    expect(seeds).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    const { tasks } = await evaluate(scriptedModel({ generate: () => "    return 1\n" }), [task]);
    const values = tasks[0]!.metrics.map(({ metric, estimate }) => [metric, estimate.value.toFixed(6)]);
    expect(values).toEqual([
      ["pass@1", "0.300000"],
      ["pass@5", "0.916667"],
    ]);
  });

  it("are not scored where there is no sandbox: a state of its own in rows, metrics and tables", async () => {
    const sandbox: Sandbox = {
      ...scriptedSandbox("not-run"),
      status: async () => ({ available: false, reason: "bwrap is not on PATH" }),
    };
    const task = humaneval({ dataDir, sandbox });
    const result = await evaluate(scriptedModel({ generate: () => "    return a + b\n" }), [task]);
    const verdict = result.scores.get("humaneval")![0]!.scores["pass@1"]!;
    expect(verdict).toMatchObject({ value: null, note: "not run: of the script" });
    const { estimate } = result.tasks[0]!.metrics[0]!;
    expect([estimate.value, estimate.stderr, ...estimate.interval]).toEqual([NaN, NaN, NaN, NaN]);
    expect(estimate).toMatchObject({ n: 0, unscored: 1 });
    expect(result.tasks[0]!.environment).toEqual({ programs: "not run: bwrap is not on PATH" });
    const table = runTable(result);
    expect(table).toMatch(/humaneval\s+ref\s+pass@1\s+n\/a\s+n\/a\s+n\/a to n\/a\s+0 /);
    expect(table).toContain("programs not run: bwrap is not on PATH");
    expect(table).toContain("1 samples could not be scored and count nowhere");
  });

  it("run without a sandbox only when asked to, and the run says so", () => {
    expect(humaneval().settings.sandbox).toBe("bubblewrap or wasi");
    expect(humaneval({ unsafeCode: true }).settings.sandbox).toBe("none");
  });

  it.each([
    [{ numSamples: 0 }, "Expected a whole number, at least 1 for numSamples, got 0 (number)."],
    [{ numSamples: 2 }, "Expected a number above 0 for more than one sample for temperature, got 0 (number)."],
    [{ k: [2] }, "Expected whole numbers from 1 to numSamples = 1 for k, got 2 (number)."],
    [{ unsafeCode: true, sandbox: scriptedSandbox() }, 'Expected no sandbox beside it for unsafeCode, got "script".'],
  ])("refuse %j", (options, message) => {
    expect(() => humaneval(options)).toThrow(message);
  });

  it("names the missing file and the command that brings it", async () => {
    await expect(humaneval({ dataDir: "/nowhere" }).load()).rejects.toThrow(
      /humaneval\/HumanEval\.jsonl\.gz missing; to fetch them: moescope data get humaneval --dir \/nowhere$/,
    );
  });
});

interface Synthetic {
  task: string;
  note: string;
  response: string;
  doc: { prompt: string; test: string; entry_point: string };
  filters: { filtered: string[]; metrics: { "pass@1": number } }[];
}

function generated(text: string): SampleResponse {
  return { kind: "generate", text, tokenIds: [], finishReason: "stop", promptTokens: 0 };
}

/** A data folder with these problems. */
function folderOf(problems: readonly object[]): string {
  const folder = mkdtempSync(join(tmpdir(), "moescope-humaneval-"));
  mkdirSync(join(folder, "humaneval"));
  const lines = problems.map((problem) => `${JSON.stringify(problem)}\n`).join("");
  writeFileSync(join(folder, "humaneval", "HumanEval.jsonl.gz"), gzipSync(lines));
  return folder;
}
