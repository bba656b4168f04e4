import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { analyze } from "../../src/analysis/accumulator.js";
import { RoutingLoad } from "../../src/analysis/routing-load.js";
import { readTraces } from "../../src/analysis/trace-folder.js";
import { TraceShards } from "../../src/router/trace-files.js";
import { promptRun, syntheticTrace } from "../router/synthetic-trace.js";

const newFolder = () => mkdtemp(join(tmpdir(), "moescope-traces-"));

describe("readTraces", () => {
  it("reads the shards in order, and only them", async () => {
    const folder = await newFolder();
    const shards = await TraceShards.open(folder);
    for (const [i, length] of [3, 5, 2].entries()) {
      shards.append(syntheticTrace([promptRun(length, 0, { key: { sampleId: `s${i}` } })]));
      await shards.flush();
    }
    await writeFile(join(folder, "_prefixes.txt"), "t p\n");
    const load = new RoutingLoad();
    await analyze(readTraces(folder), [load]);
    expect(load.documents.map(({ sampleId }) => sampleId)).toEqual(["s0", "s1", "s2"]);
    expect(load.tokensOfDocument).toEqual([3, 5, 2]);
  });

  it("says what is not there", async () => {
    const folder = await newFolder();
    await expect(readTraces(folder).next()).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: `Expected traces (part-00000.parquet) in ${folder}, found none.`,
    });
    await expect(readTraces(join(folder, "x")).next()).rejects.toMatchObject({ code: "NOT_FOUND" });
    await writeFile(join(folder, "part-00000.parquet"), "no");
    await expect(readTraces(folder).next()).rejects.toMatchObject({ code: "BAD_FILE" });
  });
});
