import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { RouteRule, StepTrace } from "../../src/native/binding.js";
import { checkCountSums, checkTrace } from "../../src/router/invariants.js";
import { tableFromParquet } from "../../src/router/parquet.js";
import { compileRules } from "../../src/router/route-rules.js";
import { RouterTrace } from "../../src/router/trace.js";
import { floats, ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, missingShared, sharedPath } from "../golden/shared.js";
import type { Change } from "../reference/router.js";
import { METADATA, promptRun, syntheticStep, syntheticTrace } from "./synthetic-trace.js";

const RUNS = [promptRun(6)];

/** The trace of a step after one change to its arrays. */
function broken(change: (step: StepTrace) => void, changes: Change[] = []): RouterTrace {
  const step = syntheticStep(RUNS, { changes });
  change(step);
  return RouterTrace.fromStep(step, RUNS, { metadata: METADATA, level: "logits" });
}

const reverse = (values: Uint16Array | Float32Array, from: number) => values.subarray(from, from + 2).reverse();

describe("checkTrace", () => {
  it("accepts what the oracle routes, ties included", () => {
    const trace = syntheticTrace([promptRun(200)], { ties: true });
    expect(trace.columns.margin.filter((margin) => margin === 0).length).toBeGreaterThan(20);
    const counts = trace.expertLoad().counts;
    expect(checkTrace(trace, { numTokens: 200, rules: [], counts })).toEqual({ rows: 400, recomputedRows: 400 });
    expect(checkTrace(trace.atLevel("topk"))).toEqual({ rows: 400, recomputedRows: 0 });
  });

  it.each<[string, (step: StepTrace) => void, string]>([
    [
      "an id twice in a row",
      (step) => {
        step.topkExperts[7] = step.topkExperts[6]!;
      },
      "Row 1 (position 1) of layer 3 should have distinct experts, it has expert",
    ],
    [
      "an unknown id",
      (step) => {
        step.topkExperts[0] = 6;
      },
      "Row 0 (position 0) of layer 1 should have experts below 6, it has 6.",
    ],
    [
      "a missing expert",
      (step) => {
        step.topkExperts[3] = 65535;
        step.topkWeights[3] = 0;
      },
      "Row 0 (position 0) of layer 3 should have 2 experts, it has 1.",
    ],
    [
      "weight in an empty slot",
      (step) => {
        step.topkExperts[3] = 65535;
      },
      "should have weight 0 in an empty slot",
    ],
    [
      "an empty slot before a used one",
      (step) => {
        step.topkExperts[2] = 65535;
        step.topkWeights[2] = 0;
      },
      "should have empty slots behind the used ones",
    ],
    [
      "a weight that is not a number",
      (step) => {
        step.topkWeights[5] = Number.NaN;
      },
      "it has NaN.",
    ],
    [
      "slots in ascending order",
      (step) => {
        reverse(step.topkExperts, 4);
        reverse(step.topkWeights, 4);
      },
      "Row 1 (position 1) of layer 1 should have experts [",
    ],
    [
      "another expert than the logits say",
      (step) => {
        const chosen = [step.topkExperts[2], step.topkExperts[3]];
        step.topkExperts[3] = [0, 1, 2, 3, 4, 5].find((expert) => !chosen.includes(expert))!;
      },
      "Row 0 (position 0) of layer 3 should have experts [",
    ],
    [
      "a margin one float away",
      (step) => {
        new Int32Array(step.margin.buffer)[3]! += 1;
      },
      "Row 1 (position 1) of layer 3 should have margin",
    ],
    [
      "weights renormalised where the model does not",
      (step) => {
        const sum = step.topkWeights[0]! + step.topkWeights[1]!;
        step.topkWeights[0]! /= sum;
        step.topkWeights[1]! /= sum;
      },
      "Row 0 (position 0) of layer 1 should have weight",
    ],
    [
      "logits that are not numbers",
      (step) => {
        step.routerLogits[8] = Number.NaN;
      },
      "Row 0 (position 0) of layer 3 should have finite router logits, it has NaN of expert 2.",
    ],
    [
      "a mark where nothing acted",
      (step) => {
        step.intervened[2] = 1;
      },
      "Row 1 (position 1) of layer 1 should have a row not marked as intervened",
    ],
  ])("refuses %s", (_, change, message) => {
    const trace = broken(change);
    expect(() => checkTrace(trace, { rules: [] })).toThrow(message);
    expect(() => checkTrace(trace, { rules: [] })).toThrow(expect.objectContaining({ code: "INVARIANT" }));
  });

  it("gives a tie to the lower id alone", () => {
    const trace = broken((step) => {
      step.routerLogits.set([1, 1, 0, 0, 0, 0]);
      step.topkExperts.set([1, 0]);
      step.margin[0] = 1;
      step.topkWeights.fill(Math.E / (2 * Math.E + 4), 0, 2);
    });
    expect(() => checkTrace(trace)).toThrow("should have experts [0, 1], it has [1, 0].");
  });

  it("compares tokens and the device's counts", () => {
    const trace = syntheticTrace(RUNS);
    expect(() => checkTrace(trace, { numTokens: 7 })).toThrow("should have 7 tokens, it has 6");
    const counts = trace.expertLoad().counts;
    counts[8]! += 1;
    expect(() => checkTrace(trace, { counts })).toThrow("assignments of expert 2 in layer 3, the device counted");
    const prefixed = RouterTrace.fromParts(trace, syntheticTrace([promptRun(2, 6)]));
    expect(() =>
      checkTrace(prefixed, { numTokens: 8, counts: syntheticTrace([promptRun(2, 6)]).expertLoad().counts }),
    ).not.toThrow();
  });

  it("checks bare counts by their sums", () => {
    const counts = syntheticTrace(RUNS).expertLoad().counts;
    expect(() => checkCountSums(counts, [1, 3], 6, 2)).not.toThrow();
    counts[11]! += 1;
    expect(() => checkCountSums(counts, [1, 3], 6, 2)).toThrow(
      "Layer 3 should count 6 tokens x 2 experts, it counts 13",
    );
  });
});

