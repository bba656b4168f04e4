import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { firstOption } from "../../../src/eval/extract/first-option.js";
import {
  equalForOpenCompass,
  equalForQwen,
  lastNumberOfOpenCompass,
  lastNumberOfQwen,
} from "../../../src/eval/extract/last-number.js";
import { passAtK } from "../../../src/eval/statistics.js";
import { shared, skipReason } from "../shared.js";

interface Case {
  benchmark: string;
  input: never;
  expected: never;
}

const cases: Case[] = skipReason ? [] : JSON.parse(readFileSync(shared("specs/evals_cases.json"), "utf8"));
const of = (benchmark: string): Case[] => cases.filter((c) => c.benchmark === benchmark);

describe("evals_cases.json", () => {
  it.skipIf(skipReason)(`has the cases tested here${skipReason}`, () => {
    expect(["mmlu,gpqa", "gsm8k", "code"].map((name) => of(name).length > 0)).toEqual([true, true, true]);
  });

  it.each(of("mmlu,gpqa").map((c) => [c.input as string, c.expected as string]))(
    "first option of %j",
    (text, expected) => {
      expect(firstOption(text, "ABCD") ?? "").toBe(expected);
    },
  );

  it.each(of("gsm8k").map((c) => [c.input, c.expected] as [{ output: string; gold: string }, Expected]))(
    "numbers of %j",
    ({ output, gold }, expected) => {
      const qwen = lastNumberOfQwen(output);
      expect([qwen, equalForQwen(qwen, gold)]).toEqual(expected.qwen);
      const openCompass = lastNumberOfOpenCompass(output);
      expect([openCompass ?? "NULL", equalForOpenCompass(openCompass, gold)]).toEqual(expected.opencompass);
    },
  );

  it.each(of("code").map((c) => [c.input as [number, number, number], c.expected as number]))(
    "pass@k of %j",
    ([n, c, k], expected) => {
      expect(passAtK(n, c, k)).toBeCloseTo(expected, 14);
    },
  );
});

type Expected = Record<"qwen" | "opencompass", [string | null, boolean]>;

// Rows of the tables in the protocol's description, and what CPython 3.11.7 gives for the reference functions.
describe("first option", () => {
  it.each([
    ["B and C are both plausible, but C is better", "B"],
    ["b", null],
    ["All of the above, so D.", "D"],
    ["故选B只有选项C是对", "B"],
    ["故C. B", "B"],
    ["Answer:\nC\n", "C"],
  ])("of %j is %j", (text, expected) => {
    expect(firstOption(text, "ABCD")).toBe(expected);
  });
});

describe("Python number literals in Qwen's comparison", () => {
  it("refuses a leading zero in an integer, but not in a fraction", () => {
    expect(equalForQwen("072", "72")).toBe(false);
    expect(equalForQwen("072.0", "72")).toBe(true);
    expect(equalForQwen("00", "0")).toBe(true);
  });

  it("allows a difference of 1e-4 and no more", () => {
    expect(equalForQwen("0.0001", "0")).toBe(true);
    expect(equalForQwen("0.00011", "0")).toBe(false);
  });
});
