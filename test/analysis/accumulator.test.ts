/** What all analyses of traces share: traces in pieces, documents, subsets, and the sentences for wrong input. */

import { describe, expect, it } from "vitest";
import { analyze, type RoutingAccumulator, selectTokens } from "../../src/analysis/accumulator.js";
import { AdjacentTokens } from "../../src/analysis/adjacent-tokens.js";
import { AnswerMargins } from "../../src/analysis/answer-margin.js";
import { Coactivation } from "../../src/analysis/coactivation.js";
import { LayerTransitions } from "../../src/analysis/layer-transitions.js";
import { RouteMargins } from "../../src/analysis/route-margins.js";
import { RouterConfidence, routingEntropyAlong } from "../../src/analysis/router-confidence.js";
import { RoutingLoad } from "../../src/analysis/routing-load.js";
import { VocabularySpecialization } from "../../src/analysis/vocabulary.js";
import type { TraceKey } from "../../src/router/schema.js";
import { RouterTrace } from "../../src/router/trace.js";
import { METADATA, promptRun, syntheticTrace } from "../router/synthetic-trace.js";

const sample = (sampleId: string, length: number, seed: number, key: TraceKey = {}): RouterTrace =>
  syntheticTrace([promptRun(length, 0, { key: { sampleId, ...key } })], { seed });

const SAMPLES = [sample("a", 5, 1), sample("b", 9, 2), sample("c", 2, 3)];

/** Everything that an analysis found, of each kind. */
const FINDINGS: readonly [string, () => RoutingAccumulator, (found: never) => unknown][] = [
  ["load", () => new RoutingLoad(), (load: RoutingLoad) => [load.counts(), load.gateMass(), load.documentRate(1)]],
  [
    "confidence",
    () => new RouterConfidence(),
    (found: RouterConfidence) => [found.routingEntropy(), found.topkMass(), found.zLoss(), found.meanProbability()],
  ],
  ["margins", () => new RouteMargins(), (found: RouteMargins) => [found.mean(), found.quantile(0.3), found.ties()]],
  ["co-activation", () => new Coactivation(), (found: Coactivation) => found.matrix(3)],
  [
    "transitions",
    () => new LayerTransitions(),
    (found: LayerTransitions) => [found.top1Counts(0), found.fullCounts(0), found.top1InformationNull(0)],
  ],
  [
    "adjacent tokens",
    () => new AdjacentTokens(),
    (found: AdjacentTokens) => [found.pairs(), found.overlap(), found.nonempty(), found.overlapGivenLoad()],
  ],
  ["answer margins", () => new AnswerMargins(), (found: AnswerMargins) => [0, 1, 2].map((i) => found.ofDocument(i))],
  [
    "vocabulary",
    () => new VocabularySpecialization("next"),
    (found: VocabularySpecialization) => [found.ids(), found.specialization(2), found.permutationNull()],
  ],
];

describe("traces one after another", () => {
  it.each(FINDINGS)("give the same %s as all at once", async (_name, create, findings) => {
    const whole = create().add(RouterTrace.concat(SAMPLES));
    const streamed = create();
    await analyze(SAMPLES, [streamed]);
    expect(whole.tokens()).toBe(16);
    expect(streamed.documents).toEqual(whole.documents);
    // Sums in another order: equal but for rounding.
    const round = (value: unknown): unknown =>
      typeof value === "number"
        ? Number(value.toPrecision(12))
        : value !== null && typeof value === "object"
          ? Object.entries(value).map(([key, part]) => [key, round(part)])
          : value;
    expect(round(findings(streamed as never))).toEqual(round(findings(whole as never)));
  });

  it("never pair tokens of two samples, nor over a gap of positions", () => {
    const [first, second] = [sample("a", 3, 1), sample("b", 3, 2)];
    const gap = RouterTrace.concat([first.slice(0, 1), first.slice(2, 3)]);
    expect(new AdjacentTokens().add(RouterTrace.concat([first, second])).pairs()).toBe(4);
    expect(new AdjacentTokens().add(gap).pairs()).toBe(0);
  });
});

