/** The same traces summed in DuckDB and in memory: every figure of every accumulator. */
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { analyze, type TokenSubset } from "../../src/analysis/accumulator.js";
import { AdjacentTokens } from "../../src/analysis/adjacent-tokens.js";
import { Coactivation } from "../../src/analysis/coactivation.js";
import { LayerTransitions } from "../../src/analysis/layer-transitions.js";
import { RouteMargins } from "../../src/analysis/route-margins.js";
import { RouterConfidence } from "../../src/analysis/router-confidence.js";
import { RoutingLoad } from "../../src/analysis/routing-load.js";
import { Specialization } from "../../src/analysis/specialization.js";
import { TraceDatabase } from "../../src/analysis/trace-database.js";
import { readTraces } from "../../src/analysis/trace-folder.js";
import * as sql from "../../src/analysis/trace-sql.js";
import { VocabularySpecialization } from "../../src/analysis/vocabulary.js";
import { RouterTrace } from "../../src/router/trace.js";
import { saveTrace, TraceShards } from "../../src/router/trace-files.js";
import { METADATA, randomNumbers, syntheticStep } from "../router/synthetic-trace.js";

let folder: string;
let database: TraceDatabase;

/** Two shards: samples of several requests, a shared prefix, generated tokens, a gap in the positions. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "moescope-duckdb-"));
  const shards = await TraceShards.open(folder);
  const random = randomNumbers(9);
  for (let sample = 0; sample < 7; sample++) {
    const run = (firstPosition: number, tokens: number, origin: 0 | 1, segment: number) => ({
      tokenIds: Int32Array.from({ length: tokens }, () => Math.floor(random() * 5)),
      ...{ origin, segment, firstPosition },
    });
    // A sample's second request begins at the position behind the end of its first: no neighbours all the same.
    const start = sample % 2 === 0 ? 0 : 44;
    const runs = [run(start, 5 + sample, 0, 1), run(start + 40, 4, 1, 3)];
    const changes = sample === 3 ? [{ kind: "top-k", layers: [1], k: 1 } as never] : [];
    const step = syntheticStep(runs, { seed: sample + 1, ties: sample === 2, changes });
    const key =
      sample === 6
        ? { run: "r", task: "t", prefixId: "few-shot" }
        : { run: "r", task: "t", sampleId: `s${sample >> 1}`, epoch: 0, request: sample & 1 };
    shards.append(RouterTrace.fromStep(step, runs, { metadata: METADATA, level: "logits" }).withKey(key));
    // Between the two requests of s1: a document in two files.
    if (sample === 2) await shards.flush();
  }
  await shards.flush();
  database = await TraceDatabase.open(folder, { threads: 1 });
});
afterAll(async () => {
  database?.close();
  await rm(folder, { recursive: true, force: true });
});

async function inMemory<T extends { add(trace: RouterTrace): unknown }>(accumulator: T): Promise<T> {
  await analyze(readTraces(folder), [accumulator as never]);
  return accumulator;
}

/** Sums may run in another order, so 1e-12 of the value; NaN and infinities must be the same. */
function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    if (Object.is(actual[i], expected[i])) continue;
    expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(expected[i]!)));
  }
}

const SUBSETS: TokenSubset[] = [{}, { segment: "question" }, { origin: "generated" }];

