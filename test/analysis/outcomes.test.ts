/** The join of routes and scores, the probe, and flips by margin: planted effects, and the sentences for wrong input. */

import { describe, expect, it } from "vitest";
import { flipRateByOutcome } from "../../src/analysis/answer-margin.js";
import { FlipsByMargin } from "../../src/analysis/flips-by-margin.js";
import { loadCv } from "../../src/analysis/load-balance.js";
import { fitLogistic, logOdds } from "../../src/analysis/logistic-regression.js";
import { joinOutcomes } from "../../src/analysis/outcome-join.js";
import { joinDocuments, type Outcome } from "../../src/analysis/outcomes.js";
import { probeOutcomes } from "../../src/analysis/probe.js";
import { Random } from "../../src/analysis/random.js";
import { RouteAgreement } from "../../src/analysis/route-agreement.js";
import { RoutingLoad } from "../../src/analysis/routing-load.js";
import { Specialization } from "../../src/analysis/specialization.js";
import type { TraceKey } from "../../src/router/schema.js";
import { RouterTrace } from "../../src/router/trace.js";
import { promptRun, syntheticTrace } from "../router/synthetic-trace.js";

const PLANTED = { layer: 3, expert: 5 };

/** Samples of which the right ones are drawn to one expert by `bias` logits. */
function world(numSamples: number, bias: number): { load: RoutingLoad; outcomes: Outcome[] } {
  const load = new RoutingLoad();
  const outcomes: Outcome[] = [];
  const random = new Random(11);
  for (let i = 0; i < numSamples; i++) {
    const sampleId = `s${String(i).padStart(3, "0")}`;
    const correct = random.next() < 0.5;
    const drawn = { kind: "bias", layers: [PLANTED.layer], bias: { [PLANTED.expert]: correct ? bias : 0 } };
    const run = promptRun(10 + (i % 7), 0, { key: { task: "t", sampleId } });
    load.add(syntheticTrace([run], { seed: i + 1, changes: [drawn] }));
    outcomes.push({ task: "t", sampleId, correct, subject: `subject ${i % 3}` });
  }
  return { load, outcomes };
}

describe("joinOutcomes", () => {
  it("finds the planted expert, and nothing where nothing is planted", () => {
    const { load, outcomes } = world(80, 1.5);
    const { slots, correct, wrong } = joinOutcomes(load, outcomes, { permutations: 1999, resamples: 200 });
    const found = slots.filter(({ q, stratified }) => q < 0.05 && stratified > 0);
    expect(found.map(({ layer, expert }) => ({ layer, expert }))).toEqual([PLANTED]);
    expect(found[0]!.interval[0]).toBeGreaterThan(0);
    expect(correct + wrong).toBe(80);

    const empty = world(80, 0);
    const none = joinOutcomes(empty.load, empty.outcomes, { permutations: 1999, resamples: 200 });
    expect(none.slots.filter(({ q }) => q < 0.05)).toEqual([]);
  });

  it("takes traces as well as their load", () => {
    const traces = ["a", "b"].map((sampleId) => syntheticTrace([promptRun(4, 0, { key: { sampleId } })]));
    const scores = [
      { sampleId: "a", correct: true },
      { sampleId: "b", correct: false },
    ];
    const load = new RoutingLoad().add(traces[0]!).add(traces[1]!);
    const options = { permutations: 9, resamples: 9 };
    const expected = joinOutcomes(load, scores, options);
    expect(joinOutcomes(traces, scores, options)).toEqual(expected);
    expect(joinOutcomes(RouterTrace.concat(traces), scores, options)).toEqual(expected);
  });

  it("takes other strata", () => {
    const { load, outcomes } = world(40, 1);
    const one = joinOutcomes(load, outcomes, {
      permutations: 99,
      resamples: 10,
      strata: (joined) => joined.map(() => "all"),
    });
    expect(one.informativeStrata).toBe(1);
    for (const { difference, stratified } of one.slots) expect(stratified).toBeCloseTo(difference, 12);
  });

  it("repeats with its seed", () => {
    const { load, outcomes } = world(30, 1);
    const run = (seed: number) => joinOutcomes(load, outcomes, { permutations: 99, resamples: 10, seed }).slots;
    expect(run(3)).toEqual(run(3));
    expect(run(3).map(({ p }) => p)).not.toEqual(run(4).map(({ p }) => p));
  });
});

