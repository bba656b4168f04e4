import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withLock } from "../../scripts/prepare/lock.mjs";
import { claimTsc, packagesAreInstalled } from "../../scripts/prepare/packages.mjs";
import { digestOf, filesUnder, isCurrent, writeStamp } from "../../scripts/prepare/stamp.mjs";
import { runStep, SetupError } from "../../scripts/prepare/step.mjs";
import { checkNode, isModernCompiler } from "../../scripts/prepare/toolchain.mjs";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "moescope prepare "));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});
const write = (name: string, text: string): string => {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
};

describe("toolchain", () => {
  it.each([
    ["g++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright", true],
    ["g++ (GCC) 13.2.1 20230801", true],
    ["c++ (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0", true],
    ["g++ (GCC) 10.2.1", false],
    ["Ubuntu clang version 14.0.0-1ubuntu1", true],
    ["Apple clang version 15.0.0 (clang-1500.3.9.4)", true],
    ["clang version 13.0.1", false],
    ["", false],
  ])("judges %j", (banner, isModern) => {
    expect(isModernCompiler(banner)).toBe(isModern);
  });

  it("asks for Node 20.19 in one sentence", () => {
    expect(() => checkNode("20.18.3")).toThrow("Expected Node.js 20.19 or newer, got 20.18.3");
    expect(() => checkNode("18.20.0")).toThrow(SetupError);
    for (const version of ["20.19.0", "22.0.0", "24.1.0"]) expect(() => checkNode(version)).not.toThrow();
  });
});

describe("claimTsc", () => {
  it("takes npx tsc back from another package", () => {
    const link = path.join(path.dirname(write("node_modules/.bin/other", "")), "tsc");
    claimTsc(folder);
    symlinkSync("../@tslab/typescript-for-tslab/bin/tsc", link);
    claimTsc(folder);
    claimTsc(folder);
    expect(readlinkSync(link)).toBe("../typescript/bin/tsc");
  });
});

describe("stamp", () => {
  it("changes with content, name and setting, not with time", () => {
    const file = write("a.cpp", "int x;");
    const digest = digestOf([file], ["c++"]);
    utimesSync(file, 1, 1);
    expect(digestOf([file], ["c++"])).toBe(digest);
    expect(digestOf([file], ["clang++"])).not.toBe(digest);
    expect(digestOf([write("b.cpp", "int x;")], ["c++"])).not.toBe(digest);
    write("a.cpp", "int y;");
    expect(digestOf([file], ["c++"])).not.toBe(digest);
  });

  it("is current only while digest and outputs are there", () => {
    const stamp = path.join(folder, ".stamp");
    const output = write("out.node", "");
    expect(isCurrent(stamp, "d", [output])).toBe(false);
    writeStamp(stamp, "d");
    expect(isCurrent(stamp, "d", [output])).toBe(true);
    expect(isCurrent(stamp, "e", [output])).toBe(false);
    rmSync(output);
    expect(isCurrent(stamp, "d", [output])).toBe(false);
  });

  it("finds files in order and leaves skipped folders out", () => {
    const wanted = [write("cpu/b.cpp", ""), write("core/a.cpp", "")].sort();
    write("build/c.cpp", "");
    write("core/a.txt", "");
    expect(
      filesUnder(
        folder,
        (name: string) => name.endsWith(".cpp"),
        (name: string) => name === "build",
      ),
    ).toEqual(wanted);
    expect(filesUnder(path.join(folder, "absent"), () => true)).toEqual([]);
  });
});

describe("packages", () => {
  const lock = (packages: object): string => JSON.stringify({ packages });
  const entry = { version: "1.0.0", integrity: "sha512-a" };

  it("are installed when npm's own record and the folders agree with the lock", () => {
    write(
      "package-lock.json",
      lock({ "": {}, "node_modules/a": entry, "node_modules/for-arm": { ...entry, optional: true } }),
    );
    expect(packagesAreInstalled(folder)).toBe(false);
    write("node_modules/.package-lock.json", lock({ "node_modules/a": entry }));
    expect(packagesAreInstalled(folder)).toBe(false);
    write("node_modules/a/package.json", "{}");
    expect(packagesAreInstalled(folder)).toBe(true);
    write("node_modules/.package-lock.json", lock({ "node_modules/a": { ...entry, version: "0.9.0" } }));
    expect(packagesAreInstalled(folder)).toBe(false);
  });

  it("need a lock", () => {
    expect(() => packagesAreInstalled(folder)).toThrow("package-lock.json");
  });
});

describe("step", () => {
  const run = (script: string, more: object = {}): Promise<string> =>
    runStep("a step", process.execPath, ["-e", script], {
      cwd: folder,
      logFile: path.join(folder, "step.log"),
      ...more,
    });

  it("gives the output and keeps it in the log", async () => {
    expect(await run("console.log('µ done')")).toBe("µ done\n");
    expect(readFileSync(path.join(folder, "step.log"), "utf8")).toBe("µ done\n");
  });

  it("fails with one sentence and the log's path", async () => {
    await expect(run("process.exit(3)")).rejects.toThrow(/^a step failed \(exit code 3\)\. Full log: .*step\.log$/);
    await expect(run("process.exit(3)", { failure: "It broke." })).rejects.toThrow(/^It broke\. Full log/);
    const explain = (output: string) => (output.includes("ENOTFOUND") ? "No network." : undefined);
    await expect(run("console.error('ENOTFOUND'); process.exit(1)", { explain })).rejects.toThrow(/^No network\./);
  });

  it("names a command that does not start", async () => {
    const options = { cwd: folder, logFile: path.join(folder, "step.log") };
    await expect(runStep("a step", "moescope-no-such-command", [], options)).rejects.toThrow("Could not start");
  });
});

describe("lock", () => {
  it("lets one at a time in, and is gone afterwards, also after a failure", async () => {
    const file = path.join(folder, "lock");
    const order: string[] = [];
    const hold = (name: string) =>
      withLock(file, async () => {
        order.push(`${name} in`);
        await new Promise((resolve) => setTimeout(resolve, 20));
        order.push(`${name} out`);
      });
    await Promise.all([hold("a"), hold("b")]);
    expect(order.map((event) => event.slice(2))).toEqual(["in", "out", "in", "out"]);
    await expect(withLock(file, () => Promise.reject(new Error("work failed")))).rejects.toThrow("work failed");
    await expect(withLock(file, async () => 7)).resolves.toBe(7);
  });

  it("takes over from a process that is gone", async () => {
    // The largest process id of Linux is below 2^22.
    const file = write("lock", "99999999");
    await expect(withLock(file, async () => 7)).resolves.toBe(7);
  });
});
