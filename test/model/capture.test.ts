/** Captures of some layers, parts of the text and origins: the rows of a full capture, and no others, whatever the company. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Capture, type CaptureOptions, Model, on, topK } from "../../src/index.js";
import { RouterTrace } from "../../src/router/trace.js";
import { seededModel } from "../cli/seeded.js";

const IDS = Int32Array.from({ length: 300 }, (_, i) => (i * 37 + 11) % 250);
const GREEDY = { temperature: 0, maxTokens: 6, stop: [] } as const;

let model: Model;
beforeAll(async () => {
  model = await Model.load(seededModel(), { threads: 2 });
});
afterAll(() => model.dispose());

/** The tokens of a full trace that a filter keeps, found by its columns. */
function filtered(trace: RouterTrace, { layers, segments, origin }: Omit<CaptureOptions, "level">): RouterTrace {
  const { columns, layout } = trace;
  const kept = Array.from(columns.positions.keys()).filter((token) => {
    if (origin !== undefined && columns.origins[token] !== ["prompt", "generated"].indexOf(origin)) return false;
    return segments === undefined || segments.includes(layout.segments[columns.segments[token]!]!);
  });
  const rows = kept.map((token) => trace.slice(token, token + 1));
  const picked = rows.length === 0 ? trace.slice(0, 0) : RouterTrace.concat(rows);
  return layers === undefined ? picked : picked.selectLayers(layers);
}

/** All but which rows ran for whom. */
function rowsOf({ columns, hidden, layers }: RouterTrace): object {
  return { layers, hidden, columns: { ...columns, computed: undefined, keys: undefined } };
}

const FILTERS: Omit<CaptureOptions, "level">[] = [
  { layers: [2] },
  { layers: [3, 0] },
  { segments: ["question"] },
  { segments: ["generated", "choice"] },
  { origin: "prompt" },
  { origin: "generated" },
  { layers: [1], segments: ["question", "generated"], origin: "generated" },
  { segments: ["prefix"] },
];

describe("a capture", () => {
  it.each(FILTERS)("of %j has those rows of the full one, in generation and scoring", async (filter) => {
    for (const level of ["topk", "logits", "hidden"] as const) {
      const ask = async (trace: Capture) => {
        const { trace: generated } = await model.generate(IDS, { ...GREEDY, trace });
        const requests = [
          { contextIds: IDS.subarray(0, 60), continuationIds: IDS.subarray(60, 64) },
          { contextIds: IDS.subarray(0, 60), continuationIds: IDS.subarray(70, 71) },
        ];
        const scores = await model.loglikelihood(requests, { trace });
        return [generated!, ...scores.map((score) => score.trace!)];
      };
      const full = await ask(level);
      const part = await ask({ level, ...filter });
      for (const [index, trace] of full.entries()) {
        expect(rowsOf(part[index]!)).toEqual(rowsOf(filtered(trace, filter)));
      }
    }
  });

  it("gives every request of one batch what it asked for", async () => {
    const wide = model.with(topK({ layers: [1], k: 5 }));
    const asked: [Model, Capture][] = [
      [model, "counts"],
      [model, { level: "topk", layers: [3] }],
      [wide, "logits"],
      [model, { level: "hidden", layers: [0, 2], origin: "generated" }],
      [model, "topk"],
    ];
    const ask = ([variant, trace]: [Model, Capture]) => variant.generate(IDS.subarray(40, 90), { ...GREEDY, trace });
    const alone = [];
    for (const each of asked) alone.push(await ask(each));
    const together = await Promise.all(asked.map(ask));
    for (const [index, { text, trace }] of together.entries()) {
      expect(text).toBe(alone[index]!.text);
      expect(trace?.topK).toBe(alone[index]!.trace?.topK);
      if (trace !== undefined) expect(rowsOf(trace)).toEqual(rowsOf(alone[index]!.trace!));
    }
    expect(together[0]!.trace).toBeUndefined();
  });

  it("is a prefix hit only where the rows, layers and level that it wants are stored", async () => {
    const fresh = await Model.load(seededModel(), { threads: 2 });
    const computedOf = async (trace: Capture, tail: number) => {
      const before = (await fresh.expertLoad()).counts.reduce((sum, count) => sum + count, 0);
      const result = await fresh.generate([...IDS.subarray(0, 80), tail], { ...GREEDY, maxTokens: 1, trace });
      const after = (await fresh.expertLoad()).counts.reduce((sum, count) => sum + count, 0);
      const rows = (after - before) / (4 * 2);
      const stored = result.trace === undefined ? 0 : result.trace.columns.computed.filter((flag) => flag === 0).length;
      return { rows, stored };
    };
    expect(await computedOf({ level: "topk", layers: [1, 2] }, 1)).toEqual({ rows: 81, stored: 0 });
    expect(await computedOf({ level: "topk", layers: [2] }, 2)).toEqual({ rows: 1, stored: 80 });
    expect(await computedOf({ level: "topk", layers: [3] }, 3)).toEqual({ rows: 81, stored: 0 });
    expect(await computedOf("counts", 4)).toEqual({ rows: 1, stored: 0 });
    // Nothing of the prompt is wanted, so keys and values are all that has to be there.
    expect(await computedOf({ level: "logits", origin: "generated" }, 5)).toEqual({ rows: 1, stored: 0 });
    expect(await computedOf("logits", 6)).toEqual({ rows: 81, stored: 0 });
    expect(await computedOf("topk", 7)).toEqual({ rows: 1, stored: 80 });
    await fresh.dispose();
  });

  it("copies rows out of a full block, and they stay what they were", async () => {
    const long = await model.forward(IDS, { logits: "none", trace: "logits" });
    const held = long.trace!.columns.routerLogits.slice();
    for (let i = 0; i < 8; i++) await model.generate(IDS.subarray(i, 250 + i), { ...GREEDY, trace: "logits" });
    expect(long.trace!.columns.routerLogits).toEqual(held);
  });

  it.each<[unknown, string]>([
    [{ level: "topk", layers: [4] }, "Expected MoE layers from 0 to 3 for trace.layers, got 4."],
    [{ level: "hidden", layers: [-1] }, "Expected layers from 0 to 3 for trace.layers, got -1."],
    [{ level: "topk", layers: [] }, "Expected at least one layer for trace.layers"],
    [{ level: "topk", segments: ["answer"] }, "Expected one of prefix, question, choice, generated for trace.segments"],
    [{ level: "topk", origin: "answer" }, "Expected one of prompt, generated for trace.origin"],
    [{ level: "all" }, "Expected counts, topk, logits, hidden for trace.level"],
    [{ level: "counts", layers: [1] }, "Expected no layers for a trace at level counts, which records no rows."],
    [{ level: "topk", layer: 1 }, "Expected the fields level, layers, segments, origin in trace, got layer."],
  ])("of %j is refused", async (trace, message) => {
    const call = () => model.forward(IDS, { trace: trace as Capture });
    await expect(call()).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining(message) });
    await expect(model.loglikelihood([], { trace: trace as Capture })).rejects.toThrow(message);
    await expect(model.generate("a", { trace: trace as Capture })).rejects.toThrow(message);
  });
});

