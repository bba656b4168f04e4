#!/usr/bin/env node
/**
 * Compiles native/cuda into native/build-cuda/moescope_cuda.so, which the CPU package runs without, and writes resources.json
 * beside it: registers, spills and shared memory of every kernel on every target. What did not change is not compiled again.
 *
 *   node scripts/build-cuda.mjs [--jobs N]
 *
 * Fails where a kernel spills or exceeds a target. Needs no card.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import util from "node:util";
import { compileAll } from "./cuda/compile.mjs";
import { resourceViolations } from "./cuda/resources.mjs";
import { findCudaToolkit } from "./cuda/toolkit.mjs";
import { withLock } from "./prepare/lock.mjs";
import { buildFolder } from "./prepare/native.mjs";
import { digestOf, filesUnder, isCurrent, writeStamp } from "./prepare/stamp.mjs";
import { runStep, SetupError, say, seconds } from "./prepare/step.mjs";
import { findToolchain } from "./prepare/toolchain.mjs";
import { prepare, ROOT, runScript } from "./prepare.mjs";

const FOLDER = path.join(ROOT, "native", "build-cuda");
const LOGS = path.join(ROOT, ".cache", "logs");

async function link(toolkit, compiler, objects) {
  const library = path.join(FOLDER, "moescope_cuda.so");
  const core = path.join(ROOT, buildFolder(""), "libmoescope_core.a");
  const stamp = path.join(FOLDER, ".stamp");
  const digest = digestOf([...objects, core], [toolkit.version, compiler]);
  if (isCurrent(stamp, digest, [library])) return false;
  const runtime = path.join(toolkit.libraries, "libcudart_static.a");
  const args = ["-shared", "-o", library, ...objects, core, runtime, "-lpthread", "-ldl", "-lrt"];
  // Symbols of the static libraries stay inside, and nothing may be left for the loader to find.
  await runStep("moescope_cuda.so", compiler, [...args, "-Wl,--exclude-libs,ALL", "-Wl,-z,defs", "-Wl,--gc-sections"], {
    cwd: ROOT,
    logFile: path.join(LOGS, "cuda-link.log"),
    failure: "The CUDA library does not link.",
  });
  writeStamp(stamp, digest);
  return true;
}

async function build(jobs) {
  const started = Date.now();
  await prepare({ nativeOnly: true });
  await withLock(path.join(ROOT, ".cache", "cuda.lock"), async () => {
    const toolkit = await findCudaToolkit(ROOT, LOGS);
    const { compiler } = await findToolchain(ROOT, LOGS);
    const sources = filesUnder(path.join(ROOT, "native", "cuda"), (name) => /\.(cu|cpp)$/.test(name));
    const { objects, resources, numCompiled } = await compileAll(ROOT, FOLDER, toolkit, compiler, sources, jobs);
    fs.writeFileSync(path.join(FOLDER, "resources.json"), `${JSON.stringify(resources, null, 1)}\n`);
    const violations = resourceViolations(resources);
    if (violations.length > 0) throw new SetupError(`The kernels exceed their limits:\n  ${violations.join("\n  ")}`);
    const hasLinked = await link(toolkit, compiler, objects);
    const kernels = new Set(resources.map((one) => one.kernel)).size;
    const work = numCompiled > 0 || hasLinked ? `${numCompiled} of ${sources.length} files compiled` : "up to date";
    say(
      `build:cuda: nvcc ${toolkit.version}, ${kernels} kernels, none spills; ${work} (${seconds(Date.now() - started)})`,
    );
  });
}

await runScript(async () => {
  const { values } = util.parseArgs({ options: { jobs: { type: "string", default: "" } } });
  const jobs = values.jobs === "" ? (os.availableParallelism?.() ?? os.cpus().length) : Number(values.jobs);
  if (!Number.isInteger(jobs) || jobs < 1) throw new SetupError(`Expected a number of jobs >= 1, got ${values.jobs}.`);
  await build(jobs);
});
