import type { FixedSizeList } from "apache-arrow";
import { describe, expect, it } from "vitest";
import { MoescopeError } from "../../src/errors.js";
import { RouterTrace } from "../../src/router/trace.js";
import { METADATA, promptRun, syntheticStep, syntheticTrace } from "./synthetic-trace.js";

const KEY = { run: "r1", task: "mmlu", sampleId: "s7", epoch: 0, request: 2, turn: 1 };

describe("the trace of a step", () => {
  const runs = [promptRun(3, 0, { key: KEY }), promptRun(1, 9, { origin: 1, segment: 3 })];
  const step = syntheticStep(runs, { level: "logits" });
  const trace = RouterTrace.fromStep(step, runs, { metadata: METADATA, level: "logits" });
  const table = trace.toArrow();

  it("keeps native arrays as they are, down to the table", () => {
    const listValues = (name: string) => table.getChild(name)!.data[0]!.children[0]!.values;
    expect(listValues("topk_experts").buffer).toBe(step.topkExperts.buffer);
    expect(listValues("topk_weights").buffer).toBe(step.topkWeights.buffer);
    expect(listValues("router_logits").buffer).toBe(step.routerLogits.buffer);
    expect(table.getChild("margin")!.data[0]!.values.buffer).toBe(step.margin.buffer);
    expect(table.getChild("shared_gate")!.data[0]!.values.buffer).toBe(step.sharedGate.buffer);
  });

  it("has one row per token and MoE layer, with the key of its run", () => {
    expect(table.numRows).toBe(8);
    expect(table.get(3)!.toJSON()).toMatchObject({
      ...{ run: "r1", task: "mmlu", sample_id: "s7", epoch: 0, request: 2, turn: 1, prefix_id: null },
      ...{ position: 1, layer: 3, token_id: 101, origin: "prompt", segment: "question", computed: true },
      ...{ margin: step.margin[3], shared_gate: step.sharedGate[3], intervened: false },
    });
    expect(table.get(6)!.toJSON()).toMatchObject({ run: null, epoch: null, sample_id: null, turn: null });
    expect(table.get(6)!.toJSON()).toMatchObject({ position: 9, layer: 1, origin: "generated", segment: "generated" });
    expect([...table.get(6)!.topk_experts]).toEqual([...step.topkExperts.subarray(12, 14)]);
    expect([...table.get(7)!.router_logits]).toEqual([...step.routerLogits.subarray(42, 48)]);
  });

  it("has the columns of the contract, in types and order", () => {
    const types = Object.fromEntries(table.schema.fields.map((field) => [field.name, String(field.type)]));
    expect(types).toEqual({
      ...{ run: "Dictionary<Int32, Utf8>", task: "Dictionary<Int32, Utf8>", sample_id: "Dictionary<Int32, Utf8>" },
      ...{ epoch: "Int32", request: "Int32", turn: "Int32", prefix_id: "Dictionary<Int32, Utf8>" },
      ...{ position: "Int32", layer: "Int16", token_id: "Int32", computed: "Bool" },
      ...{ origin: "Dictionary<Int32, Utf8>", segment: "Dictionary<Int32, Utf8>" },
      ...{ topk_experts: "FixedSizeList[2]<Uint16>", topk_weights: "FixedSizeList[2]<Float32>" },
      ...{ shared_gate: "Float32", margin: "Float32", intervened: "Bool" },
      router_logits: "FixedSizeList[6]<Float32>",
    });
    expect(table.schema.metadata.get("moescope.schema_version")).toBe("1");
    expect(table.schema.metadata.get("moescope.num_experts")).toBe("6");
    expect(table.schema.metadata.get("moescope.norm_topk_prob")).toBe("false");
    expect(table.schema.metadata.get("moescope.model")).toBe("synthetic");
  });

  it("comes back from its table equal", () => {
    expect(RouterTrace.fromArrow(table)).toEqual(trace);
    expect(RouterTrace.fromIPC(trace.toIPC())).toEqual(trace);
  });

  it("refuses runs and arrays that do not fit the step", () => {
    const make = (override: object, count = 3) =>
      RouterTrace.fromStep({ ...step, ...override }, [promptRun(count), runs[1]!], {
        metadata: METADATA,
        level: "logits",
      });
    expect(() => make({}, 2)).toThrow("Expected runs of 4 tokens in all for runs, got 3 (number).");
    expect(() => make({ margin: new Float32Array(7) })).toThrow("Expected 4 tokens x 2 values for margin, got 7");
    expect(() => make({ numMoeLayers: 3 })).toThrow("Expected 2 MoE layers for step");
  });
});

