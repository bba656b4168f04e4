/** docs/metrics.md names functions that exist. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as moescope from "../../src/index.js";

const PAGE = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
const exported = moescope as unknown as Record<string, { prototype?: object } | undefined>;

/** Names in the third column of the tables. */
const named = PAGE.split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| metric"))
  .flatMap((line) => {
    const column = line.split("|")[3]!.replace(/\([^)]*\)/g, "");
    return Array.from(column.matchAll(/`([\w.]+)`|\b(LOAD_METRICS)\b/g), ([, code, name]) => code ?? name!);
  });

describe("the page of metrics", () => {
  it("has a function in every row, and every one exists", () => {
    expect(named.length).toBeGreaterThan(60);
    const missing = named.filter((name) => {
      const [owner, method] = name.split(".") as [string, string | undefined];
      if (!(owner in exported)) return true;
      return method !== undefined && !(method in (exported[owner]!.prototype ?? {}));
    });
    expect(missing).toEqual([]);
  });

  it("names tests that exist", () => {
    const files = new Set(PAGE.match(/test\/[\w/-]+\.test\.ts/g));
    expect(files.size).toBeGreaterThan(4);
    for (const file of files) expect(() => readFileSync(new URL(`../../${file}`, import.meta.url))).not.toThrow();
  });
});