describe("checkTrace under rules", () => {
  const changes: Change[] = [
    { kind: "bias", layers: [1], bias: { 0: 2, 2: -1 } },
    { kind: "mask", layers: [1, 3], experts: [3], positions: [1, 4] },
    { kind: "force", layers: [1], experts: [4] },
    { kind: "top-k", layers: [1], k: 3 },
    { kind: "zero", layers: [3], experts: [1, 2] },
    { kind: "swap", layers: [3], from: 0, to: 1 },
  ];
  const trace = syntheticTrace([promptRun(50)], { changes });
  const rules = compileRules(changes as never, METADATA);

  it("recomputes from the effective logits", () => {
    expect(checkTrace(trace, { rules })).toEqual({ rows: 100, recomputedRows: 100 });
    expect(checkTrace(trace)).toEqual({ rows: 100, recomputedRows: 0 });
  });

  it.each(rules.map((rule, index) => [rule.kind, index] as const).filter(([kind]) => kind !== "swap"))(
    "sees that %s was not applied",
    (_, index) => {
      expect(() => checkTrace(trace, { rules: rules.filter((rule) => rule !== rules[index]) })).toThrow(
        "Router trace:",
      );
    },
  );

  it("follows a replayed route, with its weights or with those of the pass", () => {
    const recorded = syntheticTrace([promptRun(6)], { seed: 9 });
    const routes = Object.fromEntries(
      [1, 3].map((layer) => {
        const { experts, weights } = recorded.selectLayers([layer]).route();
        return [layer, { experts, weights }];
      }),
    );
    for (const weights of ["model", "recorded"] as const) {
      const change: Change = { kind: "replay", layers: [1, 3], weights, routes };
      const replayed = syntheticTrace(RUNS, { changes: [change] });
      const rule = compileRules([{ kind: "replay", layers: "all", weights, route: recorded.route() }], METADATA);
      expect(checkTrace(replayed, { rules: rule }).recomputedRows).toBe(12);
      expect(() => checkTrace(syntheticTrace(RUNS), { rules: rule })).toThrow("a row marked as intervened");
    }
  });
});

/** MoE models of golden/models: folder, and the traces that transformers recorded there. */
const MODELS = missingShared("golden/models")
  ? []
  : readdirSync(sharedPath("golden/models")).filter((name) => /^(qwen2moe|mixtral)[^.]*$/.test(name));

