import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readCounts } from "../../src/eval/load-counts.js";
import { readReportData } from "../../src/eval/report/report-data.js";
import { ExpertLoad, evaluate, type LanguageModel } from "../../src/index.js";
import { toyModel, toyTask } from "./toy-task.js";

const folder = mkdtempSync(join(tmpdir(), "load-counts-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A model that counts one assignment of expert 2 in layer 4 for every request, after 1000 that came before the run. */
function countingModel(): LanguageModel {
  const counts = Float64Array.of(0, 0, 1000);
  const model = toyModel();
  return {
    ...model,
    loglikelihood: async (requests, options) => {
      counts[2]! += requests.length;
      return await model.loglikelihood(requests, options);
    },
    expertLoad: async () => new ExpertLoad(counts.slice(), [4], 3),
  };
}

describe("expert counts of a run", () => {
  it("are those of the run, by task, also when it was resumed", async () => {
    const out = join(folder, "run");
    const stop = new AbortController();
    const first = evaluate(countingModel(), [toyTask()], {
      ...{ out, trace: "counts", batchSize: 4, signal: stop.signal },
      onProgress: ({ done }) => done >= 20 && stop.abort(),
    });
    await expect(first).rejects.toMatchObject({ code: "ABORTED" });
    const half = (await readCounts(join(out, "trace", "counts.json")))!.get("toy")!;
    expect(half.counts[2]).toBe(2 * 20);
    await evaluate(countingModel(), [toyTask()], { out, trace: "counts", batchSize: 4, resume: true });
    const whole = (await readCounts(join(out, "trace", "counts.json")))!.get("toy")!;
    expect([...whole.counts]).toEqual([0, 0, 2 * 40]);
    const { experts } = await readReportData(out);
    expect(experts).toMatchObject({
      ...{ layers: [4], numExperts: 3, contrasts: [] },
      loads: [{ task: "toy", group: null, tokens: null, counts: [0, 0, 80] }],
    });
  });

  it("are not there at other levels, without a folder, or where a model does not count", async () => {
    const out = join(folder, "plain");
    await evaluate(toyModel(), [toyTask()], { out, trace: "counts" });
    expect(await readCounts(join(out, "trace", "counts.json"))).toBeUndefined();
    expect((await readReportData(out)).experts).toBeUndefined();
  });

  it("are refused where the file is another one", async () => {
    const file = join(folder, "counts.json");
    for (const text of ["{", "{}", '{"layers":[0],"numExperts":2,"tasks":{"a":[1]}}']) {
      writeFileSync(file, text);
      await expect(readCounts(file)).rejects.toMatchObject({ code: "BAD_FILE" });
    }
    expect(readFileSync(file, "utf8")).toContain("tasks");
  });
});