describe.each(SUBSETS)("in DuckDB as in memory, tokens %o", (subset) => {
  it("load, by document, with intervals", async () => {
    const [here, there] = [await inMemory(new RoutingLoad(subset)), await sql.sqlLoad(database, subset)];
    expect(there.documents).toEqual(here.documents);
    expect(there.tokensOfDocument).toEqual(here.tokensOfDocument);
    expect(here.tokens()).toBeGreaterThan(20);
    expectSame(there.counts(), here.counts());
    expectSame(there.gateMass(), here.gateMass());
    for (const [document] of here.documents.entries())
      expectSame(there.documentRate(document), here.documentRate(document));
    const figures = (load: RoutingLoad) =>
      load.figures({ resamples: 50, nullDraws: 20 }).flatMap((f) => [f.value, ...f.interval, f.uniform.mean]);
    expectSame(figures(there), figures(here));
  });

  it("specialisation with its null", async () => {
    const special = (load: RoutingLoad) =>
      new Specialization(load, ({ sampleId }) => (sampleId === undefined ? undefined : sampleId > "s1" ? "a" : "b"));
    const [here, there] = [
      special(await inMemory(new RoutingLoad(subset))),
      special(await sql.sqlLoad(database, subset)),
    ];
    expectSame(there.information(), here.information());
    expectSame(there.permutationNull({ permutations: 20 }).pValue, here.permutationNull({ permutations: 20 }).pValue);
    for (const [d] of here.domains.entries()) expectSame(there.affinityGate()[d]!, here.affinityGate()[d]!);
  });

  it("co-activation", async () => {
    const [here, there] = [await inMemory(new Coactivation(subset)), await sql.sqlCoactivation(database, subset)];
    for (const layer of [1, 3]) {
      expectSame(there.matrix(layer), here.matrix(layer));
      expectSame(there.pairs(layer).pmiCorrected, here.pairs(layer).pmiCorrected);
    }
  });

  it("layer transitions", async () => {
    const [here, there] = [await inMemory(new LayerTransitions(subset)), await sql.sqlTransitions(database, subset)];
    expectSame(there.top1Counts(0), here.top1Counts(0));
    expectSame(there.fullCounts(0), here.fullCounts(0));
    expect(there.top1InformationNull(0)).toEqual(here.top1InformationNull(0));
  });

  it("neighbouring tokens", async () => {
    const [here, there] = [await inMemory(new AdjacentTokens(subset)), await sql.sqlAdjacentTokens(database, subset)];
    expect(there.pairs()).toBe(here.pairs());
    expect(here.pairs()).toBeGreaterThan(10);
    for (const figure of ["overlap", "nonempty", "top1Repeat", "overlapGivenLoad"] as const)
      expectSame(there[figure](), here[figure]());
  });

  it.each(["input", "next"] as const)("vocabulary by %s", async (by) => {
    const [here, there] = [
      await inMemory(new VocabularySpecialization(by, subset)),
      await sql.sqlVocabulary(database, by, subset),
    ];
    expect(there.ids()).toBe(here.ids());
    expectSame(there.specialization(), here.specialization());
    expectSame(there.specialization(10), here.specialization(10));
  });

  it("router confidence", async () => {
    const [here, there] = [await inMemory(new RouterConfidence(subset)), await sql.sqlConfidence(database, subset)];
    for (const figure of ["routingEntropy", "topkMass", "zLoss", "meanProbability"] as const)
      expectSame(there[figure](), here[figure]());
    const weights = here.documents.map((_, document) => document % 3);
    expectSame(there.zLoss(weights), here.zLoss(weights));
  });

  it("margins with their quantiles", async () => {
    const [here, there] = [
      await inMemory(new RouteMargins({ ...subset, near: 0.3 })),
      await sql.sqlMargins(database, { ...subset, near: 0.3 }),
    ];
    for (const figure of ["mean", "ties", "shareBelowNear"] as const) expectSame(there[figure](), here[figure]());
    for (const q of [0, 0.1, 0.5, 1]) expectSame(there.quantile(q), here.quantile(q));
  });
});

describe("a database of traces", () => {
  it("answers questions in SQL", async () => {
    const [row] = await database.query(
      "SELECT count(*)::INTEGER AS n, max(slot)::INTEGER AS slot FROM routes WHERE layer = 3",
    );
    const load = await inMemory(new RoutingLoad());
    expect(row).toEqual({
      n: load
        .counts()
        .subarray(6)
        .reduce((sum, count) => sum + count, 0),
      slot: 1,
    });
    await expect(database.query("SELECT nonsense FROM trace")).rejects.toThrow(
      "DuckDB refuses the query: Binder Error",
    );
  });

  it("refuses what is no subset, no folder and no trace", async () => {
    await expect(sql.sqlLoad(database, { segment: "poem" })).rejects.toThrow(
      'Expected one of generated, question for segment, got "poem".',
    );
    await expect(sql.sqlLoad(database, { origin: "dreamt" as "prompt" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    const empty = await mkdtemp(join(folder, "empty-"));
    await expect(TraceDatabase.open(empty)).rejects.toMatchObject({ code: "NOT_FOUND" });
    writeFileSync(join(empty, "part-00000.parquet"), "not Parquet");
    await expect(TraceDatabase.open(empty)).rejects.toMatchObject({ code: "BAD_FILE" });
    await expect(TraceDatabase.open(folder, { memoryLimit: "much" })).rejects.toThrow(
      'Expected an amount such as "1GB" for memoryLimit',
    );
  });

  it("has no confidence of traces without logits, and margins of their own column", async () => {
    const poor = await mkdtemp(join(folder, "topk-"));
    for await (const trace of readTraces(folder))
      await saveTrace(join(poor, "part-00000.parquet"), trace.atLevel("topk"));
    const other = await TraceDatabase.open(poor);
    await expect(sql.sqlConfidence(other)).rejects.toThrow(
      "Expected traces at level logits or hidden, got some at level topk.",
    );
    const here = new RouteMargins();
    await analyze(readTraces(poor), [here]);
    expectSame((await sql.sqlMargins(other)).mean(), here.mean());
    other.close();
  });
});
