#!/usr/bin/env node
/**
 * Puts each bug of scripts/cuda/seeded-bugs.mjs into the CUDA kernels, alone, and demands that its test under the emulator fails in the
 * case that is named. Shows that the tests and the emulator see what they are there for. Ends with "N passed, N failed, N skipped".
 *
 *   node scripts/seeded-bugs.mjs [WORDS OF A BUG'S NAME]
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { SEEDED_BUGS } from "./cuda/seeded-bugs.mjs";
import { buildFolder, ensureEmulator } from "./prepare/native.mjs";
import { filesUnder } from "./prepare/stamp.mjs";
import { SetupError, say, seconds } from "./prepare/step.mjs";
import { findToolchain } from "./prepare/toolchain.mjs";
import { prepare, ROOT, runScript } from "./prepare.mjs";
import { Tally } from "./test/tally.mjs";

const NATIVE = path.join(ROOT, "native");
const BUILD = path.join(ROOT, buildFolder(""));
const LOGS = path.join(ROOT, ".cache", "logs");
const TIMEOUT_MS = 120_000;
const FLAGS = ["-std=c++20", "-O1", "-DNDEBUG", "-DMOESCOPE_EMULATED", "-ffp-contract=off", "-fno-math-errno", "-w"];

/** Runs a command; `{ status, output }`. */
function run(command, args, timeout = TIMEOUT_MS) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, timeout, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.on("error", (error) => resolve({ status: -1, output: error.message }));
    child.on("close", (status) => resolve({ status: status ?? -1, output }));
  });
}

async function must(command, args) {
  const { status, output } = await run(command, args);
  if (status !== 0) throw new SetupError(`${path.basename(command)} ended with ${status}:\n${output}`);
  return output;
}

/** Files of native/cuda that each kernel file includes, itself among them. */
async function includedBy(kernels, compiler) {
  const included = new Map();
  for (const kernel of kernels) {
    const args = [...FLAGS, "-x", "c++", "-MM", "-I", NATIVE, "-I", path.join(NATIVE, "test", "emulator")];
    const output = await must(compiler, [...args, path.join(NATIVE, "cuda", kernel)]);
    included.set(
      kernel,
      new Set(output.split(/[\s\\]+/).map((file) => path.relative(path.join(NATIVE, "cuda"), file))),
    );
  }
  return included;
}

/** Names that an object, a library or a program defines, as `nm` prints them: by member of a library, else under "". */
async function namesIn(file) {
  const byMember = new Map();
  let member = "";
  for (const line of (await must("nm", ["--defined-only", file])).split("\n")) {
    if (line.endsWith(":")) member = line.slice(0, -1);
    const name = /^[0-9a-f]+ T (\S+)$/.exec(line)?.[1];
    if (name !== undefined) byMember.set(member, [...(byMember.get(member) ?? []), name]);
  }
  return byMember;
}

/** The kernel files that a test's program holds. */
async function kernelsOf(test, kernels) {
  const program = new Set((await namesIn(path.join(BUILD, "emulator", `emulator_${test}_test`))).get(""));
  const library = await namesIn(path.join(BUILD, "libmoescope_emulated.a"));
  return kernels.filter((kernel) => library.get(`${kernel}.o`)?.some((name) => program.has(name)));
}

/** Writes the file with its bug into `folder`/cuda, where it is found before the right one. */
function plant(bug, folder) {
  const text = fs.readFileSync(path.join(NATIVE, "cuda", bug.file), "utf8");
  const numFound = text.split(bug.from).length - 1;
  if (numFound !== 1) throw new SetupError(`Expected "${bug.from}" once in ${bug.file}, found it ${numFound} times.`);
  fs.mkdirSync(path.join(folder, "cuda"), { recursive: true });
  fs.writeFileSync(
    path.join(folder, "cuda", bug.file),
    text.replace(bug.from, () => bug.to),
  );
}

/** Builds the bug's test with the kernels as they are in `folder`, and runs it. */
async function outcomeOf(bug, folder, compiler, included) {
  const includes = ["-I", folder, "-I", NATIVE, "-I", path.join(NATIVE, "test", "emulator")];
  const objects = [];
  for (const kernel of await kernelsOf(bug.test, [...included.keys()])) {
    if (!included.get(kernel).has(bug.file)) continue;
    const planted = path.join(folder, "cuda", kernel);
    const source = fs.existsSync(planted) ? planted : path.join(NATIVE, "cuda", kernel);
    const object = path.join(folder, `${kernel}.o`);
    await must(compiler, [...FLAGS, ...includes, "-x", "c++", "-c", source, "-o", object]);
    objects.push(object);
  }
  // Compiled again: a test may include the kernel's headers, too.
  const program = path.join(folder, "program");
  const test = path.join(NATIVE, "test", "emulator", `${bug.test}_test.cpp`);
  const libraries = ["libmoescope_emulated.a", "libmoescope_core.a"].map((name) => path.join(BUILD, name));
  await must(compiler, [...FLAGS, ...includes, test, ...objects, ...libraries, "-pthread", "-o", program]);
  return run(program, [bug.case]);
}

/** Undefined where the bug was seen, else what happened. */
async function missedBy(bug, compiler, included) {
  const right = await run(path.join(BUILD, "emulator", `emulator_${bug.test}_test`), [bug.case]);
  if (right.status !== 0) return "the test fails without the bug, or has no such case";
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "moescope-bug-"));
  try {
    plant(bug, folder);
    const { status, output } = await outcomeOf(bug, folder, compiler, included);
    const isSeen =
      status === 1 && output.split("\n").some((line) => line.startsWith("FAILED") && line.includes(bug.case));
    return isSeen ? undefined : `the test ended with ${status} and did not fail`;
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

await runScript(async () => {
  const words = process.argv.slice(2).join(" ");
  const bugs = SEEDED_BUGS.filter((bug) => bug.name.includes(words));
  if (bugs.length === 0) throw new SetupError(`No seeded bug has "${words}" in its name.`);
  await prepare({ packagesOnly: true });
  await ensureEmulator(ROOT, LOGS, "");
  const { compiler } = await findToolchain(ROOT, LOGS);
  const kernels = filesUnder(path.join(NATIVE, "cuda"), (name) => name.endsWith(".cu") && !name.endsWith("_cuda.cu"));
  const included = await includedBy(
    kernels.map((file) => path.basename(file)),
    compiler,
  );
  const tally = new Tally();
  const waiting = [...bugs];
  const worker = async () => {
    for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
      const started = Date.now();
      const missed = await missedBy(bug, compiler, included);
      if (missed === undefined) ++tally.passed;
      else tally.failures.push(`${bug.name} (${bug.file}): ${missed}`);
      say(` ${missed === undefined ? "✓ seen" : `✗ ${missed}`}: ${bug.name} (${seconds(Date.now() - started)})`);
    }
  };
  await Promise.all(Array.from({ length: os.availableParallelism?.() ?? os.cpus().length }, worker));
  tally.print();
  process.exitCode = tally.failures.length === 0 ? 0 : 1;
});
