/** The list of seeded bugs fits the kernels and tests as they are; scripts/seeded-bugs.mjs plants them. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { SEEDED_BUGS } from "../../scripts/cuda/seeded-bugs.mjs";

const read = (...parts: string[]) => readFileSync(path.join(import.meta.dirname, "../../native", ...parts), "utf8");

it("has enough bugs, each under a name of its own", () => {
  expect(SEEDED_BUGS.length).toBeGreaterThanOrEqual(15);
  expect(new Set(SEEDED_BUGS.map((bug) => bug.name)).size).toBe(SEEDED_BUGS.length);
});

it.each(SEEDED_BUGS.map((bug) => [bug.name, bug] as const))("%s: has one place and one case", (_name, bug) => {
  expect(read("cuda", bug.file).split(bug.from)).toHaveLength(2);
  expect(bug.to).not.toBe(bug.from);
  expect(read("test", "emulator", `${bug.test}_test.cpp`)).toContain(`CASE("${bug.case}`);
});