describe("probe", () => {
  it("beats the baseline where routes tell the outcome, and not where they do not", () => {
    const planted = world(100, 1.5);
    const found = probeOutcomes(planted.load, planted.outcomes);
    expect(found.routing.auc).toBeGreaterThan(0.8);
    expect(found.routing.auc - found.baseline.auc).toBeGreaterThan(0.2);
    const empty = world(100, 0);
    // An AUC of 50 against 50 has a standard error of 0.058 under chance.
    expect(Math.abs(probeOutcomes(empty.load, empty.outcomes).routing.auc - 0.5)).toBeLessThan(3 * 0.058);
  });

  it("uses the entropy of the answer where every outcome has it", () => {
    const { load, outcomes } = world(60, 0);
    const withEntropy = outcomes.map((outcome) => ({ ...outcome, answerEntropy: outcome.correct ? 0.2 : 0.9 }));
    expect(probeOutcomes(load, withEntropy).baseline.auc).toBe(1);
    withEntropy[0]!.answerEntropy = undefined as never;
    expect(probeOutcomes(load, withEntropy).baseline.auc).toBeLessThan(0.8);
  });

  it("has no AUC where a training fold has one outcome", () => {
    const { load, outcomes } = world(10, 0);
    const oneWrong = outcomes.map((outcome, i) => ({ ...outcome, correct: i !== 3 }));
    expect(probeOutcomes(load, oneWrong).routing.auc).toBeNaN();
  });
});

describe("logistic regression", () => {
  it("ends where the gradient is 0", () => {
    const random = new Random(8);
    const rows = Array.from({ length: 60 }, () => Float64Array.from({ length: 4 }, () => random.normal()));
    const labels = rows.map((row) => (row[0]! - 0.5 * row[2]! + random.normal() > 0 ? 1 : 0));
    const model = fitLogistic(rows, labels);
    const errors = rows.map((row, i) => 1 / (1 + Math.exp(-logOdds(model, row))) - labels[i]!);
    for (let j = 0; j < 4; j++) {
      const slope = model.weights[j]! + errors.reduce((sum, error, i) => sum + error * rows[i]![j]!, 0);
      expect(Math.abs(slope)).toBeLessThan(1e-8);
    }
    expect(Math.abs(errors.reduce((sum, error) => sum + error, 0))).toBeLessThan(1e-8);
  });

  it("fits more columns than rows, and separable rows, and refuses one label", () => {
    const rows = Array.from({ length: 6 }, (_, i) => Float64Array.from({ length: 40 }, (_, j) => Math.sin(i * 7 + j)));
    const model = fitLogistic(rows, [0, 0, 0, 1, 1, 1]);
    expect(rows.map((row) => logOdds(model, row) > 0)).toEqual([false, false, false, true, true, true]);
    expect(() => fitLogistic(rows, [1, 1, 1, 1, 1, 1])).toThrow("Expected both labels to fit, got 6 of 6 positive.");
  });
});

