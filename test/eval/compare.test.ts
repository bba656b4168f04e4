import { describe, expect, it } from "vitest";
import { compare, comparisonTable, evaluate, runTable, type Task } from "../../src/index.js";
import { toyModel, toyTask } from "./toy-task.js";

describe("compare", () => {
  it("pairs the items of two runs", async () => {
    const a = await evaluate(toyModel(3), [toyTask()]);
    const b = await evaluate(toyModel(4), [toyTask()]);
    const [comparison] = compare(a, b);
    // Sums 1 to 40. Wrong in a: 13 multiples of 3; in b: 10 of 4; in both: 3 of 12.
    expect(comparison).toMatchObject({
      task: "toy",
      track: "ref",
      scorer: "acc",
      n: 40,
      unmatched: 0,
      differentPrompts: 0,
      a: 27 / 40,
      b: 30 / 40,
      discordant: { onlyA: 7, onlyB: 10 },
    });
    expect(comparison!.difference).toBeCloseTo(3 / 40, 15);
    // The 17 discordant differences are ±1, the others 0; mean 3/40.
    const variance = (17 - 40 * (3 / 40) ** 2) / 39;
    expect(comparison!.stderr).toBeCloseTo(Math.sqrt(variance / 40), 14);
    expect(comparison!.interval[0]).toBeCloseTo(3 / 40 - 1.959963984540054 * Math.sqrt(variance / 40), 12);
    // 2 sum(C(17, i), i <= 7) / 2^17
    expect(comparison!.discordant!.p).toBeCloseTo(0.629058837890625, 12);
  });

  it("counts items that are in one run only, and items put in other words", async () => {
    const a = await evaluate(toyModel(), [toyTask({ size: 30 })]);
    const b = await evaluate(toyModel(), [reworded(toyTask({ size: 40 }))]);
    expect(compare(a, b)[0]).toMatchObject({ n: 30, unmatched: 10, differentPrompts: 30, difference: 0 });
  });

  it("refuses two versions of a task, and runs without a common one", async () => {
    const a = await evaluate(toyModel(), [toyTask()]);
    const b = await evaluate(toyModel(), [toyTask({ version: "2" })]);
    expect(() => compare(a, b)).toThrow(
      "Expected one version of toy in both runs, got 1 and 2: such numbers are not comparable.",
    );
    const c = await evaluate(toyModel(), [{ ...toyTask(), name: "other" }]);
    expect(() => compare(a, c)).toThrow("Expected two runs with a task in common, got toy and other.");
  });
});

describe("the tables", () => {
  it("print value, error, interval, n and what to know before quoting", async () => {
    const run = await evaluate(toyModel(), [{ ...toyTask({ kind: "generate" }), settings: { shots: 0, limit: null } }]);
    expect(runTable(run).split("\n").slice(0, 3)).toEqual([
      "task  track  metric  value  ±SE  95 % interval   n  no answer",
      "toy   ref    acc      67.5  7.6   52.0 to 79.9  40         13",
      "toy: shots 0, limit none",
    ]);
    expect(runTable(run, { leaves: true })).toMatch(/^ {2}fives +acc +62\.5 /m);
    expect(runTable(run)).toContain(`digest ${run.digest}`);
  });

  it("say that a selection is not the benchmark", async () => {
    const task = toyTask();
    const loaded = await task.load();
    const part: Task<number> = {
      ...task,
      load: async () => ({
        ...loaded,
        samples: loaded.samples.slice(0, 4),
        dataset: { ...loaded.dataset, officialRows: 50 },
      }),
    };
    const table = runTable(await evaluate(toyModel(), [part]));
    expect(table).toContain("toy: 4 of the 40 samples were selected");
    expect(table).toContain("toy: the data has 40 rows, the official benchmark 50");
  });

  it("print a comparison with its discordant items", async () => {
    const comparisons = compare(await evaluate(toyModel(3), [toyTask()]), await evaluate(toyModel(4), [toyTask()]));
    expect(comparisonTable(comparisons).split("\n")).toEqual([
      "task  track  scorer     A     B  B - A   ±SE  95 % interval  only A  only B  McNemar p   n",
      "toy   ref    acc     67.5  75.0    7.5  10.4  -12.8 to 27.8       7      10       0.63  40",
    ]);
  });
});

function reworded(task: Task<number>): Task<number> {
  return {
    ...task,
    load: async () => {
      const loaded = await task.load();
      return {
        ...loaded,
        requests: (sample) =>
          loaded.requests(sample).map((request) => ({ ...request, stop: ["\n", "."], context: `${sample.doc} plus` })),
      };
    },
  };
}
