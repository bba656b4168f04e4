import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { floats, type GoldenTensor, ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, missingShared, sharedPath } from "../golden/shared.js";
import { loadOracle, type ReferenceLayer } from "./oracle.js";
import type { Change } from "./router.js";

type Goldens = Map<string, GoldenTensor>;
type Summary = Record<string, { fp32_vs_fp64_max_abs_logit: number; logit_std: number }>;

const readJson = (path: string) => JSON.parse(readFileSync(sharedPath(path), "utf8"));

/**
 * The expected values come from a float32 pass, ours from float64: the summary states how far those two lie apart on the texts that it
 * measured. Other texts and inner values share the cause and not the maximum, hence the factor.
 */
const ROUNDING_FACTOR = 4;
const toleranceOf = (model: string) =>
  ROUNDING_FACTOR * (readJson("golden/models/summary.json") as Summary)[model]!.fp32_vs_fp64_max_abs_logit;

/** Largest absolute difference; NaN and unequal lengths count as infinite. */
function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return largest;
}

const flat = (rows: ArrayLike<number>[]) => rows.flatMap((row) => Array.from(row));

function expectRoutes(layers: ReferenceLayer[], expected: Goldens, prefix: string, tolerance: number): void {
  for (const { layer, selections, routerLogits, sharedGate } of layers) {
    const ids = ints(expected, `${prefix}.topk_experts.${layer}`);
    expect(flat(selections.map((selection) => selection.experts)), `ids of layer ${layer}`).toEqual(Array.from(ids));
    const weights = flat(selections.map((selection) => selection.weights));
    expect(distance(weights, floats(expected, `${prefix}.topk_weights.${layer}`))).toBeLessThanOrEqual(tolerance);
    if (expected.has(`${prefix}.router_logits.${layer}`)) {
      const logits = floats(expected, `${prefix}.router_logits.${layer}`);
      expect(distance(flat(routerLogits), logits)).toBeLessThanOrEqual(tolerance);
    }
    if (expected.has(`${prefix}.shared_gate.${layer}`)) {
      expect(distance(sharedGate, floats(expected, `${prefix}.shared_gate.${layer}`))).toBeLessThanOrEqual(tolerance);
    }
  }
}

/** Checkpoint folder of golden/models and the folder that holds its expected values: a variant has the values of its base. */
const MODELS = missingShared("golden/models")
  ? []
  : readdirSync(sharedPath("golden/models"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => [entry.name, entry.name.split(".")[0]!] as const);

describeWithGoldens("oracle", "golden/models", () => {
  const inputs = readJson("golden/models/inputs.json") as Record<"a" | "chat", number[]>;

  it.each(MODELS)("gives the logits and routes of transformers on %s", (variant, base) => {
    const forward = loadOracle(sharedPath("golden/models", variant));
    const expected = readSafetensors(sharedPath("golden/models", base, "expected.safetensors"));
    const tolerance = toleranceOf(base);
    for (const text of ["a", "chat"] as const) {
      const output = forward(inputs[text]);
      expect(distance(flat(output.logits), floats(expected, `${text}.logits`))).toBeLessThanOrEqual(tolerance);
      expectRoutes(output.layers, expected, text, tolerance);
      if (text === "a") {
        for (const [layer, hidden] of output.hidden.entries()) {
          expect(distance(flat(hidden), floats(expected, `a.hidden.${layer}`))).toBeLessThanOrEqual(tolerance);
        }
      }
    }
    const numMoeLayers = [...expected.keys()].filter((name) => name.startsWith("a.topk_experts.")).length;
    expect(forward(inputs.a.slice(0, 1)).layers).toHaveLength(numMoeLayers);
  });

  it("holds beyond the context that YaRN stretches", () => {
    const { b } = readJson("golden/models/inputs.json") as { b: number[] };
    const expected = readSafetensors(sharedPath("golden/models/qwen2moe-yarn/expected.safetensors"));
    const output = loadOracle(sharedPath("golden/models/qwen2moe-yarn"))(b.slice(0, 128));
    const tolerance = toleranceOf("qwen2moe-yarn");
    expect(distance(flat(output.logits.slice(-8)), floats(expected, "b.logits"))).toBeLessThanOrEqual(tolerance);
    expectRoutes(output.layers, expected, "b", tolerance);
  });
});

describeWithGoldens(
  "oracle with the YaRN constants of Qwen2-57B",
  ["golden/long", "golden/models/summary.json"],
  () => {
    it("gives the logits of transformers at position 100", () => {
      const expected = readSafetensors(sharedPath("golden/long/expected.safetensors"));
      const ids = ints(expected, "input_ids").subarray(0, 101);
      const logits = floats(expected, "logits.100");
      const rounding = Object.values(readJson("golden/models/summary.json") as Summary).map(
        (model) => model.fp32_vs_fp64_max_abs_logit / model.logit_std,
      );
      const mean = logits.reduce((sum, value) => sum + value, 0) / logits.length;
      const std = Math.sqrt(logits.reduce((sum, value) => sum + (value - mean) ** 2, 0) / logits.length);
      const output = loadOracle(sharedPath("golden/long"))(ids);
      // No figure of its own in the summary: the largest of the other models, in units of the logits' spread.
      expect(distance(output.logits[100]!, logits)).toBeLessThanOrEqual(ROUNDING_FACTOR * Math.max(...rounding) * std);
    });
  },
);

describeWithGoldens("oracle under interventions", "golden/interventions", () => {
  const folder = sharedPath("golden/interventions");
  const models = readdirSync(folder).flatMap((file) => (file.endsWith(".json") ? [file.slice(0, -5)] : []));

  describe.each(models)("on %s", (model) => {
    const cases = readJson(`golden/interventions/${model}.json`) as Record<string, Change[]>;
    const expected = readSafetensors(`${folder}/${model}.safetensors`);
    const forward = loadOracle(sharedPath("golden/models", model));
    const ids = ints(expected, "input_ids");
    const recordedRoute = (layer: number) => ({
      experts: ints(expected, `replay.topk_experts.${layer}`),
      weights: floats(expected, `replay.topk_weights.${layer}`),
    });

    it.each(Object.keys(cases))("gives the logits and routes of transformers under %s", (name) => {
      const changes = cases[name]!.map((change) =>
        change.kind === "replay"
          ? { ...change, routes: Object.fromEntries((change.layers as number[]).map((l) => [l, recordedRoute(l)])) }
          : change,
      );
      const output = forward(ids, { changes });
      const tolerance = toleranceOf(model);
      const logits = floats(expected, `${name}.logits`);
      expect(distance(flat(output.logits.slice(-8)), logits)).toBeLessThanOrEqual(tolerance);
      expectRoutes(output.layers, expected, name, tolerance);
    });
  });
});
