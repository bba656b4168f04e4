/** Counts of a test run, its failures and its skips with their reasons; suites of any kind add up. */
export class Tally {
  passed = 0;
  /** Name of each failed test. */
  failures = [];
  /** Name and reason of each skipped test. */
  skips = [];

  /** A skip that does not say why is a failure: nobody could tell it from a test that was forgotten. */
  skip(name, reason) {
    if (reason === undefined || reason === "") this.failures.push(`${name}: skipped without a reason`);
    else this.skips.push({ name, reason });
  }

  add(other) {
    this.passed += other.passed;
    this.failures.push(...other.failures);
    this.skips.push(...other.skips);
  }

  /** The closing report; its last line stands alone: "N passed, N failed, N skipped". */
  print() {
    const reasons = [...new Set(this.skips.map((skip) => skip.reason))];
    if (reasons.length > 0) console.log("\nSkipped, and why:");
    for (const reason of reasons) {
      console.log(`  ${reason}`);
      for (const skip of this.skips.filter((skip) => skip.reason === reason)) console.log(`    ${skip.name}`);
    }
    if (this.failures.length > 0) console.log("\nFailed:");
    for (const name of this.failures) console.log(`  ${name}`);
    console.log(`\n${this.passed} passed, ${this.failures.length} failed, ${this.skips.length} skipped`);
  }
}
