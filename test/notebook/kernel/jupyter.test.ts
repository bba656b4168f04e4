/** The kernel in real Jupyter, of Debian's packages: its conformance suite, nbclient, nbconvert, and no process left behind. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installKernelspec } from "../../../src/notebook/kernelspec.js";
import type { Notebook, Output } from "../../../src/notebook/notebook-file.js";
import { writeNotebook } from "../../../src/notebook/notebook-file.js";
import { hasJupyter, python, WITHOUT_JUPYTER } from "./jupyter.js";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "moescope-jupyter-"));
  await installKernelspec(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function notebookOf(name: string, ...codes: string[]): string {
  const cells = codes.map((source, i) => ({
    cell_type: "code",
    id: `c${i}`,
    source,
    metadata: {},
    outputs: [],
    execution_count: null,
  }));
  const metadata = { kernelspec: { name: "moescope", display_name: "TypeScript (moescope)", language: "typescript" } };
  const file = join(folder, name);
  writeNotebook(file, { nbformat: 4, nbformat_minor: 5, metadata, cells } as Notebook);
  return file;
}

const outputsOf = (file: string): Output[][] =>
  (JSON.parse(readFileSync(file, "utf8")) as Notebook).cells.map(({ outputs }) => outputs ?? []);

describe.skipIf(!hasJupyter)(`Jupyter (${WITHOUT_JUPYTER})`, () => {
  it("finds that the kernel conforms", { timeout: 180_000 }, () => {
    const { status, output } = python(folder, [join(import.meta.dirname, "conformance.py")]);
    expect(output).toMatch(/^OK/m);
    // Paging is of IPython alone; nothing else may be skipped.
    const skipped = output.split("\n").filter((line) => line.includes("skipped"));
    expect(skipped.filter((line) => !/test_pager|^OK/.test(line))).toEqual([]);
    expect(status).toBe(0);
  });

  it("stores numbers, results, errors and every line of a notebook that nbclient runs", { timeout: 180_000 }, () => {
    const file = notebookOf(
      "stored.ipynb",
      "for (let i = 0; i < 5000; i++) console.log(i);",
      "[1, 2].map((x) => 2 * x)",
      'throw new TypeError("as it must")',
      "3",
    );
    const target = join(folder, "stored-out.ipynb");
    const { output } = python(folder, [join(import.meta.dirname, "nbclient_run.py"), file, target, "--allow-errors"]);
    expect(output).not.toMatch(/Timeout|Error/);
    const [lines, value, error, last] = outputsOf(target);
    expect(
      lines!
        .map(({ text }) => (text as string[]).join(""))
        .join("")
        .split("\n"),
    ).toHaveLength(5001);
    expect(value).toMatchObject([
      { output_type: "execute_result", execution_count: 2, data: { "text/plain": ["[ 2, 4 ]"] } },
    ]);
    expect(error).toMatchObject([{ output_type: "error", ename: "TypeError", evalue: "as it must" }]);
    expect(last).toMatchObject([{ data: { "text/plain": ["3"] }, execution_count: 4 }]);
  });

  it("stops at a cell that fails and names its error", { timeout: 120_000 }, () => {
    const file = notebookOf("fails.ipynb", 'throw new TypeError("as it must")', "3");
    const target = join(folder, "fails-out.ipynb");
    const { output } = python(folder, [join(import.meta.dirname, "nbclient_run.py"), file, target]);
    expect(output).toContain("CellExecutionError TypeError as it must");
    expect(outputsOf(target)[1]).toEqual([]);
  });

  it("keeps the pictures in HTML", { timeout: 120_000 }, () => {
    const code =
      'import { draw, Model } from "moescope";\nconst model = await Model.load("demo");\nawait model.generate("2 + 2 =", { maxTokens: 2 });\n(await model.expertLoad()).heatmap()';
    const file = notebookOf("picture.ipynb", code);
    const { status, output } = python(folder, [
      "-m",
      "nbconvert",
      "--to",
      "html",
      "--execute",
      "--output",
      "picture.html",
      file,
    ]);
    expect(output).not.toContain("Traceback");
    expect(status).toBe(0);
    expect(readFileSync(join(folder, "picture.html"), "utf8")).toMatch(/<svg[^>]*>[\s\S]*<\/svg>/);
  });

  it("leaves no process behind at shutdown and restart, with a cell and a child running", { timeout: 120_000 }, () => {
    const { status, output } = python(folder, [join(import.meta.dirname, "shutdown.py")]);
    expect(output).toContain("all gone");
    expect(status).toBe(0);
    expect(existsSync(folder)).toBe(true);
  });
});