describe("levels", () => {
  it("leaves out what was not recorded", () => {
    const topk = syntheticTrace([promptRun(2)], { level: "topk" });
    expect(topk.toArrow().getChild("router_logits")).toBeNull();
    expect(RouterTrace.fromArrow(topk.toArrow())).toEqual(topk);
    const mixtral = { ...METADATA, hasSharedExpert: false, normTopkProb: true };
    const table = syntheticTrace([promptRun(2)], { metadata: mixtral }).toArrow();
    expect(table.getChild("shared_gate")!.nullCount).toBe(4);
    expect(RouterTrace.fromArrow(table).columns.sharedGate).toHaveLength(0);
  });

  it("goes down and not up", () => {
    const trace = syntheticTrace([promptRun(2)], { level: "hidden" });
    expect(trace.atLevel("topk").columns.routerLogits).toHaveLength(0);
    expect(trace.atLevel("logits").hidden).toBeUndefined();
    expect(() => trace.atLevel("topk").atLevel("logits")).toThrow("stored at level logits or above, got level topk");
  });

  it("hands out hidden states by layer, through slices, joins and choices of layers", () => {
    const trace = syntheticTrace([promptRun(3)], { level: "hidden" });
    const { residual, expertNorms } = trace.hidden!;
    const expected = Float32Array.from(
      [0, 1, 2].flatMap((t) => [...residual.subarray((t * 4 + 2) * 3, (t * 4 + 3) * 3)]),
    );
    expect(trace.hiddenAfter(2)).toEqual(expected);
    const joined = RouterTrace.concat([trace.slice(0, 1), trace.slice(1)]);
    expect(joined).toEqual(trace);
    expect(trace.slice(1, 2).hiddenAfter(2)).toEqual(expected.slice(3, 6));
    expect(trace.slice(1, 2).hidden!.residual.buffer).toBe(residual.buffer);
    expect(() => trace.hiddenAfter(4)).toThrow("one of the recorded layers 0, 1, 2, 3 for layer, got 4");
    const last = trace.selectLayers([3]);
    expect(last.hiddenAfter(3)).toEqual(trace.hiddenAfter(3));
    expect(last.hidden!.expertNorms.subarray(2, 4)).toEqual(expertNorms.subarray(6, 8));
    expect(() => last.hiddenAfter(2)).toThrow("one of the recorded layers 3");
  });

  it("has hidden states in the table, those behind dense layers apart", () => {
    const trace = syntheticTrace([promptRun(3)], { level: "hidden" });
    const table = trace.toArrow();
    const row = table.get(3)!.toJSON();
    expect(row).toMatchObject({ position: 1, layer: 3 });
    const { residual, routerInput, expertNorms, sharedNorm } = trace.hidden!;
    expect(row.residual.toArray()).toEqual(residual.subarray((4 + 3) * 3, (4 + 4) * 3));
    expect(row.router_input.toArray()).toEqual(routerInput.subarray(9, 12));
    expect(row.expert_norms.toArray()).toEqual(expertNorms.subarray(6, 8));
    expect(row.shared_norm).toBe(sharedNorm[3]);
    const back = RouterTrace.fromIPC(trace.toIPC());
    expect(back).toEqual(trace.selectLayers([1, 3]));
    expect(() => new RouterTrace({ ...trace, hidden: { ...trace.hidden!, residual: new Float32Array(9) } })).toThrow(
      "Expected 3 tokens x 12 values for residual, got 9",
    );
    expect(() => new RouterTrace({ ...trace, hidden: undefined })).toThrow("Expected hidden states at level hidden");
  });

  it("gives a dense model an empty table", () => {
    const dense = { ...METADATA, moeLayers: [], numExperts: 0, numExpertsPerToken: 0, hasSharedExpert: false };
    const trace = syntheticTrace([promptRun(2)], { metadata: dense, level: "topk" });
    expect(trace.toArrow().numRows).toBe(0);
    expect(RouterTrace.fromIPC(trace.toIPC()).layers).toEqual([]);
    expect(trace.expertLoad().counts).toHaveLength(0);
  });
});

