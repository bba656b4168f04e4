import { afterEach, describe, expect, it, vi } from "vitest";
import { Tally } from "../../scripts/test/tally.mjs";

afterEach(() => {
  vi.restoreAllMocks();
});

function printed(tally: Tally): string[] {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  tally.print();
  return log.mock.calls.flatMap(([text]) => String(text).split("\n"));
}

describe("Tally", () => {
  it("ends with the counts alone on a line", () => {
    const tally = new Tally();
    tally.passed = 3;
    tally.failures.push("x > y");
    tally.skip("x > z", "no goldens");
    const lines = printed(tally);
    expect(lines.at(-1)).toBe("3 passed, 1 failed, 1 skipped");
    expect(lines).toContain("  no goldens");
    expect(lines).toContain("    x > z");
    expect(lines).toContain("  x > y");
  });

  it("counts a skip without a reason as a failure", () => {
    const tally = new Tally();
    tally.skip("x > z", undefined);
    tally.skip("x > w", "");
    expect(printed(tally).at(-1)).toBe("0 passed, 2 failed, 0 skipped");
  });

  it("adds up", () => {
    const [all, one] = [new Tally(), new Tally()];
    one.passed = 2;
    one.failures.push("f");
    one.skip("s", "why");
    all.add(one);
    all.add(one);
    expect(printed(all).at(-1)).toBe("4 passed, 2 failed, 2 skipped");
  });
});