describe("a pass whose routes are taken piece by piece", () => {
  it("gives the rows of the whole, and waits for whoever takes them", async () => {
    const whole = await model.forward(IDS, { logits: "all", trace: "logits" });
    const pieces: RouterTrace[] = [];
    let waiting = 0;
    const result = await model.forward(IDS, {
      logits: "all",
      trace: "logits",
      onTrace: async (piece) => {
        expect(++waiting).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 5));
        pieces.push(piece);
        waiting--;
      },
    });
    expect(pieces.length).toBeGreaterThan(1);
    expect(result.trace).toBeUndefined();
    expect(result.logits).toEqual(whole.logits);
    expect(rowsOf(RouterTrace.concat(pieces))).toEqual(rowsOf(whole.trace!));
  });

  it("ends with what the taker throws", async () => {
    const call = model.forward(IDS, {
      trace: "topk",
      onTrace: () => {
        throw new Error("no room");
      },
    });
    await expect(call).rejects.toThrow("no room");
    expect((await model.parts.engine.usage()).active).toBe(0);
  });

  it("stops at a row that breaks an invariant, and names it", async () => {
    const make = RouterTrace.fromStep.bind(RouterTrace);
    const spy = vi.spyOn(RouterTrace, "fromStep").mockImplementation((step, runs, options) => {
      const trace = make(step, runs, options);
      if (runs[0]!.firstPosition > 0) trace.columns.topkExperts[5 * 4 * 2 + 2]! ^= 1;
      return trace;
    });
    let rows = 0;
    const call = model.forward(IDS, {
      trace: "logits",
      onTrace: (piece) => {
        rows += piece.numTokens;
      },
    });
    await expect(call).rejects.toMatchObject({
      code: "INVARIANT",
      message: expect.stringMatching(/^Router trace: Row 5 \(position 261\) of layer 1 should have experts/),
    });
    spy.mockRestore();
    expect(rows).toBe(256);
  });
});

describe("callbacks that mark rows", () => {
  it("mark those that are recorded and no others", async () => {
    const marked = model.with(on("moe.output", { layers: [2], positions: [10, 20] }, (values) => values));
    const { trace } = await marked.forward(IDS.subarray(0, 30), { trace: { level: "topk", layers: [2, 3] } });
    const expected = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 && i >= 20 && i < 40 ? 1 : 0));
    expect(Array.from(trace!.columns.intervened)).toEqual(expected);
  });
});