describe("documents", () => {
  it("are samples, whatever their requests, then shared prefixes, then traces without a key", () => {
    const load = new RoutingLoad()
      .add(sample("a", 2, 1, { task: "t", request: 0 }))
      .add(sample("a", 3, 2, { task: "t", request: 1, prefixId: "p" }))
      .add(syntheticTrace([promptRun(4, 0, { key: { task: "t", prefixId: "p" } })]))
      .add(sample("a", 1, 1, { task: "t", epoch: 1 }))
      .add(syntheticTrace([promptRun(1)]))
      .add(syntheticTrace([promptRun(1)]));
    expect(load.documents.map(({ sampleId, epoch, prefixId }) => [sampleId, epoch, prefixId])).toEqual([
      ["a", undefined, undefined],
      [undefined, undefined, "p"],
      ["a", 1, undefined],
      [undefined, undefined, undefined],
      [undefined, undefined, undefined],
    ]);
    expect(load.tokensOfDocument).toEqual([5, 4, 1, 1, 1]);
  });

  it("count as often as their weight says", () => {
    const load = new RoutingLoad().add(RouterTrace.concat(SAMPLES));
    const doubled = new RoutingLoad().add(SAMPLES[0]!).add(SAMPLES[0]!).add(SAMPLES[2]!);
    expect(load.counts([2, 0, 1])).toEqual(doubled.counts());
    expect(load.tokens([2, 0, 1])).toBe(12);
  });
});

describe("subsets", () => {
  const trace = syntheticTrace([promptRun(3), promptRun(2, 3, { origin: 1, segment: 3 })]);

  it("select by segment, by origin, by both", () => {
    expect(Array.from(selectTokens(trace, { segment: "generated" }))).toEqual([3, 4]);
    expect(Array.from(selectTokens(trace, { origin: "prompt" }))).toEqual([0, 1, 2]);
    expect(selectTokens(trace, { origin: "prompt", segment: "generated" })).toHaveLength(0);
  });

  it("without tokens have figures of NaN, not 0", () => {
    const load = new RoutingLoad({ segment: "choice" }).add(trace);
    expect(load.tokens()).toBe(0);
    expect(load.selectionRate().every(Number.isNaN)).toBe(true);
    expect(new RouterConfidence({ segment: "choice" }).add(trace).routingEntropy().every(Number.isNaN)).toBe(true);
    expect(new RouteMargins({ segment: "choice" }).add(trace).quantile(0.5).every(Number.isNaN)).toBe(true);
  });
});

describe("slots that a top-k intervention left empty", () => {
  const trace = syntheticTrace([promptRun(6)], { changes: [{ kind: "top-k", layers: [1], k: 1 }] });

  it("count nowhere", () => {
    expect(trace.columns.topkExperts.includes(65535)).toBe(true);
    const { counts } = trace.expertLoad();
    expect(new RoutingLoad().add(trace).counts()).toEqual(counts);
    const pairs = new Coactivation().add(trace);
    const offDiagonal = Array.from(pairs.matrix(1)).filter((_, cell) => cell % 7 !== 0);
    expect(offDiagonal.every((count) => count === 0)).toBe(true);
    expect(
      new LayerTransitions()
        .add(trace)
        .fullCounts(0)
        .reduce((sum, count) => sum + count, 0),
    ).toBe(6 * 1 * 2);
  });
});

describe("routing entropy along a text", () => {
  it("has the mean that the analysis has", () => {
    const rows = routingEntropyAlong(SAMPLES[1]!);
    const means = rows.map((row) => row.reduce((sum, value) => sum + value, 0) / row.length);
    const expected = new RouterConfidence().add(SAMPLES[1]!).routingEntropy();
    expect(means.map((mean) => mean.toFixed(12))).toEqual(Array.from(expected, (mean) => mean.toFixed(12)));
  });
});

describe("wrong input", () => {
  const topk = syntheticTrace([promptRun(2)], { level: "topk" });
  const wider = syntheticTrace([promptRun(2)], { metadata: { ...METADATA, numExperts: 7 } });
  it.each<[string, () => unknown, string]>([
    ["no trace", () => new RoutingLoad().counts(), "Expected at least one trace to analyse, got none."],
    [
      "no logits",
      () => new RouterConfidence().add(topk),
      "Expected traces at level logits or hidden, got one at level topk.",
    ],
    [
      "another model",
      () => new RoutingLoad().add(SAMPLES[0]!).add(wider),
      "Expected traces of layers 1, 3 with 2 of 6 experts, got one of layers 1, 3 with 2 of 7 experts.",
    ],
    [
      "an unknown segment",
      () => new RoutingLoad({ segment: "answer" }).add(SAMPLES[0]!),
      'Expected one of prefix, question, choice, generated for segment, got "answer".',
    ],
    [
      "an unknown origin",
      () => new RoutingLoad({ origin: "decode" as never }).add(SAMPLES[0]!),
      'Expected prompt or generated for origin, got "decode".',
    ],
    [
      "a pair of layers that is none",
      () => new LayerTransitions().add(SAMPLES[0]!).top1Counts(1),
      "Expected a pair of neighbouring layers from 0 to 0 for pair, got 1 (number).",
    ],
    [
      "a dense layer",
      () => new Coactivation().add(SAMPLES[0]!).pairs(2),
      "Expected one of the MoE layers 1, 3 for layer, got 2 (number).",
    ],
  ])("%s", (_what, run, sentence) => {
    expect(run).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: sentence }));
  });
});
