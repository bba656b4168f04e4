import { describe, expect, it } from "vitest";
import { BENCHMARK_NAMES, namedTasks } from "../../evals/index.js";

const shown = (names: string[], options = {}): string[] =>
  namedTasks(names, options).map(({ name, track }) => `${name}/${track}`);

describe("namedTasks", () => {
  it("gives one task for a name in track ref, and all candidates of GSM8K in track qwen", () => {
    expect(shown(["mmlu", "gsm8k"])).toEqual(["mmlu/ref", "gsm8k/ref"]);
    expect(shown(["gsm8k"], { track: "qwen" })).toEqual(["gsm8k/qwen", "gsm8k-bare/qwen", "gsm8k-few-shot/qwen"]);
  });

  it("gives the variant that is asked for, with the settings", () => {
    const [task] = namedTasks(["gsm8k:cot"], { maxTokens: 7, limit: 3 });
    expect(task).toMatchObject({ name: "gsm8k-cot", settings: { maxTokens: 7, limit: 3 } });
  });

  it("gives splits of C-Eval and forms of the mini suites", () => {
    expect(shown(["ceval", "ceval:test"], { track: "qwen" })).toEqual(["ceval/qwen", "ceval-test/qwen"]);
    expect(shown(["mmlu-mini", "mmlu-mini:cloze", "gsm8k-mini:plain", "ceval-mini"])).toEqual([
      "mmlu-mini/ref",
      "mmlu-mini-cloze/ref",
      "gsm8k-mini-plain/ref",
      "ceval-mini/ref",
    ]);
    expect(() => namedTasks(["mmlu-mini"], { track: "qwen" })).toThrow(
      'Expected benchmarks that have a track qwen for tasks, got "mmlu-mini".',
    );
  });

  it("gives HumanEval and its small relative, whose programs run in a sandbox unless it is taken away", () => {
    expect(shown(["humaneval", "humaneval-mini:chat"])).toEqual(["humaneval/ref", "humaneval-mini-chat/ref"]);
    const settings = (options: object) =>
      namedTasks(["humaneval", "humaneval-mini"], options).map((t) => t.settings.sandbox);
    expect(settings({})).toEqual(["bubblewrap or wasi", "bubblewrap or wasi"]);
    expect(settings({ sandbox: "wasi" })).toEqual(["wasi", "wasi"]);
    expect(settings({ unsafeCode: true })).toEqual(["none", "none"]);
  });

  it("takes every setting that changes a score, and keeps it", () => {
    const programs = { maxTokens: 9, numSamples: 4, k: [1, 2], temperature: 0.5, samplingSeed: 7, timeoutMs: 500 };
    const [humaneval] = namedTasks(["humaneval"], { ...programs, sampleIds: ["HumanEval/3"] });
    const { samplingSeed: seed, temperature, ...plain } = programs;
    expect(humaneval!.settings).toMatchObject({
      ...plain,
      sampleIds: ["HumanEval/3"],
      sampling: { temperature, seed, topP: 0.95 },
    });
    const [mmlu] = namedTasks(["mmlu"], { subjects: ["anatomy"], numFewshot: 2, form: "chat" });
    expect(mmlu!.settings).toMatchObject({ subjects: ["anatomy"], numFewshot: 2, form: "chat" });
    const [gsm8k] = namedTasks(["gsm8k"], { numFewshot: 2, fewshotSeed: 3, form: "chat-multiturn", maxTokens: 5 });
    expect(gsm8k!.settings).toMatchObject({ numFewshot: 2, fewshotSeed: 3, form: "chat-multiturn", maxTokens: 5 });
  });

  it("refuses a setting that none of the tasks has, and lets one pass that one of them has", () => {
    expect(() => namedTasks(["mmlu"], { track: "qwen", numFewshot: 0 })).toThrow(
      "Expected no numFewshot: mmlu in track qwen has no such setting.",
    );
    expect(() => namedTasks(["gsm8k:cot", "mmlu-mini"], { numFewshot: 1 })).toThrow("have no such setting.");
    expect(shown(["mmlu", "humaneval"], { numFewshot: 1, timeoutMs: 5 })).toEqual(["mmlu/ref", "humaneval/ref"]);
  });

  it.each([
    [["mmlu2"], `Expected benchmarks (${BENCHMARK_NAMES.join(", ")}) for tasks, got "mmlu2".`],
    [["gsm8k:boxed"], 'Expected a variant of gsm8k (standard, cot) in track ref for tasks, got "gsm8k:boxed".'],
    [["mmlu:x"], 'Expected mmlu without a variant in track ref for tasks, got "mmlu:x".'],
  ])("refuses %j", (names, message) => {
    expect(() => namedTasks(names)).toThrow(message);
  });
});