describeWithGoldens("the traces of transformers", "golden/models", () => {
  it.each(MODELS)("pass on %s", (model) => {
    const config = JSON.parse(readFileSync(sharedPath("golden/models", model, "config.json"), "utf8"));
    const expected = readSafetensors(sharedPath("golden/models", model, "expected.safetensors"));
    const moeLayers = [...expected.keys()]
      .flatMap((name) => /^a\.topk_experts\.(\d+)$/.exec(name)?.[1] ?? [])
      .map(Number);
    const metadata = {
      ...METADATA,
      ...{ model, moeLayers: moeLayers.sort((a, b) => a - b), numLayers: config.num_hidden_layers },
      numExperts: config.num_experts ?? config.num_local_experts,
      numExpertsPerToken: config.num_experts_per_tok,
      normTopkProb: config.model_type === "mixtral" || config.norm_topk_prob,
      hasSharedExpert: expected.has(`a.shared_gate.${moeLayers[0]}`),
    };
    for (const text of ["a", "b", "chat"]) {
      const perLayer = metadata.moeLayers.map((layer) => {
        const topkExperts = Uint16Array.from(ints(expected, `${text}.topk_experts.${layer}`));
        const routerLogits = floats(expected, `${text}.router_logits.${layer}`);
        return { topkExperts, routerLogits, topkWeights: floats(expected, `${text}.topk_weights.${layer}`) };
      });
      const rows = perLayer[0]!.routerLogits.length / metadata.numExperts;
      // Layers side by side within a token, as a step has them.
      const interleave = <T extends Uint16Array | Float32Array>(parts: T[]): T => {
        const width = parts[0]!.length / rows;
        const all = new (parts[0]!.constructor as new (length: number) => T)(rows * parts.length * width);
        for (let row = 0; row < rows; row++) {
          for (const [i, part] of parts.entries()) {
            all.set(part.subarray(row * width, (row + 1) * width), (row * parts.length + i) * width);
          }
        }
        return all;
      };
      const routerLogits = interleave(perLayer.map((layer) => layer.routerLogits));
      const margin = Float32Array.from({ length: rows * moeLayers.length }, (_, row) => {
        const sorted = routerLogits
          .slice(row * metadata.numExperts, (row + 1) * metadata.numExperts)
          .sort()
          .reverse();
        return sorted[metadata.numExpertsPerToken - 1]! - sorted[metadata.numExpertsPerToken]!;
      });
      const step = {
        ...{ rows, numMoeLayers: moeLayers.length, topK: metadata.numExpertsPerToken, numExperts: metadata.numExperts },
        topkExperts: interleave(perLayer.map((layer) => layer.topkExperts)),
        topkWeights: interleave(perLayer.map((layer) => layer.topkWeights)),
        sharedGate: new Float32Array(metadata.hasSharedExpert ? rows * moeLayers.length : 0),
        ...{ margin, intervened: new Uint8Array(rows * moeLayers.length), routerLogits },
      };
      const trace = RouterTrace.fromStep(step, [promptRun(rows)], { metadata, level: "logits" });
      expect(checkTrace(trace, { rules: [], numTokens: rows }).recomputedRows).toBe(rows * moeLayers.length);
    }
  });
});

describeWithGoldens("the synthetic trace of golden/metrics", "golden/metrics/s", () => {
  it("passes, its exact ties at the boundary included", async () => {
    const file = sharedPath("golden/metrics/s/trace.parquet");
    const table = await tableFromParquet(readFileSync(file), file);
    const rows = table.toArray().map((row) => row!.toJSON());
    rows.sort((a, b) => a.sample_id.localeCompare(b.sample_id) || a.position - b.position || a.layer - b.layer);
    const numExperts = 16;
    const routerLogits = Float32Array.from(rows.flatMap((row) => [...row.router_logits]));
    const margin = Float32Array.from(rows, (row) => {
      const sorted = Float32Array.from(row.router_logits).sort().reverse();
      return sorted[3]! - sorted[4]!;
    });
    expect(margin.filter((value) => value === 0)).toHaveLength(17);
    const numTokens = rows.length / 3;
    const step: StepTrace = {
      ...{ rows: numTokens, numMoeLayers: 3, topK: 4, numExperts, routerLogits, margin },
      topkExperts: Uint16Array.from(rows.flatMap((row) => [...row.topk_experts])),
      topkWeights: Float32Array.from(rows.flatMap((row) => [...row.topk_weights])),
      ...{ sharedGate: new Float32Array(0), intervened: new Uint8Array(rows.length) },
    };
    const shape = { numLayers: 3, moeLayers: [0, 1, 2], numExperts, numExpertsPerToken: 4, hasSharedExpert: false };
    const trace = RouterTrace.fromStep(step, [promptRun(numTokens)], {
      metadata: { ...METADATA, ...shape },
      level: "logits",
    });
    const rules: RouteRule[] = [];
    expect(checkTrace(trace, { rules, numTokens: 1155 }).recomputedRows).toBe(3465);
    const { metrics } = JSON.parse(readFileSync(sharedPath("golden/metrics/s/expected.json"), "utf8"));
    expect([...trace.expertLoad().counts]).toEqual(metrics.counts.values.flat());
    expect([...trace.expertLoad().loadCv()]).toEqual(
      metrics.cv.values.map((value: number) => expect.closeTo(value, 9)),
    );
  });
});