describe("slices and joins", () => {
  const trace = syntheticTrace([promptRun(5, 0, { key: KEY })]);

  it("slices without copying and joins back to the same", () => {
    const part = trace.slice(1, 3);
    expect(part.columns.topkExperts.buffer).toBe(trace.columns.topkExperts.buffer);
    expect([...part.columns.positions]).toEqual([1, 2]);
    expect(RouterTrace.fromArrow(part.toArrow())).toEqual(RouterTrace.fromIPC(part.toIPC()));
    expect(part.toArrow().get(0)!.toJSON()).toMatchObject({ position: 1, layer: 1 });
    expect(RouterTrace.concat([trace.slice(0, 1), part, trace.slice(3)])).toEqual(trace);
    expect(trace.slice(4, 99).numTokens).toBe(1);
  });

  it("picks layers of every token", () => {
    const last = trace.selectLayers([3]);
    const rows = (t: number) => [...trace.columns.routerLogits.subarray((2 * t + 1) * 6, (2 * t + 2) * 6)];
    expect(last.layers).toEqual([3]);
    expect([...last.columns.routerLogits.subarray(6, 12)]).toEqual(rows(1));
    expect(
      last
        .toArrow()
        .toArray()
        .map((row) => row!.layer),
    ).toEqual([3, 3, 3, 3, 3]);
    expect(RouterTrace.fromArrow(last.toArrow())).toEqual(last);
    expect(trace.selectLayers([3, 1])).toEqual(trace);
    expect(() => trace.selectLayers([2])).toThrow("Expected one of 1, 3 for layer, got 2");
  });

  it("widens slots where a top-k intervention chose more, and merges keys and segment names", () => {
    const wide = syntheticTrace([promptRun(1, 5, { key: KEY })], { changes: [{ kind: "top-k", layers: [1], k: 3 }] });
    const renamed = new RouterTrace({ ...wide, layout: { ...wide.layout, segments: ["answer", "hint"] } });
    const joined = RouterTrace.concat([trace.slice(0, 1), renamed]);
    expect(joined.topK).toBe(3);
    expect(joined.keys).toEqual([KEY]);
    expect([...joined.columns.topkExperts.subarray(0, 3)]).toEqual([
      ...trace.columns.topkExperts.subarray(0, 2),
      65535,
    ]);
    expect([...joined.columns.topkExperts.subarray(6)]).toEqual([...wide.columns.topkExperts]);
    const table = joined.toArrow();
    expect((table.getChild("topk_experts")!.type as FixedSizeList).listSize).toBe(3);
    expect(table.toArray().map((row) => row!.segment)).toEqual(["question", "question", "hint", "hint"]);
  });

  it("joins traces of one model, level and set of layers alone", () => {
    const joinWith = (other: RouterTrace) => () => RouterTrace.concat([trace, other]);
    expect(joinWith(trace.atLevel("topk"))).toThrow("Expected traces of the same levels to join, got logits and topk.");
    expect(joinWith(trace.selectLayers([1]))).toThrow("the same layers to join, got 1, 3 and 1.");
    expect(() => RouterTrace.concat([])).toThrow(MoescopeError);
  });

  it("refuses a table whose rows are in another order", () => {
    const table = syntheticTrace([promptRun(2)]).toArrow();
    expect(() => RouterTrace.fromArrow(table.slice(1))).toThrow("got layer 3 in row 0");
    expect(() => RouterTrace.fromArrow(table.slice(0, 3))).toThrow("got 3 rows");
  });
});

describe("a prefix hit", () => {
  const stored = syntheticTrace([promptRun(3)], { level: "logits" });
  const computed = syntheticTrace([promptRun(2, 3, { key: KEY })], { level: "topk", seed: 5 });
  const whole = RouterTrace.fromParts(stored, computed);

  it("returns the stored routes under the request's key, attributed and not computed", () => {
    expect([...whole.columns.computed]).toEqual([0, 0, 0, 1, 1]);
    expect(whole.keys).toEqual([KEY]);
    expect(whole.columns.topkExperts.subarray(0, 12)).toEqual(stored.columns.topkExperts);
    expect(whole.toArrow().get(0)!.toJSON()).toMatchObject({ sample_id: "s7", computed: false });
    expect(whole.layout.level).toBe("topk");
  });

  it("counts in the attributed load alone", () => {
    const attributed = whole.expertLoad();
    const own = whole.expertLoad("computed");
    expect(attributed.layer(1).reduce((sum, count) => sum + count)).toBe(10);
    expect(own.layer(3).reduce((sum, count) => sum + count)).toBe(4);
    expect(own).toEqual(computed.expertLoad());
    expect(stored.expertLoad().counts.map((count, slot) => count + own.counts[slot]!)).toEqual(attributed.counts);
  });

  it("must have been stored at the level asked for and end where the computed rows start", () => {
    const wanted = syntheticTrace([promptRun(2, 3)], { level: "logits" });
    expect(() => RouterTrace.fromParts(stored.atLevel("topk"), wanted)).toThrow("stored at level logits or above");
    expect(() => RouterTrace.fromParts(stored.slice(0, 2), computed)).toThrow("Expected 2, the end of the prefix,");
    expect(RouterTrace.fromParts(stored, computed.slice(2)).numTokens).toBe(3);
  });
});

describe("expertLoad", () => {
  it("counts by the selected ids and leaves empty slots out", () => {
    const changes = [
      { kind: "force", layers: [1], experts: [4] },
      { kind: "top-k", layers: [1], k: 1 },
    ];
    const load = syntheticTrace([promptRun(10)], { changes }).expertLoad();
    expect([...load.layer(1)]).toEqual([0, 0, 0, 0, 10, 0]);
    expect([...load.fraction().subarray(0, 6)]).toEqual([0, 0, 0, 0, 1, 0]);
    expect(load.utilization()[4]).toBe(6);
    expect(load.loadCv()[0]).toBeCloseTo(Math.sqrt(5), 12);
    expect(load.layer(3).reduce((sum, count) => sum + count)).toBe(20);
    expect(() => load.layer(0)).toThrow("Expected one of the MoE layers 1, 3 for layer, got 0");
  });

  it("has no distribution without tokens", () => {
    const load = syntheticTrace([]).expertLoad();
    expect([...load.counts]).toEqual(new Array(12).fill(0));
    expect(load.fraction().every(Number.isNaN)).toBe(true);
    expect(load.loadCv().every(Number.isNaN)).toBe(true);
  });
});
