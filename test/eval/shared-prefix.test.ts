import { describe, expect, it } from "vitest";
import { type KeyedTrace, withSharedPrefixes } from "../../src/eval/shared-prefix.js";
import { syntheticTrace } from "../router/synthetic-trace.js";

/** A request of `shared` common tokens and then its own. */
function request(sampleId: string, shared: number, own: number, task = "t"): KeyedTrace {
  const ids = [
    ...Array.from({ length: shared }, (_, t) => t),
    ...Array.from({ length: own }, (_, t) => 1000 * (1 + Number(sampleId)) + t),
  ];
  const run = { tokenIds: Int32Array.from(ids), firstPosition: 0, origin: 0, segment: 1 } as const;
  return { key: { task, sampleId }, trace: syntheticTrace([run], { level: "topk" }) };
}

function shown(traces: readonly KeyedTrace[]): string[] {
  const { prefixes, requests } = withSharedPrefixes(traces, () => false);
  return [...prefixes, ...requests].map(({ key, trace }) => {
    return `${key.sampleId ?? "prefix"}${key.prefixId === undefined ? "" : "*"} ${trace.numTokens}`;
  });
}

describe("withSharedPrefixes", () => {
  it("takes out what neighbours begin with alike", () => {
    expect(shown([request("0", 40, 3), request("1", 40, 5), request("2", 40, 9)])).toEqual([
      "prefix* 40",
      "0* 3",
      "1* 5",
      "2* 9",
    ]);
  });

  it("leaves every request its last token", () => {
    expect(shown([request("0", 40, 0), request("1", 40, 0)])).toEqual(["prefix* 39", "0* 1", "1* 1"]);
    expect(shown([request("0", 40, 10), request("1", 40, 0)])).toEqual(["prefix* 39", "0* 11", "1* 1"]);
  });

  it("leaves alone what is short, less than half, or of another task", () => {
    expect(shown([request("0", 31, 3), request("1", 31, 3)])).toEqual(["0 34", "1 34"]);
    expect(shown([request("0", 40, 41), request("1", 40, 50)])).toEqual(["0 81", "1 90"]);
    expect(shown([request("0", 40, 3), request("1", 40, 3, "u")])).toEqual(["0 43", "1 43"]);
  });

  it("stores a prefix once, and not at all where it is stored already", () => {
    const traces = [
      request("0", 40, 3),
      request("1", 40, 3),
      request("2", 0, 50),
      request("3", 40, 3),
      request("4", 40, 3),
    ];
    expect(shown(traces)).toEqual(["prefix* 40", "0* 3", "1* 3", "2 50", "3* 3", "4* 3"]);
    const { prefixes } = withSharedPrefixes(traces, ({ task, prefixId }) => task === "t" && prefixId !== undefined);
    expect(prefixes).toEqual([]);
  });
});
