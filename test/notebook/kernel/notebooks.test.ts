/** The notebooks in `notebooks/`: each runs, in a minute, and finds again the figures that it was committed with. */
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readNotebook, textOf } from "../../../src/notebook/notebook-file.js";
import { runNotebook } from "../../../src/notebook/run-notebook.js";

const FOLDER = path.join(import.meta.dirname, "../../../notebooks");

/** Key figures: the numbers in each line that matches, which a fresh run must print again. */
const FIGURES: Readonly<Record<string, readonly RegExp[]>> = {
  "01-load-and-generate.ipynb": [/^same tokens: true/m, /^ 4 .*/m],
  "02-what-the-router-sees.ipynb": [/^ +7 +2 {2}\[5, 1\].*/m, /^layer 3: 5\+6 {2}0\+5.*/m],
  "03-load-and-balance.ipynb": [/^loadCv .*/m, /^effectiveExperts .*/m],
  "04-specialisation.ipynb": [/^ {5}0 +0\.5.*/m, /^mmlu-mini-cloze +1 .*/m],
  "05-remove-an-expert.ipynb": [/^ +6 {2}English facts {2}accuracy.*/m, /^ +6 {2}English facts {2}logprob.*/m],
  "06-benchmark-and-mistakes.ipynb": [/^ceval-mini-cloze .*/m, /^227 right.*/m, /^ +2 +6 .*/m],
  "07-quantisation-drift.ipynb": [/^ +30 +2101 .*/m, /^math-6 .*/m],
};

/** All text that the cells of a notebook show, and the forms of their displays. */
function outputsOf(file: string): { text: string; types: Set<string> } {
  const outputs = readNotebook(file).cells.flatMap((cell) => cell.outputs ?? []);
  const types = new Set(outputs.flatMap(({ data }) => Object.keys((data ?? {}) as object)));
  const text = outputs.map(({ data, text }) => {
    const plain =
      (data as Record<string, string | string[]> | undefined)?.["text/plain"] ?? (text as string | string[]);
    return textOf(plain ?? "");
  });
  return { text: text.join("\n"), types };
}

function numbersIn(text: string, pattern: RegExp): number[] {
  const line = pattern.exec(text)?.[0];
  expect(line, `a line like ${pattern}`).toBeDefined();
  return (line!.match(/-?\d+(\.\d+)?/g) ?? []).map(Number);
}

describe("notebooks", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), "moescope-notebooks-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("have figures to compare, each", () => {
    expect(readdirSync(FOLDER).filter((name) => name.endsWith(".ipynb"))).toEqual(Object.keys(FIGURES));
  });

  it.each(Object.entries(FIGURES))("%s finds its figures again", async (name, patterns) => {
    const file = path.join(FOLDER, name);
    expect(statSync(file).size).toBeLessThan(400_000);
    const run = await runNotebook(file, { output: path.join(folder, name), timeout: 55 });
    expect(run.failures).toEqual([]);
    expect(run.seconds).toBeLessThan(60);
    const [committed, fresh] = [outputsOf(file), outputsOf(run.path)];
    expect(fresh.types).toEqual(committed.types);
    for (const pattern of patterns) {
      const [before, after] = [numbersIn(committed.text, pattern), numbersIn(fresh.text, pattern)];
      expect(after).toHaveLength(before.length);
      // Instruction sets differ in the last bits of float32; figures are printed with four digits.
      for (const [i, value] of before.entries())
        expect(Math.abs(after[i]! - value)).toBeLessThanOrEqual(0.02 * Math.abs(value));
    }
  });
});
