/** Tables of any origin as traces. */

import { type Table, tableFromArrays, tableFromIPC, tableToIPC } from "apache-arrow";
import { describe, expect, it } from "vitest";
import { traceOfTable } from "../../src/analysis/table.js";
import { RouterTrace } from "../../src/router/trace.js";
import { promptRun, randomNumbers, syntheticTrace } from "../router/synthetic-trace.js";

const trace = RouterTrace.concat([
  syntheticTrace([promptRun(4, 0, { key: { task: "t", sampleId: "a", epoch: 0 } })], { seed: 4 }),
  syntheticTrace([promptRun(3, 7, { key: { task: "t", sampleId: "b", epoch: 0 }, origin: 1, segment: 3 })], {
    seed: 5,
  }),
]);

/** The rows of a table in a random order, of lists that may be of any length. */
function shuffledRows(table: Table, without: readonly string[] = []): Record<string, unknown[]> {
  const random = randomNumbers(3);
  const order = Array.from({ length: table.numRows }, (_, row) => [random(), row] as const).sort(([a], [b]) => a - b);
  const names = table.schema.names.map(String).filter((name) => !without.includes(name));
  return Object.fromEntries(
    names.map((name) => {
      const vector = table.getChild(name)!;
      return [
        name,
        order.map(([, row]) => {
          const value = vector.get(row);
          return typeof value === "object" && value !== null ? Array.from(value as ArrayLike<number>) : value;
        }),
      ];
    }),
  );
}

const tableOf = (rows: Record<string, unknown[]>): Table =>
  tableFromIPC(tableToIPC(tableFromArrays(rows as never) as unknown as Table));

describe("a table in any order", () => {
  it("is the trace that it came from", () => {
    const read = traceOfTable(
      tableOf(shuffledRows(trace.toArrow(), ["run", "request", "turn", "prefix_id", "shared_gate"])),
    );
    const sorted = (of: RouterTrace) => {
      const { tokenIds, positions, origins, topkExperts, topkWeights, margin, routerLogits } = of.columns;
      const width = topkExperts.length / of.numTokens;
      const names = Array.from(of.columns.segments, (label) => of.layout.segments[label]);
      return Array.from({ length: of.numTokens }, (_, token) => {
        const cut = (values: Uint16Array | Float32Array) => {
          const size = (values.length / trace.numTokens) | 0;
          return Array.from(values.subarray(token * size, (token + 1) * size));
        };
        expect(width).toBe(4);
        return [
          of.keys[of.columns.keys[token]!]!.sampleId,
          positions[token],
          [
            tokenIds[token],
            origins[token],
            names[token],
            cut(topkExperts),
            cut(topkWeights),
            cut(margin),
            cut(routerLogits),
          ],
        ] as const;
      }).sort(([a, x], [b, y]) => (a === b ? x! - y! : a! < b! ? -1 : 1));
    };
    expect(sorted(read)).toEqual(sorted(trace));
    expect(read.layout).toMatchObject({ level: "logits", topK: 2, layers: [1, 3], metadata: { numExperts: 6 } });
  });

  it("needs neither weights, ids nor segments", () => {
    const keep = ["sample_id", "position", "layer", "topk_experts"];
    const dropped = trace
      .toArrow()
      .schema.names.map(String)
      .filter((name) => !keep.includes(name));
    const read = traceOfTable(tableOf(shuffledRows(trace.toArrow(), dropped)), { numExperts: 6 });
    expect(read.layout.level).toBe("topk");
    expect(read.columns.topkWeights.every(Number.isNaN)).toBe(true);
    expect(read.columns.tokenIds.every((id) => id === -1)).toBe(true);
    expect(read.expertLoad().counts).toEqual(trace.expertLoad().counts);
  });
});

describe("wrong tables", () => {
  const good = {
    sample_id: ["a", "a", "a", "a"],
    position: [0, 0, 1, 1],
    layer: [0, 1, 0, 1],
    topk_experts: [
      [0, 1],
      [1, 2],
      [2, 0],
      [0, 2],
    ],
  };
  it("are good before they are broken", () => {
    expect(traceOfTable(tableOf(good), { numExperts: 3 }).numTokens).toBe(2);
  });

  it.each<[string, Partial<Record<keyof typeof good, unknown[] | undefined>>, object, string, string]>([
    [
      "a column is missing",
      { layer: undefined },
      {},
      "BAD_FILE",
      "Expected a table of routes with a column layer, got columns sample_id, position, topk_experts.",
    ],
    [
      "a token lacks a layer",
      { layer: [0, 1, 0, 0] },
      {},
      "BAD_FILE",
      "Expected a table of routes with one row of each layer 0, 1 for every token, got none or several of layer 1 at position 1.",
    ],
    [
      "rows have unequal k",
      { topk_experts: [[0, 1], [1], [2, 0], [0, 2]] },
      {},
      "BAD_FILE",
      "Expected a table of routes with 2 values in every list of topk_experts, got 1 in row 1.",
    ],
    [
      "an expert is unknown",
      {
        topk_experts: [
          [0, 1],
          [1, 5],
          [2, 0],
          [0, 2],
        ],
      },
      {},
      "BAD_FILE",
      "Expected a table of routes with experts below 3, got expert 5.",
    ],
    [
      "nothing tells the number of experts",
      {},
      { numExperts: undefined },
      "INVALID_ARGUMENT",
      "Expected numExperts for a table without router_logits, got none.",
    ],
  ])("%s", (_what, change, options, code, message) => {
    const rows = Object.entries({ ...good, ...change }).filter(([, values]) => values !== undefined);
    const read = () => traceOfTable(tableOf(Object.fromEntries(rows) as never), { numExperts: 3, ...options });
    expect(read).toThrow(expect.objectContaining({ code, message }));
  });
});
