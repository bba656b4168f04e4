import { appendFileSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evaluate, type LanguageModel, Model, on, scriptedModel } from "../../src/index.js";
import type { RouterTrace } from "../../src/router/trace.js";
import { seededModel } from "../cli/seeded.js";
import { expectedRoutes, stored } from "./stored-routes.js";
import { toyTask } from "./toy-task.js";
import { SHARED, tracedModel } from "./traced-model.js";

const toy = toyTask({ size: 8 });

const expected = (isShared: boolean) => expectedRoutes(isShared, 8);
const newFolder = (): string => join(mkdtempSync(join(tmpdir(), "moescope-trace-")), "run");
const options = { trace: "topk", batchSize: 3 } as const;

describe("routes of a run", () => {
  it("are Parquet shards with the keys of the rows they belong to", async () => {
    const out = newFolder();
    const { traces } = await evaluate(tracedModel(false), [toy], { ...options, out });
    expect(readdirSync(join(out, "trace"))).toEqual(["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]);
    expect(await stored(out)).toEqual({ requests: expected(false), prefixes: [] });
    expect(traces).toEqual([]);
  });

  it("hold what requests share once, over all batches", async () => {
    const out = newFolder();
    await evaluate(tracedModel(true), [toy], { ...options, out });
    expect(await stored(out)).toEqual({ requests: expected(true), prefixes: [SHARED] });
  });

  it.each([
    ["between shard and rows", 3],
    ["inside the rows of a batch", 4],
    ["inside the rows of the first batch", 1],
    ["before any row", 0],
  ])("stand there once after a kill %s", async (_when, rows) => {
    for (const isShared of [false, true]) {
      const out = newFolder();
      let calls = 0;
      const model: LanguageModel = {
        ...tracedModel(isShared),
        loglikelihood: async (requests, callOptions) => {
          if (++calls > Math.ceil((rows + 1) / 3)) throw new Error("killed");
          return tracedModel(isShared).loglikelihood(requests, callOptions);
        },
      };
      await expect(evaluate(model, [toy], { ...options, out })).rejects.toThrow("killed");
      const file = join(out, "samples.jsonl");
      const lines = readFileSync(file, "utf8").split("\n");
      writeFileSync(
        file,
        `${lines
          .slice(0, rows)
          .map((line) => `${line}\n`)
          .join("")}${lines[rows]!.slice(0, 40)}`,
      );
      await evaluate(tracedModel(isShared), [toy], { ...options, out, resume: true });
      expect(await stored(out)).toEqual({ requests: expected(isShared), prefixes: isShared ? [SHARED] : [] });
    }
  });

  it.each(["gone", "torn"])("know their prefixes when the list of them is %s", async (state) => {
    const out = newFolder();
    let calls = 0;
    const model: LanguageModel = {
      ...tracedModel(true),
      loglikelihood: async (requests, callOptions) => {
        if (++calls > 1) throw new Error("killed");
        return tracedModel(true).loglikelihood(requests, callOptions);
      },
    };
    await expect(evaluate(model, [toy], { ...options, out })).rejects.toThrow("killed");
    const list = join(out, "trace", "_prefixes.txt");
    const name = readFileSync(list, "utf8");
    writeFileSync(list, "");
    if (state === "torn") appendFileSync(list, name.slice(0, 9));
    await evaluate(tracedModel(true), [toy], { ...options, out, resume: true });
    expect((await stored(out)).prefixes).toEqual([SHARED]);
    expect(readFileSync(list, "utf8")).toBe(name);
  });

  it("must be router traces", async () => {
    const model = scriptedModel({
      loglikelihood: () => ({ logprob: -1, tokenLogprobs: [-1], tokenIds: [1], isGreedy: true, trace: "routes" }),
    });
    await expect(evaluate(model, [toy], { ...options, out: newFolder() })).rejects.toThrow(
      'Expected a RouterTrace for the model\'s trace, got "routes".',
    );
  });

  it("stop the run at a row that breaks an invariant, and name it", async () => {
    const out = newFolder();
    const honest = tracedModel(false);
    let calls = 0;
    const model: LanguageModel = {
      ...honest,
      loglikelihood: async (requests, callOptions) => {
        const results = await honest.loglikelihood(requests, callOptions);
        const { topkExperts } = (results[1]!.trace as RouterTrace).columns;
        if (++calls === 2) topkExperts[3] = topkExperts[2]!;
        return results;
      },
    };
    await expect(evaluate(model, [toy], { ...options, out })).rejects.toMatchObject({
      code: "INVARIANT",
      message: expect.stringMatching(/^Router trace: Row 0 \(position 0\) of layer 3 should have distinct experts/),
    });
    // The batch before it is whole, of this one there is no row and no route.
    expect(readFileSync(join(out, "samples.jsonl"), "utf8").trim().split("\n")).toHaveLength(3);
    expect(readdirSync(join(out, "trace"))).toEqual(["part-00000.parquet"]);
  });

  it("share no beginning where what comes before the rows is not recorded", async () => {
    const out = newFolder();
    const whole = tracedModel(true);
    const model: LanguageModel = {
      ...whole,
      loglikelihood: async (requests, callOptions) => {
        const results = await whole.loglikelihood(requests, callOptions);
        return results.map((result) => ({ ...result, trace: (result.trace as RouterTrace).slice(1) }));
      },
    };
    await evaluate(model, [toy], { ...options, out });
    expect(readdirSync(join(out, "trace")).filter((name) => !name.endsWith(".parquet"))).toEqual([]);
  });

  it("of a run with a callback without a name cannot be gone on with", async () => {
    const out = newFolder();
    const model = await Model.load(seededModel());
    const resumable = model.with(on("moe.output", { layers: [1], id: "same", version: "1" }, (values) => values));
    const unnamed = model.with(on("moe.output", { layers: [1] }, (values) => values));
    for (const variant of [resumable, unnamed]) {
      const folder = `${out}-${variant === unnamed}`;
      await evaluate(variant, [toy], { ...options, out: folder });
      const again = evaluate(variant, [toy], { ...options, out: folder, resume: true });
      if (variant === resumable) expect((await again).tasks[0]!.done).toBe(8);
      else {
        await expect(again).rejects.toMatchObject({
          code: "RUN_CONFLICT",
          message:
            "Expected callbacks with id and version to resume a run, the one at moe.output has none: begin a new run.",
        });
      }
    }
    await model.dispose();
  });
});
