/** The TypeScript tests: one project of vitest.config.ts, with the usual report, counted into a Tally. */
import path from "node:path";
import { Tally } from "./tally.mjs";

/** `it.skipIf(...)` takes no reason, so such a test carries it in its name: "does this (skipped: because)". */
const REASON_IN_NAME = /\(skipped: (.*)\)/;

/** A vitest reporter that only counts. */
class TallyReporter {
  tally = new Tally();

  constructor(root) {
    this.root = root;
  }

  onTestRunEnd(testModules, unhandledErrors) {
    for (const testModule of testModules) {
      const file = path.relative(this.root, testModule.moduleId);
      let count = 0;
      for (const test of testModule.children.allTests()) {
        count += 1;
        this.#take(`${file} > ${test.fullName}`, test.result());
      }
      // A file that does not load, or a hook of a suite that throws, fails without any test to its name.
      const suites = [testModule, ...testModule.children.allSuites()];
      const errors = suites.flatMap((suite) => suite.errors());
      if (errors.length > 0) this.tally.failures.push(`${file}: ${errors[0].message}`);
      else if (count === 0) this.tally.failures.push(`${file}: holds no test`);
    }
    for (const error of unhandledErrors) this.tally.failures.push(`Unhandled error: ${error.message}`);
  }

  #take(name, result) {
    if (result.state === "passed") this.tally.passed += 1;
    else if (result.state === "skipped") this.tally.skip(name, result.note ?? REASON_IN_NAME.exec(name)?.[1]);
    else this.tally.failures.push(name);
  }
}

/** Runs `project`; `filters` narrow the test files, as with vitest itself. A run of no test at all is a failure. */
export async function runVitest(root, project, filters) {
  const { startVitest } = await import("vitest/node");
  const counter = new TallyReporter(root);
  const vitest = await startVitest("test", filters, {
    root,
    project: [project],
    run: true,
    watch: false,
    reporters: ["default", counter],
  });
  await vitest?.close();
  const { tally } = counter;
  if (tally.passed + tally.failures.length + tally.skips.length === 0)
    tally.failures.push(`vitest found no test in "${project}"`);
  return tally;
}
