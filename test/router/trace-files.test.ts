import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Dictionary, type FixedSizeList, tableFromArrays } from "apache-arrow";
import { afterAll, describe, expect, it } from "vitest";
import { tableFromParquet, tableToParquet } from "../../src/router/parquet.js";
import { RouterTrace } from "../../src/router/trace.js";
import { loadTrace, partsOfSize, saveTrace, TraceShards } from "../../src/router/trace-files.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { METADATA, promptRun, syntheticTrace } from "./synthetic-trace.js";

const folder = mkdtempSync(join(tmpdir(), "moescope-trace-"));
afterAll(() => rmSync(folder, { recursive: true }));

const trace = syntheticTrace(
  [
    promptRun(4, 0, { key: { prefixId: "p" } }),
    promptRun(3, 4, { key: { run: "r", task: "gsm8k", sampleId: "s1", epoch: 0, request: 0, turn: 0, prefixId: "p" } }),
    promptRun(2, 7, {
      origin: 1,
      segment: 3,
      key: { run: "r", task: "gsm8k", sampleId: "s1", epoch: 0, request: 0, turn: 1 },
    }),
  ],
  {
    metadata: { ...METADATA, interventions: '[{"kind":"mask"}]', provenance: { licence: "Apache-2.0", note: "ü" } },
    changes: [{ kind: "mask", layers: [1], experts: [0], positions: [2, 5] }],
  },
);

describe.each(["parquet", "arrow"])("a .%s file", (extension) => {
  it("gives the trace back, metadata and provenance included", async () => {
    const file = join(folder, `trace.${extension}`);
    await saveTrace(file, trace);
    expect(await loadTrace(file)).toEqual(trace);
    await saveTrace(file, trace.slice(1, 2));
    expect((await loadTrace(file)).columns.positions).toEqual(Int32Array.of(1));
    expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("holds traces without rows, and at level topk", async () => {
    for (const [name, some] of [
      ["none", trace.slice(0, 0)],
      ["topk", trace.atLevel("topk")],
    ] as const) {
      const file = join(folder, `${name}.${extension}`);
      await saveTrace(file, some);
      const back = await loadTrace(file);
      expect(back.columns).toEqual(some.columns);
      expect(back.layout).toEqual(some.layout);
    }
  });

  it("is refused by name where it is broken, foreign or absent", async () => {
    const file = join(folder, `broken.${extension}`);
    await saveTrace(file, trace);
    writeFileSync(file, readFileSync(file).subarray(0, 700));
    await expect(loadTrace(file)).rejects.toMatchObject({ code: "BAD_FILE" });
    await expect(loadTrace(join(folder, `absent.${extension}`))).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

it("keeps types, nullability and metadata in Parquet", async () => {
  const written = trace.toArrow();
  const table = await tableFromParquet(await tableToParquet(written), "memory");
  const types = (schema: typeof table.schema) => schema.fields.map((f) => `${f.name} ${f.type} ${f.nullable}`);
  expect(types(table.schema)).toEqual(types(written.schema));
  expect((table.schema.fields.find((f) => f.name === "sample_id")!.type as Dictionary).dictionary.toString()).toBe(
    "Utf8",
  );
  expect((table.getChild("topk_experts")!.type as FixedSizeList).children[0]!.nullable).toBe(false);
  expect(JSON.parse(table.schema.metadata.get("moescope.provenance")!)).toEqual({ licence: "Apache-2.0", note: "ü" });
});

it("splits a long trace into row groups and joins them again", async () => {
  const long = syntheticTrace([promptRun(40000)], { level: "topk" });
  const file = join(folder, "long.parquet");
  await saveTrace(file, long);
  expect((await loadTrace(file)).columns).toEqual(long.columns);
});

it("refuses a table that is not a trace", async () => {
  const bytes = await tableToParquet(tableFromArrays({ x: Int32Array.of(1) }));
  const file = join(folder, "foreign.parquet");
  writeFileSync(file, bytes);
  await expect(loadTrace(file)).rejects.toThrow("Expected a router trace with metadata moescope.schema_version");
});

it("leaves nothing behind where it cannot write", async () => {
  await expect(saveTrace(join(folder, "no/such/folder.parquet"), trace)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(saveTrace(join(folder, "trace.csv"), trace)).rejects.toThrow("a name that ends in .parquet or .arrow");
  const target = join(folder, "taken.parquet");
  mkdirSync(join(target, "inside"), { recursive: true });
  await expect(saveTrace(target, trace)).rejects.toThrow();
  expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
});

describe("shards", () => {
  it("appear whole at each flush, and go on after the last when reopened", async () => {
    const place = join(folder, "trace");
    const shards = await TraceShards.open(place);
    expect(await shards.flush()).toEqual([]);
    shards.append(trace.slice(0, 4));
    shards.append(trace.slice(4, 6));
    expect(shards.waitingRows).toBe(12);
    expect(readdirSync(place)).toEqual([]);
    expect(await shards.flush()).toEqual([join(place, "part-00000.parquet")]);
    expect(shards.waitingRows).toBe(0);

    writeFileSync(join(place, ".partial-1234-part-00001.parquet"), "torn");
    const reopened = await TraceShards.open(place);
    reopened.append(trace.slice(6));
    await reopened.flush();
    expect(readdirSync(place).sort()).toEqual(["part-00000.parquet", "part-00001.parquet"]);
    const read = await Promise.all((await reopened.files()).map(loadTrace));
    expect(RouterTrace.concat(read)).toEqual(trace);
  });

  it("are cut so that none is larger than a writer may hold, and join to the whole", () => {
    const perToken = trace.byteLength / trace.numTokens;
    for (const tokens of [1, 2, 3, 5, 100]) {
      for (const traces of [[trace], [trace.slice(0, 4), trace.slice(4, 4), trace.slice(4, 5), trace.slice(5)]]) {
        const parts = [...partsOfSize(traces, tokens * perToken + 1)];
        expect(parts.map(({ numTokens }) => numTokens).slice(0, -1)).toEqual(
          parts.slice(1).map(() => Math.min(tokens, trace.numTokens)),
        );
        expect(RouterTrace.concat(parts)).toEqual(trace);
      }
    }
    // One token is written however large it is.
    expect([...partsOfSize([trace], 1)]).toHaveLength(trace.numTokens);
  });

  it("keep what could not be written for the next flush", async () => {
    const place = join(folder, "gone");
    const shards = await TraceShards.open(place);
    shards.append(trace);
    rmSync(place, { recursive: true });
    await expect(shards.flush()).rejects.toMatchObject({ code: "NOT_FOUND" });
    mkdirSync(place);
    expect(await shards.flush()).toEqual([join(place, "part-00000.parquet")]);
  });
});

describeWithGoldens("Parquet of others", "golden/metrics/s/trace.parquet", () => {
  it("is read, plain lists included", async () => {
    const file = sharedPath("golden/metrics/s/trace.parquet");
    const table = await tableFromParquet(readFileSync(file), file);
    expect(table.numRows).toBe(3465);
    expect(table.getChild("router_logits")!.get(0)).toHaveLength(16);
  });
});