describe("the same tokens twice", () => {
  const key: TraceKey = { sampleId: "a" };
  const a = syntheticTrace([promptRun(30, 0, { key })], { seed: 1 });
  const b = syntheticTrace([promptRun(30, 0, { key })], { seed: 2 });

  it("agree with themselves, also where top-k was changed", () => {
    const changes = [{ kind: "top-k", layers: [1], k: 1 }];
    for (const trace of [a, syntheticTrace([promptRun(30)], { changes })]) {
      const agreement = new RouteAgreement().addPair(trace, trace);
      expect(Array.from(agreement.agreement())).toEqual([1, 1]);
      expect(agreement.differsInAnyLayer()).toBe(0);
      expect(
        new FlipsByMargin()
          .addPair(trace, trace)
          .bins()
          .every(({ flips }) => flips === 0),
      ).toBe(true);
    }
  });

  it("flip as often by margin as they differ by layer", () => {
    const differs = new RouteAgreement().addPair(a, b).differs();
    const flips = new FlipsByMargin({ binWidth: 0.25, upTo: 1 }).addPair(a, b);
    expect(flips.bins()).toHaveLength(4);
    for (const [index, layer] of [1, 3].entries()) {
      const bins = flips.bins(layer);
      expect(bins.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(30);
      expect(bins.reduce((sum, bin) => sum + bin.flips, 0) / 30).toBeCloseTo(differs[index]!, 12);
    }
  });

  it("are told apart by outcome", () => {
    const agreement = new RouteAgreement()
      .addPair(a, a)
      .addPair(a.withKey({ sampleId: "b" }), b.withKey({ sampleId: "b" }));
    const rates = flipRateByOutcome(agreement, [
      { sampleId: "a", correct: true },
      { sampleId: "b", correct: false },
    ]);
    expect(rates.meanCorrect).toBe(0);
    expect(rates.meanWrong).toBeGreaterThan(0.5);
  });
});

describe("figures", () => {
  it("state value, interval, n, null and ends for every layer", () => {
    const { load } = world(30, 2);
    const figures = load.figures({ resamples: 200, nullDraws: 50 });
    const cv = figures.find(({ layer, metric }) => layer === PLANTED.layer && metric === "loadCv")!;
    expect(cv.value).toBe(loadCv(load.counts().subarray(6)));
    expect(cv.interval[0]).toBeLessThan(cv.value);
    expect(cv.interval[1]).toBeGreaterThan(cv.value);
    expect(cv.value).toBeGreaterThan(cv.uniform.mean + 5 * cv.uniform.sd);
    expect(cv).toMatchObject({ n: load.tokens(), floor: 0, ceiling: Math.sqrt(2) });
    expect(figures).toHaveLength(2 * 15);
  });
});

describe("wrong input", () => {
  const { load, outcomes } = world(12, 0);
  const alike = outcomes.map((outcome) => ({ ...outcome, correct: true }));
  it.each<[string, () => unknown, string]>([
    [
      "a sample without routes",
      () => joinDocuments(load, [...outcomes, { task: "t", sampleId: "x", correct: true }]),
      'Expected routes of sample ["t","x",0], the traces have none or it is scored twice.',
    ],
    [
      "routes without an outcome",
      () => joinDocuments(load, outcomes.slice(1)),
      'Expected an outcome of sample ["t","s000",0], got none.',
    ],
    [
      "a sample id that two tasks share",
      () =>
        joinDocuments(
          new RoutingLoad()
            .add(syntheticTrace([promptRun(1, 0, { key: { task: "t", sampleId: "a" } })]))
            .add(syntheticTrace([promptRun(1, 0, { key: { task: "u", sampleId: "a" } })])),
          [{ sampleId: "a", correct: true }],
        ),
      'Expected one document for sample [null,"a",0], got several.',
    ],
    [
      "strata of one outcome",
      () => joinOutcomes(load, alike),
      "Expected right and wrong answers in at least one stratum, got 12 samples in 6 strata without.",
    ],
    [
      "too many folds",
      () => probeOutcomes(load, outcomes, { folds: 13 }),
      "Expected a whole number from 2 to the 12 samples for folds, got 13 (number).",
    ],
    [
      "no domain at all",
      () => new Specialization(load, () => undefined),
      "Expected a domain for at least one document for domainOf, got undefined.",
    ],
    [
      "one trace where a pair is wanted",
      () => new RouteAgreement().add(syntheticTrace([promptRun(1)])),
      "Expected a pair of traces for route agreement, got one.",
    ],
    [
      "the same ids at other positions",
      () => {
        const trace = syntheticTrace([promptRun(2)]);
        const moved = syntheticTrace([{ ...promptRun(2), firstPosition: 5 }]);
        return new RouteAgreement().addPair(trace, moved);
      },
      "Expected two traces of the same tokens, got token 100 at position 0 and token 100 at position 5 in place 0: another text or another tokenizer.",
    ],
    [
      "another text",
      () => new RouteAgreement().addPair(syntheticTrace([promptRun(2)]), syntheticTrace([promptRun(2, 1)])),
      "Expected two traces of the same tokens, got token 100 at position 0 and token 101 at position 1 in place 0: another text or another tokenizer.",
    ],
  ])("%s", (_what, run, sentence) => {
    expect(run).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: sentence }));
  });
});
