import { appendFileSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evaluate, type LanguageModel, scriptedModel } from "../../src/index.js";
import type { TokenRun } from "../../src/router/trace-columns.js";
import { loadTrace, TraceShards } from "../../src/router/trace-files.js";
import { syntheticTrace } from "../router/synthetic-trace.js";
import { toyTask } from "./toy-task.js";

const SHARED = 40;
const toy = toyTask({ size: 8 });

/** Tokens of request `plus` of sample `i`: 40 that all share (or none), then some that tell which request it is. */
function tokensOf(i: number, plus: number, isShared: boolean): number[] {
  const own = Array.from({ length: 2 + i + plus }, (_, t) => 1000 * (i + 1) + 100 * plus + t);
  return isShared ? [...Array.from({ length: SHARED }, (_, t) => t), ...own] : own;
}

function tracedModel(isShared: boolean): LanguageModel {
  return scriptedModel({
    loglikelihood: ({ context, continuation }) => {
      const i = Number.parseInt(String(context), 10);
      const plus = Number(continuation) - i;
      const tokenIds = Int32Array.from(tokensOf(i, plus, isShared));
      const run: TokenRun = { tokenIds, firstPosition: 0, origin: 0, segment: 1 };
      const trace = syntheticTrace([run], { level: "topk" });
      return { logprob: -1 - plus, tokenLogprobs: [-1], tokenIds: [1], isGreedy: false, trace };
    },
  });
}

/** Every request's tokens put together from the shards, and how often each prefix stands there. */
async function stored(out: string): Promise<{ requests: Record<string, number[]>; prefixes: number[] }> {
  const shards = await TraceShards.open(join(out, "trace"));
  const own = new Map<string, { tokens: number[]; prefixId?: string; first: number }>();
  const prefixes = new Map<string, number[]>();
  for (const file of await shards.files()) {
    const { keys, columns } = await loadTrace(file);
    columns.keys.forEach((index, row) => {
      const { run, task, sampleId, request, prefixId } = keys[index]!;
      expect([run, task]).toEqual(["run", "toy"]);
      const token = columns.tokenIds[row]!;
      if (sampleId === undefined) {
        prefixes.set(prefixId!, [...(prefixes.get(prefixId!) ?? []), token]);
        return;
      }
      const entry = own.get(`${sampleId}/${request}`) ?? { tokens: [], prefixId, first: columns.positions[row]! };
      entry.tokens.push(token);
      own.set(`${sampleId}/${request}`, entry);
    });
  }
  const requests = [...own].map(([key, { tokens, prefixId, first }]) => {
    const prefix = prefixId === undefined ? [] : prefixes.get(prefixId)!;
    expect(first).toBe(prefix.length);
    return [key, [...prefix, ...tokens]] as [string, number[]];
  });
  return { requests: Object.fromEntries(requests), prefixes: [...prefixes.values()].map((tokens) => tokens.length) };
}

const expected = (isShared: boolean): Record<string, number[]> =>
  Object.fromEntries(
    Array.from({ length: 16 }, (_, r) => [`${r >> 1}/${r & 1}`, tokensOf(r >> 1, r & 1, isShared)] as const),
  );
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
