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
    expect(settings({})).toEqual(["bubblewrap", "bubblewrap"]);
    expect(settings({ unsafeCode: true })).toEqual(["none", "none"]);
  });

  it.each([
    [["mmlu2"], `Expected benchmarks (${BENCHMARK_NAMES.join(", ")}) for tasks, got "mmlu2".`],
    [["gsm8k:boxed"], 'Expected a variant of gsm8k (standard, cot) in track ref for tasks, got "gsm8k:boxed".'],
    [["mmlu:x"], 'Expected mmlu without a variant in track ref for tasks, got "mmlu:x".'],
  ])("refuses %j", (names, message) => {
    expect(() => namedTasks(names)).toThrow(message);
  });
});
