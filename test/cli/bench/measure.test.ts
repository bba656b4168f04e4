/** Works in pairs, with contenders that answer what a test says; fractions of ceilings worked out by hand. */
import { describe, expect, it } from "vitest";
import type { MeasuredCeiling } from "../../../src/cli/bench/ceilings.js";
import type { Contender } from "../../../src/cli/bench/contender.js";
import type { Demand } from "../../../src/cli/bench/demand.js";
import { measureWorks } from "../../../src/cli/bench/measure.js";
import { allWorks } from "../../../src/cli/bench/works.js";

const CEILINGS: MeasuredCeiling[] = [
  { kind: "read", instructions: "memory", oneThread: 5e9, allThreads: 10e9 },
  { kind: "int8", instructions: "avx2", oneThread: 1e9, allThreads: 2e9 },
  { kind: "int8", instructions: "amx", oneThread: 20e9, allThreads: 40e9 },
];
const DEMAND: Demand = { prefillMacs: 1e8, decodeBytes: (sequences) => 4e8 / sequences, factors: "int8" };

/** Answers the same value for every figure, another one each time. */
function scripted(name: string, log: string[], values: (number | undefined)[]): Contender {
  let next = 0;
  return {
    name,
    description: {},
    close: async () => {},
    measure: async (work) => {
      log.push(`${name} ${work.name}`);
      const value = values[next++ % values.length];
      return value === undefined ? undefined : work.figures.map(() => value);
    },
  };
}

describe("measuring", () => {
  const works = allWorks(false);
  const work = (name: string) => works.filter((candidate) => candidate.name === name);
  const options = { demand: DEMAND, ceilings: CEILINGS, signal: new AbortController().signal, onProgress: () => {} };

  it("alternates who goes first, after our warm-up", async () => {
    const log: string[] = [];
    const ours = scripted("ours", log, [1]);
    await measureWorks({ ...options, works: work("prefill 64"), pairs: 3, ours, peer: scripted("peer", log, [1]) });
    expect(log.map((line) => line.split(" ")[0])).toEqual(["ours", "ours", "peer", "peer", "ours", "ours", "peer"]);
  });

  it("gives medians, paired ratios and fractions of the ceiling that bounds a work", async () => {
    const ours = scripted("ours", [], [1, 10, 20, 30]);
    const peer = scripted("peer", [], [20, 10, 15]);
    const [decode] = await measureWorks({ ...options, works: work("decode 4"), pairs: 3, ours, peer });
    expect(decode).toMatchObject({ unit: "tokens/s", ours: { median: 20, min: 10, max: 30 }, peer: { median: 15 } });
    expect(decode!.ratio!.values).toEqual([0.5, 2, 2]);
    // 20 tokens/s of 0.1 GB each, of 10 GB/s.
    expect(decode!.ceiling).toMatchObject({ kind: "read", perSecond: 10e9, ours: 0.2 });
    expect(decode!.ceiling!.peer).toBeCloseTo(0.15, 12);
  });

  it("counts seconds as tokens where they bound a work", async () => {
    const [score] = await measureWorks({
      ...options,
      works: work("score 1 question, prefix known"),
      pairs: 1,
      ours: scripted("ours", [], [0.5]),
      peer: scripted("peer", [], [1]),
    });
    // Half the time is twice as good; 117 tokens of 10^8 products in 0.5 s, of 40 * 10^9 per second.
    expect(score!.ratio!.median).toBe(2);
    expect(score!.ceiling!.ours).toBeCloseTo((117 * 1e8) / 0.5 / 40e9, 12);
  });

  it("leaves out what a peer does not do", async () => {
    const peer = scripted("peer", [], [undefined]);
    const [result] = await measureWorks({
      ...options,
      works: work("decode 16"),
      pairs: 2,
      ours: scripted("ours", [], [3]),
      peer,
    });
    expect(result).toMatchObject({ ours: { median: 3 }, peer: null, ratio: null });
    const [alone] = await measureWorks({
      ...options,
      works: work("decode 1"),
      pairs: 2,
      ours: scripted("ours", [], [3]),
      peer: null,
    });
    expect(alone).toMatchObject({ ours: { values: [3, 3] }, peer: null, ceiling: { peer: null } });
  });

  it("ends when it is told to", async () => {
    const ours = scripted("ours", [], [1]);
    const stopped = { ...options, signal: AbortSignal.abort(), works, pairs: 1, ours, peer: null };
    await expect(measureWorks(stopped)).rejects.toMatchObject({ code: "ABORTED" });
  });
});
