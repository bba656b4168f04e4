import { appendFileSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evaluate, type LanguageModel, scriptedModel } from "../../src/index.js";
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
});
