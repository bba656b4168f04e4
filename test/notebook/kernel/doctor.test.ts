/** `moescope kernel doctor`: everything that it can find wrong, each made wrong on purpose. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../../src/native/addon.js";
import { type DiagnoseOptions, diagnose, type Finding } from "../../../src/notebook/doctor.js";
import { installKernelspec, type KernelJson, kernelJson } from "../../../src/notebook/kernelspec.js";
import { runCli } from "../../cli/run-cli.js";

let folder: string;
const saved = { ...process.env };
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "moescope-doctor-"));
  // Nothing of this machine's Jupyter is seen.
  Object.assign(process.env, { JUPYTER_DATA_DIR: join(folder, "user"), JUPYTER_PATH: "" });
});
afterAll(() => {
  process.env = saved;
  rmSync(folder, { recursive: true, force: true });
});

const findingsOf = async (options: DiagnoseOptions): Promise<Map<string, Finding>> =>
  new Map((await diagnose(options)).map((finding) => [finding.check, finding]));
/** No kernel is started where an earlier check fails; this one makes them quick. */
const OLD_NODE = { nodeVersion: "18.20.4" };

function writeSpec(prefix: string, change: Partial<KernelJson>): string {
  const at = join(prefix, "share", "jupyter", "kernels", "moescope");
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "kernel.json"), JSON.stringify({ ...kernelJson(), ...change }));
  return at;
}

describe("doctor", () => {
  it("finds nothing wrong where all is there, and runs a cell to know", async () => {
    const prefix = join(folder, "good");
    const at = await installKernelspec(prefix);
    const found = await findingsOf({ prefix, jupyters: [[process.execPath, "-p", "'jupyter_core : 5.0'"]] });
    expect([...found.values()].filter(({ isGood }) => !isGood)).toEqual([]);
    expect(found.get("kernelspec")!.detail).toBe(at);
    expect(found.get("Jupyter")!.detail).toBe("jupyter_core : 5.0");
    expect(found.get("a cell")!.detail).toMatch(/^runs; the kernel was ready after \d+\.\d s$/);
  });

  it.each([
    ["18.20.4", false, "expected 20.19 or newer, got 18.20.4"],
    ["20.18.3", false, "expected 20.19 or newer, got 20.18.3"],
    ["20.19.0", true, "20.19.0"],
    ["24.1.0", true, "24.1.0"],
  ])("says of Node %s whether it is too old", async (nodeVersion, isGood, detail) => {
    const found = await findingsOf({ nodeVersion, jupyters: [], withCell: false });
    expect(found.get("Node.js")).toEqual({ check: "Node.js", isGood, detail });
    expect(found.has("a cell")).toBe(false);
  });

  it("says that Jupyter is absent, and that notebooks run without it", async () => {
    const jupyters = [["no-such-program"], [process.execPath, "-e", "process.exit(1)"]];
    const { isGood, detail } = (await findingsOf({ ...OLD_NODE, jupyters })).get("Jupyter")!;
    expect(isGood).toBe(false);
    expect(detail).toContain("not found");
    expect(detail).toContain("moescope notebook run");
  });

  it("says that the kernel is not installed, names a file that is gone, and a copy that is another one", async () => {
    const found = async (prefix: string) =>
      (await findingsOf({ ...OLD_NODE, prefix, jupyters: [] })).get("kernelspec")!;
    expect(await found(join(folder, "none"))).toMatchObject({
      isGood: false,
      detail: expect.stringMatching(/^not installed: run/),
    });
    const gone = join(folder, "gone");
    const at = writeSpec(gone, {
      argv: [process.execPath, "/gone/dist/src/notebook/kernel-main.js", "{connection_file}"],
    });
    expect(await found(gone)).toMatchObject({
      isGood: false,
      detail: `${at} names /gone/dist/src/notebook/kernel-main.js, which is not there: install it again`,
    });
    const other = join(folder, "other");
    const main = join(other, "kernel-main.js");
    mkdirSync(other, { recursive: true });
    writeFileSync(main, "");
    writeSpec(other, { argv: [process.execPath, main, "{connection_file}"] });
    expect((await found(other)).detail).toContain(`starts another copy of moescope, ${main}: install it again`);
  });

  it("ends with an error that names what is wrong, with --json too", async () => {
    const { code, stdout, stderr } = await runCli(["kernel", "doctor", "--prefix", join(folder, "none")]);
    expect(code).not.toBe(0);
    expect(stdout).toMatch(/^BAD {2}kernelspec +not installed: run moescope kernel install$/m);
    expect(stderr).toContain("Notebooks will not work here yet: kernelspec");
  });
});

describe("doctor of a copy of the package", () => {
  /** The package as it is, but for what a test leaves out. */
  function copyWithout(name: string, left: { build?: boolean; packages?: readonly string[] }): string {
    const copy = join(folder, name);
    cpSync(join(packageRoot(), "dist"), join(copy, "dist"), { recursive: true });
    cpSync(join(packageRoot(), "package.json"), join(copy, "package.json"));
    if (!left.build) {
      mkdirSync(join(copy, "native"));
      symlinkSync(join(packageRoot(), "native", "build"), join(copy, "native", "build"));
    }
    let modules = packageRoot();
    while (!existsSync(join(modules, "node_modules", "commander"))) modules = dirname(modules);
    mkdirSync(join(copy, "node_modules"));
    for (const entry of readdirSync(join(modules, "node_modules"))) {
      if (left.packages?.includes(entry)) continue;
      symlinkSync(join(modules, "node_modules", entry), join(copy, "node_modules", entry));
    }
    return copy;
  }

  function doctor(copy: string): Record<string, Finding> {
    const main = join(copy, "dist", "src", "cli", "main.js");
    const { stdout } = spawnSync(process.execPath, [main, "kernel", "doctor", "--json"], { encoding: "utf8" });
    return Object.fromEntries((JSON.parse(stdout) as Finding[]).map((finding) => [finding.check, finding]));
  }

  it("says that the native core is not built, and how to build it", () => {
    const copy = copyWithout("unbuilt", { build: true });
    const found = doctor(copy);
    expect(found["native core"]).toMatchObject({ isGood: false });
    expect(found["native core"]!.detail).toContain("is not built");
    expect(found["native core"]!.detail).toContain("npm run build");
    expect(found["a cell"]).toBeUndefined();
  });

  it("says that the optional packages are not installed", () => {
    const found = doctor(copyWithout("bare", { packages: ["tslab", "zeromq"] }));
    for (const name of ["tslab", "zeromq"]) {
      expect(found[name]).toMatchObject({ isGood: false });
      expect(found[name]!.detail).toContain(`needs the package ${name}`);
      expect(found[name]!.detail).toContain("npm install");
    }
    expect(found["native core"]).toMatchObject({ isGood: true });
  });
});
