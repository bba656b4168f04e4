import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { cevalChoice } from "../../../src/eval/extract/ceval-choice.js";
import { bestMatch, similarity } from "../../../src/eval/extract/fuzzy-match.js";
import { shared, skipReason } from "../shared.js";

interface Case {
  benchmark: string;
  input: { output: string; row: Record<"question" | "A" | "B" | "C" | "D", string> };
  expected: string;
}

interface FuzzyCase {
  text: string;
  choices: string[];
  best: number;
  scores: number[];
}

const cases: Case[] = skipReason
  ? []
  : (JSON.parse(readFileSync(shared("specs/evals_cases.json"), "utf8")) as Case[]).filter(
      ({ benchmark }) => benchmark === "ceval",
    );
const fuzzyCases = JSON.parse(readFileSync(new URL("./thefuzz-outputs.json", import.meta.url), "utf8")) as FuzzyCase[];

describe("C-Eval's choice in Qwen's reading", () => {
  it.skipIf(skipReason)(`has cases${skipReason}`, () => {
    expect(cases.length).toBeGreaterThanOrEqual(6);
  });

  it.each(cases.map((c) => [c.input.output, c.expected, c] as const))("reads %j as %s", (_, expected, { input }) => {
    const { question, A, B, C, D } = input.row;
    const { letter, isGuess } = cevalChoice(input.output, { question, choices: [A, B, C, D] });
    expect(isGuess ? "FUZZY_FALLBACK" : letter).toBe(expected);
  });

  const row = { question: "树的叶子是什么颜色____。", choices: ["红色", "深红色", "绿色。", "蓝色"] };
  it.each([
    // The faults of the reference, kept.
    ["答案不是A，而是C。", "A", false],
    ["A选项不正确，C选项正确", "C", false],
    // The question's words go, and an option's text becomes its letter, the longest first.
    ["树的叶子是什么颜色深红色", "B", false],
    ["红色", "A", false],
    ["我认为是绿色", "C", false],
    // No letter: the nearest option.
    ["蓝", "D", true],
    ["", "A", true],
  ])("reads %j as %s", (answer, letter, isGuess) => {
    expect(cevalChoice(answer, row)).toEqual({ letter, isGuess });
  });
});

describe("the best fuzzy match", () => {
  it("is what thefuzz picks, with its scores", () => {
    expect(fuzzyCases.length).toBe(240);
    for (const { text, choices, best, scores } of fuzzyCases) {
      const shown = JSON.stringify({ text, choices });
      choices.forEach((choice, i) => {
        expect(Math.abs(similarity(text, choice) - scores[i]!), shown).toBeLessThanOrEqual(0.5 + 1e-9);
      });
      expect(bestMatch(text, choices), shown).toBe(best);
    }
  });

  it("weighs by the lengths", () => {
    expect(similarity("abcd", "abcd")).toBe(100);
    expect(similarity("", "abcd")).toBe(0);
    // Eight times as long still counts as part of it (0.9); longer ones less (0.6).
    expect(similarity("ab", `ab${"x".repeat(14)}`)).toBe(90);
    expect(similarity("ab", `ab${"x".repeat(15)}`)).toBe(60);
  });
});
