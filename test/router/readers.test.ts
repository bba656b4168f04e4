/** What pandas, DuckDB and Polars themselves read of traces that moescope wrote. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { lineQuestions } from "../../src/experiment/questions.js";
import { Model } from "../../src/model/model.js";
import { RouterTrace } from "../../src/router/trace.js";
import { loadTrace, TraceShards } from "../../src/router/trace-files.js";
import { runCli } from "../cli/run-cli.js";
import { seededModel, temporaryFolder } from "../cli/seeded.js";
import { linesOfTwoDomains } from "../experiment/lines.js";

/** A Python with the packages of `readers-requirements.txt`; `.ci/run` makes the second one. */
const PYTHON = [process.env.MOESCOPE_PYTHON, resolve(import.meta.dirname, "../../.cache/readers/bin/python")].find(
  (path) => path !== undefined && existsSync(path),
);

const folder = join(temporaryFolder(), "trace");
let trace: RouterTrace;
beforeAll(async () => {
  const model = await Model.load(seededModel());
  const traces: RouterTrace[] = [];
  await lineQuestions(linesOfTwoDomains(4), "lines").ask(model, {
    level: "logits",
    onTrace: (item) => traces.push(item.trace),
  });
  const shards = await TraceShards.open(folder);
  for (const [i, each] of traces.entries()) {
    shards.append(each);
    if (i === 5) await shards.flush();
  }
  await shards.flush();
  trace = RouterTrace.concat(traces);
  await model.dispose();
});

it("pandas, DuckDB and Polars read rows, experts, weights, logits, labels and provenance", async (context) => {
  if (PYTHON === undefined) {
    context.skip("no Python with pandas, polars, pyarrow and duckdb: set MOESCOPE_PYTHON, or let .ci/run make one");
  }
  const { status, stdout, stderr } = spawnSync(PYTHON!, [join(import.meta.dirname, "readers.py"), folder], {
    encoding: "utf8",
  });
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const load = trace.expertLoad().layer(3);
  const { topkWeights, routerLogits } = trace.columns;
  const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);
  const expected = {
    rows: trace.numTokens * 4,
    counts: Object.fromEntries([...load].flatMap((count, expert) => (count === 0 ? [] : [[String(expert), count]]))),
    origins: ["prompt"],
    samples: linesOfTwoDomains(4)
      .map(({ id }) => id)
      .sort(),
  };
  const found = JSON.parse(stdout);
  for (const reader of ["pandas", "duckdb", "polars"]) {
    expect({ reader, ...found[reader] }).toMatchObject({ reader, ...expected });
    expect(found[reader].weights).toBeCloseTo(sum(topkWeights), 6);
    expect(found[reader].logits).toBeCloseTo(sum(routerLogits), 6);
  }
  expect(found.pandas.dtypes).toEqual({
    ...{ position: "int32", layer: "int16", token_id: "int32", margin: "float32", computed: "bool" },
  });
  expect(found.duckdb.model).toBe(trace.layout.metadata.model);
}, 120_000);

it("they read the hidden states that `trace` wrote as well", async (context) => {
  if (PYTHON === undefined) {
    context.skip("no Python with pandas, polars, pyarrow and duckdb: set MOESCOPE_PYTHON, or let .ci/run make one");
  }
  const states = join(temporaryFolder(), "states");
  // Two windows, and an expert that does not run where it is chosen.
  const zeroed = '{"kind":"zero","layers":[1],"experts":[0,1,2]}';
  const argv = ["trace", seededModel(), "--prompt", "The cat sat on the mat.", "--level", "hidden", "--window", "5"];
  expect((await runCli([...argv, "--out", states, "--intervene", zeroed])).code).toBe(0);
  const parts = readdirSync(states).filter((name) => name.endsWith(".parquet"));
  const written = RouterTrace.concat(await Promise.all(parts.map((name) => loadTrace(join(states, name)))));
  const hidden = written.hidden!;
  const { status, stdout, stderr } = spawnSync(PYTHON!, [join(import.meta.dirname, "readers.py"), states, "hidden"], {
    encoding: "utf8",
  });
  expect({ status, stderr }).toMatchObject({ status: 0 });
  const sum = (values: Float32Array) => values.reduce((total, value) => total + (Number.isNaN(value) ? 0 : value), 0);
  for (const [reader, found] of Object.entries(JSON.parse(stdout) as Record<string, Record<string, number>>)) {
    expect({ reader, rows: found.rows }).toEqual({ reader, rows: written.numTokens * 4 });
    expect(found.not_run).toBe(hidden.expertNorms.filter(Number.isNaN).length);
    expect(found.router_input).toBeCloseTo(sum(hidden.routerInput), 4);
    expect(found.residual).toBeCloseTo(sum(hidden.residual), 4);
    expect(found.expert_norms).toBeCloseTo(sum(hidden.expertNorms), 4);
  }
}, 120_000);
