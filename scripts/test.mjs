#!/usr/bin/env node
/**
 * Prepares the clone, runs a suite and ends with the line "N passed, N failed, N skipped".
 *
 *   node scripts/test.mjs [unit]            native tests and TypeScript tests: `npm test`
 *   node scripts/test.mjs native            native tests alone
 *   node scripts/test.mjs sanitize          native tests under ASan + UBSan, those with threads under TSan
 *   node scripts/test.mjs emulator          CUDA kernels on the CPU, plain and under ASan + UBSan
 *   node scripts/test.mjs gpu               device cuda on a card, with the library that build:cuda made
 *   node scripts/test.mjs neon              native tests built for arm64, in qemu
 *   node scripts/test.mjs notebooks         the notebook kernel, as clients and Jupyter see it
 *   node scripts/test.mjs real              tests on real checkpoints
 *
 * Words after the suite's name narrow the files of the TypeScript tests.
 */
import fs from "node:fs";
import path from "node:path";
import { ensureEmulator } from "./prepare/native.mjs";
import { SetupError, say } from "./prepare/step.mjs";
import { missingForArm64 } from "./prepare/toolchain.mjs";
import { LOGS, prepare, ROOT, runScript } from "./prepare.mjs";
import { runArm64Tests, runEmulatorTests, runNativeTests } from "./test/native.mjs";
import { Tally } from "./test/tally.mjs";
import { runVitest } from "./test/vitest.mjs";

/** Whether a native test speaks of threads: the rest has nothing for TSan to see. */
function hasThreads(name) {
  return /thread/i.test(fs.readFileSync(path.join(ROOT, "native", "test", `${name}.cpp`), "utf8"));
}

const SUITES = {
  async unit(filters, tally) {
    await prepare();
    if (filters.length === 0) tally.add(runNativeTests(ROOT, ""));
    tally.add(await runVitest(ROOT, "unit", filters));
  },
  async native(_filters, tally) {
    await prepare({ nativeOnly: true });
    tally.add(runNativeTests(ROOT, ""));
  },
  async sanitize(_filters, tally) {
    await prepare({ nativeOnly: true, kind: "address,undefined" });
    tally.add(runNativeTests(ROOT, "address,undefined"));
    await prepare({ nativeOnly: true, kind: "thread" });
    tally.add(runNativeTests(ROOT, "thread", hasThreads));
  },
  async emulator(filters, tally) {
    await prepare();
    for (const kind of ["", "address,undefined"]) {
      await ensureEmulator(ROOT, LOGS, kind);
      tally.add(runEmulatorTests(ROOT, kind));
    }
    tally.add(await runVitest(ROOT, "emulator", filters));
  },
  async gpu(filters, tally) {
    await prepare();
    const [{ loadAddon }, { chooseDevice }] = await Promise.all(
      ["native/addon", "model/device"].map((name) => import(`../dist/src/${name}.js`)),
    );
    try {
      chooseDevice(loadAddon(), { device: "cuda" });
    } catch (error) {
      return tally.skip("tests on a card", error.message);
    }
    tally.add(await runVitest(ROOT, "gpu", filters));
  },
  async neon(_filters, tally) {
    const reason = await missingForArm64(ROOT, LOGS);
    if (reason !== undefined) return tally.skip("native tests on arm64", reason);
    await prepare({ nativeOnly: true, kind: "arm64" });
    tally.add(runArm64Tests(ROOT));
  },
  async notebooks(filters, tally) {
    await prepare();
    tally.add(await runVitest(ROOT, "notebooks", filters));
  },
  async real(filters, tally) {
    await prepare();
    tally.add(await runVitest(ROOT, "real", filters));
  },
};

await runScript(async () => {
  const [name = "unit", ...filters] = process.argv.slice(2);
  if (!Object.hasOwn(SUITES, name))
    throw new SetupError(`Expected one of ${Object.keys(SUITES).join(", ")}, got ${name}.`);
  say("prepare: checking packages, native core and TypeScript");
  const tally = new Tally();
  await SUITES[name](filters, tally);
  tally.print();
  process.exit(tally.failures.length === 0 ? 0 : 1);
});
