import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evaluate, type LanguageModel, scriptedModel } from "../../src/index.js";
import { loadTrace, TraceShards } from "../../src/router/trace-files.js";
import { promptRun, syntheticTrace } from "../router/synthetic-trace.js";
import { toyTask } from "./toy-task.js";

const toy = toyTask({ size: 8 });

/** Routes whose number of tokens tells which request they belong to. */
function tracedModel(): LanguageModel {
  return scriptedModel({
    loglikelihood: ({ context, continuation }) => {
      const sum = Number(continuation) - Number.parseInt(String(context), 10);
      const trace = syntheticTrace([promptRun(1 + Number.parseInt(String(context), 10) + sum)], { level: "topk" });
      return { logprob: -1 - sum, tokenLogprobs: [-1], tokenIds: [1], isGreedy: false, trace };
    },
  });
}

/** The stored stretches, as "sample/request: tokens", in order of key. */
async function storedTraces(out: string): Promise<string[]> {
  const shards = await TraceShards.open(join(out, "trace"));
  const stored = new Map<string, number>();
  for (const file of await shards.files()) {
    const trace = await loadTrace(file);
    trace.columns.keys.forEach((index) => {
      const { run, task, sampleId, epoch, request, turn } = trace.keys[index]!;
      expect({ run, task, epoch, turn }).toEqual({ run: "run", task: "toy", epoch: 0, turn: 0 });
      const key = `${sampleId}/${request}`;
      stored.set(key, (stored.get(key) ?? 0) + 1);
    });
  }
  return [...stored].map(([key, tokens]) => `${key}: ${tokens}`).sort();
}

const expected = Array.from({ length: 8 }, (_, i) => [`${i}/0: ${i + 1}`, `${i}/1: ${i + 2}`])
  .flat()
  .sort();

describe("routes of a run", () => {
  it("are Parquet shards with the keys of the rows they belong to", async () => {
    const out = join(mkdtempSync(join(tmpdir(), "moescope-trace-")), "run");
    const { traces } = await evaluate(tracedModel(), [toy], { out, trace: "topk", batchSize: 3 });
    expect(readdirSync(join(out, "trace"))).toEqual(["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]);
    expect(await storedTraces(out)).toEqual(expected);
    expect(traces).toEqual([]);
  });

  it.each([
    ["between shard and rows", 3],
    ["inside the rows of a batch", 4],
    ["inside the rows of the first batch", 1],
    ["before any row", 0],
  ])("stand there once after a kill %s", async (_when, rows) => {
    const out = join(mkdtempSync(join(tmpdir(), "moescope-trace-")), "run");
    let calls = 0;
    const model: LanguageModel = {
      ...tracedModel(),
      loglikelihood: async (requests, options) => {
        if (++calls > Math.ceil((rows + 1) / 3)) throw new Error("killed");
        return tracedModel().loglikelihood(requests, options);
      },
    };
    await expect(evaluate(model, [toy], { out, trace: "topk", batchSize: 3 })).rejects.toThrow("killed");
    const file = join(out, "samples.jsonl");
    const lines = readFileSync(file, "utf8").split("\n");
    writeFileSync(
      file,
      lines
        .slice(0, rows)
        .map((line) => `${line}\n`)
        .join("") + lines[rows]!.slice(0, 40),
    );
    await evaluate(tracedModel(), [toy], { out, trace: "topk", batchSize: 3, resume: true });
    expect(await storedTraces(out)).toEqual(expected);
  });

  it("must be router traces", async () => {
    const out = join(mkdtempSync(join(tmpdir(), "moescope-trace-")), "run");
    const model = scriptedModel({
      loglikelihood: () => ({ logprob: -1, tokenLogprobs: [-1], tokenIds: [1], isGreedy: true, trace: "routes" }),
    });
    await expect(evaluate(model, [toy], { out, trace: "topk" })).rejects.toThrow(
      'Expected a RouterTrace for the model\'s trace, got "routes".',
    );
  });
});
