/** The notebooks in `notebooks/`: each runs, in a minute, and finds again the figures that it was committed with. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installKernelspec } from "../../../src/notebook/kernelspec.js";
import { readNotebook, textOf } from "../../../src/notebook/notebook-file.js";
import { runNotebook } from "../../../src/notebook/run-notebook.js";
import { hasJupyter, python, WITHOUT_JUPYTER } from "./jupyter.js";

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
  "08-reproduce-a-model-card.ipynb": [
    /^MBPP +399 .*/m,
    /^GSM8K +1319 .*/m,
    /^report less card.*/m,
    /^mmlu-mini +moescope.*/m,
    /^ceval-mini +moescope.*/m,
    /^gsm8k-mini +moescope.*/m,
    /^humaneval-mini +moescope.*/m,
    /^mmlu-mini-letter .*/m,
  ],
  "09-a-metric-of-your-own.ipynb": [
    /^mmlu-mini-cloze +3 +676 .*/m,
    /^ceval-mini-cloze +1 +570 .*/m,
    /^equal neighbours, library.*/m,
    /^texts shuffled beforehand.*/m,
  ],
  "10-against-an-endpoint.ipynb": [
    /^gsm8k-mini +60 .*/m,
    /^mmlu-mini-letter +60 .*/m,
    /^120 of 120 items.*/m,
    /^forgets the chat template +60 .*/m,
    /^UNSUPPORTED.*/m,
  ],
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

/** Runs a notebook file, writes it with its outputs to `target`, and gives its errors. */
type Runner = (file: string, target: string) => Promise<string>;

const byNotebookRun: Runner = async (file, target) => {
  const { failures } = await runNotebook(file, { output: target, timeout: 55 });
  return failures.map(({ traceback }) => traceback.join("\n")).join("\n");
};

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "moescope-notebooks-"));
  await installKernelspec(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** nbclient's working directory is the notebook's folder, as Jupyter's is. */
const byJupyter: Runner = async (file, target) =>
  python(folder, [path.join(import.meta.dirname, "nbclient_run.py"), file, target]).output;

async function expectFigures(name: string, run: Runner): Promise<void> {
  const file = path.join(FOLDER, name);
  const target = path.join(folder, name);
  rmSync(target, { force: true });
  const started = performance.now();
  expect(await run(file, target)).toBe("");
  expect(performance.now() - started).toBeLessThan(60_000);
  const [committed, fresh] = [outputsOf(file), outputsOf(target)];
  expect(fresh.types).toEqual(committed.types);
  for (const pattern of FIGURES[name]!) {
    const [before, after] = [numbersIn(committed.text, pattern), numbersIn(fresh.text, pattern)];
    expect(after).toHaveLength(before.length);
    // Instruction sets differ in the last bits of float32; figures are printed with four digits.
    for (const [i, value] of before.entries())
      expect(Math.abs(after[i]! - value)).toBeLessThanOrEqual(0.02 * Math.abs(value));
  }
}

describe("notebooks", () => {
  it("have figures to compare and outputs to compare them with, each", () => {
    expect(readdirSync(FOLDER).filter((name) => name.endsWith(".ipynb"))).toEqual(Object.keys(FIGURES));
    for (const name of Object.keys(FIGURES)) expect(statSync(path.join(FOLDER, name)).size).toBeLessThan(400_000);
  });

  // With Jupyter the others run there, below: both would take twice the time.
  it.each(Object.keys(FIGURES).filter((name) => !hasJupyter || /^0[16]/.test(name)))(
    "%s finds its figures again without Python",
    (name) => expectFigures(name, byNotebookRun),
  );
});

describe.skipIf(!hasJupyter)(`notebooks in Jupyter (${WITHOUT_JUPYTER})`, () => {
  it.each(Object.keys(FIGURES))("%s finds its figures again by nbclient", (name) => expectFigures(name, byJupyter));

  it("keep every picture in HTML by nbconvert", () => {
    const files = Object.keys(FIGURES).map((name) => path.join(FOLDER, name));
    const { status, output } = python(folder, ["-m", "nbconvert", "--to", "html", "--output-dir", folder, ...files]);
    expect(output).not.toContain("Traceback");
    expect(status).toBe(0);
    for (const file of files) {
      const pictures = readNotebook(file)
        .cells.flatMap(({ outputs }) => outputs ?? [])
        .filter(({ data }) => "image/svg+xml" in ((data ?? {}) as object)).length;
      const html = readFileSync(path.join(folder, `${path.basename(file, ".ipynb")}.html`), "utf8");
      expect(html.match(/<svg[\s>]/g)?.length ?? 0, file).toBeGreaterThanOrEqual(pictures);
      expect(html).toContain("<table");
    }
  });
});
