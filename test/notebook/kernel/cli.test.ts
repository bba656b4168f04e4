/** `moescope kernel` and `moescope notebook run`, as a shell sees them. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Notebook, writeNotebook } from "../../../src/notebook/notebook-file.js";
import { runCli } from "../../cli/run-cli.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "moescope-kernel-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const read = (file: string): Notebook => JSON.parse(readFileSync(file, "utf8")) as Notebook;

function notebookOf(name: string, ...codes: string[]): string {
  const cells = codes.map((source) => ({
    cell_type: "code",
    source,
    metadata: {},
    outputs: [],
    execution_count: null,
  }));
  const file = join(folder, name);
  writeNotebook(file, { nbformat: 4, nbformat_minor: 5, metadata: { kept: true }, cells } as unknown as Notebook);
  return file;
}

describe("moescope kernel", () => {
  it("installs a kernelspec of absolute paths with a logo, lists it and takes it away", async () => {
    expect((await runCli(["kernel", "install", "--prefix", folder])).code).toBe(0);
    const spec = join(folder, "share", "jupyter", "kernels", "moescope");
    const { argv, interrupt_mode } = JSON.parse(readFileSync(join(spec, "kernel.json"), "utf8"));
    expect(interrupt_mode).toBe("message");
    expect(isAbsolute(argv[0]) && isAbsolute(argv.at(-2)) && existsSync(argv.at(-2))).toBe(true);
    expect(readFileSync(join(spec, "logo-64x64.png")).subarray(1, 4).toString()).toBe("PNG");
    expect((await runCli(["kernel", "list", "--prefix", folder])).stdout).toContain(spec);
    expect((await runCli(["kernel", "uninstall", "--prefix", folder])).code).toBe(0);
    expect(existsSync(spec)).toBe(false);
    expect(await runCli(["kernel", "uninstall", "--prefix", folder])).toMatchObject({ code: 3 });
  });
});

describe("moescope kernel --user", () => {
  const saved = process.env.JUPYTER_DATA_DIR;
  beforeAll(() => {
    process.env.JUPYTER_DATA_DIR = join(folder, "user-data");
  });
  afterAll(() => {
    if (saved === undefined) delete process.env.JUPYTER_DATA_DIR;
    else process.env.JUPYTER_DATA_DIR = saved;
  });

  it("is the default place: installed, listed and taken away there, and nowhere below a prefix", async () => {
    const spec = join(folder, "user-data", "kernels", "moescope");
    for (const place of [["--user"], []]) {
      expect(await runCli(["kernel", "install", ...place])).toMatchObject({ code: 0 });
      expect(existsSync(join(spec, "kernel.json"))).toBe(true);
      const listed = await runCli(["kernel", "list", "--json"]);
      expect(JSON.parse(listed.stdout)).toContainEqual(
        expect.objectContaining({ name: "moescope", folder: spec, missing: [] }),
      );
      expect((await runCli(["kernel", "uninstall", "--prefix", join(folder, "elsewhere")])).code).toBe(3);
      expect(await runCli(["kernel", "uninstall", ...place, "--json"])).toMatchObject({ code: 0 });
      expect(existsSync(spec)).toBe(false);
      expect((await runCli(["kernel", "list"])).stdout).not.toContain(spec);
    }
  });

  it("and --prefix exclude one another, and a kernel whose program is gone is listed as broken", async () => {
    expect((await runCli(["kernel", "install", "--user", "--prefix", folder])).code).toBe(2);
    const at = join(folder, "broken", "share", "jupyter", "kernels", "moescope");
    mkdirSync(at, { recursive: true });
    writeFileSync(
      join(at, "kernel.json"),
      JSON.stringify({ argv: ["/gone/node", "{connection_file}"], language: "typescript" }),
    );
    const { stdout } = await runCli(["kernel", "list", "--prefix", join(folder, "broken")]);
    expect(stdout).toContain(`${at}  (broken: /gone/node is not there)`);
  });
});

describe("moescope notebook run", () => {
  it("writes outputs back and keeps what it does not know", async () => {
    const file = notebookOf("good.ipynb", 'console.log("a"); console.log("b");', "6 * 7");
    expect((await runCli(["notebook", "run", file, "--quiet"])).code).toBe(0);
    const { cells, metadata } = read(file);
    expect(metadata.kept).toBe(true);
    expect(cells[0]!.outputs).toEqual([{ output_type: "stream", name: "stdout", text: ["a\n", "b\n"] }]);
    expect(cells[1]).toMatchObject({ execution_count: 2, outputs: [{ data: { "text/plain": ["42"] } }] });
  });

  it("ends with 1 at a cell that fails, and at one that takes too long, with their outputs in the file", async () => {
    const bad = notebookOf("bad.ipynb", "const a: number = 'x';", "1");
    expect(await runCli(["notebook", "run", bad, "--quiet"])).toMatchObject({ code: 1 });
    expect(read(bad).cells.map(({ outputs }) => outputs!.map(({ output_type }) => output_type))).toEqual([
      ["error"],
      [],
    ]);
    const slow = notebookOf("slow.ipynb", "console.log('begun'); await null; while (true) {}");
    const { code, stderr } = await runCli(["notebook", "run", slow, "--quiet", "--timeout", "3"]);
    expect(code).toBe(1);
    expect(stderr).toContain("Cell 1 ran longer than 3 s and was stopped.");
    expect(read(slow).cells[0]!.outputs![0]).toMatchObject({ text: ["begun\n"] });
  });

  it("refuses what is no notebook in TypeScript", async () => {
    expect(await runCli(["notebook", "run", join(folder, "none.ipynb")])).toMatchObject({ code: 3 });
    const python = notebookOf("python.ipynb", "1");
    writeNotebook(python, { ...read(python), metadata: { kernelspec: { language: "python" } } });
    expect((await runCli(["notebook", "run", python])).stderr).toContain("got one in python");
  });
});
