/** The native test executables, whose report is that of native/test/check.h. */
import { spawnSync } from "node:child_process";
import path from "node:path";
import { buildFolder, emulatorTestNames, nativeTestNames } from "../prepare/native.mjs";
import { seconds } from "../prepare/step.mjs";
import { ARM64_EMULATOR, ARM64_ROOT } from "../prepare/toolchain.mjs";
import { Tally } from "./tally.mjs";

const TIMEOUT_MS = 10 * 60_000;
const COUNTS = /^(\d+) cases, (\d+) failed$/m;
const FAILED_CASE = /^FAILED (.*)$/gm;

/** A report of a sanitizer ends the run with this status, so that it cannot be taken for a failed check. */
const SANITIZER_OPTIONS = {
  ASAN_OPTIONS: "detect_leaks=1:exitcode=99",
  UBSAN_OPTIONS: "print_stacktrace=1:exitcode=99",
  TSAN_OPTIONS: "exitcode=99",
};

/** `emulator`: program and arguments before the executable, or nothing. */
function runOne(root, executable, tally, emulator = []) {
  const started = Date.now();
  const [program, ...args] = [...emulator, path.join(root, executable)];
  const result = spawnSync(program, args, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ...SANITIZER_OPTIONS, QEMU_LD_PREFIX: ARM64_ROOT },
    timeout: TIMEOUT_MS,
    maxBuffer: 1 << 28,
  });
  const output = `${result.stdout ?? ""}${result.stderr ?? ""}`;
  const [report, numCases, numFailed] = COUNTS.exec(output) ?? ["no report", "0", "0"];
  const failures = [...output.matchAll(FAILED_CASE)].map((match) => `${executable}: ${match[1]}`);
  tally.passed += Number(numCases) - Number(numFailed);

  // Status and report must agree: a crash after the report, or in the middle of it, is a failure too.
  const isExplained = result.status === 0 || (result.status === 1 && failures.length > 0);
  if (!isExplained) {
    const end = result.error?.message ?? result.signal ?? `exit code ${result.status}`;
    failures.push(`${executable}: ended with ${end}`);
  }
  if (result.status === 0 && Number(numCases) === 0) failures.push(`${executable}: ran no case`);
  tally.failures.push(...failures);

  const isGood = failures.length === 0;
  if (!isGood) console.log(output.trimEnd());
  console.log(
    ` ${isGood ? "✓" : "✗"} ${[...emulator.slice(1), executable].join(" ")}: ${report} (${seconds(Date.now() - started)})`,
  );
}

/** Runs the executables of one build, all of them or those whose name `accepts`. */
export function runNativeTests(root, sanitize, accepts = () => true) {
  const tally = new Tally();
  const names = nativeTestNames(root).filter(accepts);
  if (names.length === 0) tally.failures.push("native: found no test");
  for (const name of names) runOne(root, path.join(buildFolder(sanitize), "test", name), tally);
  return tally;
}

/** Runs the tests of CUDA kernels under the emulator, those of one build. */
export function runEmulatorTests(root, sanitize) {
  const tally = new Tally();
  const names = emulatorTestNames(root);
  if (names.length === 0) tally.failures.push("emulator: found no test");
  for (const name of names) runOne(root, path.join(buildFolder(sanitize), "emulator", name), tally);
  return tally;
}

/** Tests of what differs between a processor with dot product instructions, which the emulator is by default, and one without. */
const WITHOUT_DOT_PRODUCTS = ["int_kernels_test", "kernels_test"];

/** Runs the executables of the build for arm64 in qemu. */
export function runArm64Tests(root) {
  const tally = new Tally();
  const run = (name, ...options) =>
    runOne(root, path.join(buildFolder("arm64"), "test", name), tally, [ARM64_EMULATOR, ...options]);
  for (const name of nativeTestNames(root)) run(name);
  for (const name of WITHOUT_DOT_PRODUCTS) run(name, "-cpu", "cortex-a57");
  return tally;
}
