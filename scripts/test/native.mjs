/** The native test executables: each prints "N passed, N failed" at its end, and exits with 1 when a check failed. */
import { spawnSync } from "node:child_process";
import path from "node:path";
import { buildFolder, nativeTestNames } from "../prepare/native.mjs";
import { seconds } from "../prepare/step.mjs";
import { Tally } from "./tally.mjs";

const TIMEOUT_MS = 10 * 60_000;
const COUNTS = /^(\d+) passed, (\d+) failed/m;
const FAILURE = /^FAIL\s+(.*)$/gm;
const SKIP = /^SKIP\s+([^:]+):\s*(.*)$/gm;

/** A report of a sanitizer ends the run with this status, so that it cannot be taken for a failed check. */
const SANITIZER_OPTIONS = {
  ASAN_OPTIONS: "detect_leaks=1:exitcode=99",
  UBSAN_OPTIONS: "print_stacktrace=1:exitcode=99",
  TSAN_OPTIONS: "exitcode=99",
};

function runOne(root, folder, name, tally) {
  const started = Date.now();
  const result = spawnSync(path.join(root, folder, "test", name), [], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ...SANITIZER_OPTIONS },
    timeout: TIMEOUT_MS,
    maxBuffer: 1 << 28,
  });
  const output = `${result.stdout ?? ""}${result.stderr ?? ""}`;
  const counts = COUNTS.exec(output);
  const failures = [...output.matchAll(FAILURE)].map((match) => `native ${name}: ${match[1]}`);
  for (const [, test, reason] of output.matchAll(SKIP)) tally.skip(`native ${name}: ${test}`, reason);

  const isGood = result.status === 0 && counts !== null && Number(counts[2]) === 0;
  tally.passed += counts === null ? 0 : Number(counts[1]);
  if (!isGood) {
    const end = result.error?.message ?? result.signal ?? `exit code ${result.status}`;
    while (failures.length < Number(counts?.[2] ?? 0)) failures.push(`native ${name}: a check`);
    if (failures.length === 0) failures.push(`native ${name}: ended with ${end}`);
    tally.failures.push(...failures);
    console.log(output.trimEnd());
  }
  console.log(
    ` ${isGood ? "✓" : "✗"} ${folder}/test/${name} ${counts?.[0] ?? "no counts"} (${seconds(Date.now() - started)})`,
  );
}

/** Runs the executables of one build, all of them or those whose name `accepts`. */
export function runNativeTests(root, sanitize, accepts = () => true) {
  const tally = new Tally();
  const names = nativeTestNames(root).filter(accepts);
  if (names.length === 0) tally.failures.push("native: found no test");
  for (const name of names) runOne(root, buildFolder(sanitize), name, tally);
  return tally;
}
