import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bias, mask, on, replay, swap, topK, zero } from "../../src/router/intervention-builders.js";
import { checkInterventions } from "../../src/router/intervention-check.js";
import {
  canonicalJson,
  firstTouchedLayer,
  hashInterventions,
  layerCacheKeys,
} from "../../src/router/intervention-keys.js";
import { type Intervention, parseInterventions } from "../../src/router/interventions.js";
import { compileRules } from "../../src/router/route-rules.js";
import { expectedRoute, ruleActs } from "../../src/router/selection.js";
import { ints, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { loadOracle } from "../reference/oracle.js";
import { type Change, select } from "../reference/router.js";
import { METADATA, promptRun, randomNumbers, syntheticTrace } from "./synthetic-trace.js";

describe("compileRules", () => {
  it("gives native code numbers and scopes", () => {
    const rules = compileRules(
      [
        zero({ layers: "all", experts: [3, "shared", 0] }),
        zero({ layers: [1], experts: ["shared"] }),
        bias({ layers: [3], bias: { 2: 1.5, 5: -0.75 }, origin: "generated" }),
        swap({ layers: [1], from: 1, to: 2, positions: [3, 9], segments: ["choice", "question"] }),
      ],
      METADATA,
    );
    expect(rules).toHaveLength(4);
    expect(rules).toContainEqual({
      ...{ kind: "zero", layers: Int32Array.of(1, 3), experts: Int32Array.of(0, 3), shared: true },
    });
    expect(rules).toContainEqual({ kind: "zero", layers: Int32Array.of(1), experts: new Int32Array(0), shared: true });
    expect(rules).toContainEqual({
      ...{ kind: "bias", layers: Int32Array.of(3), bias: Float32Array.of(0, 0, 1.5, 0, 0, -0.75), origin: 1 },
    });
    expect(rules).toContainEqual({
      ...{ kind: "swap", layers: Int32Array.of(1), from: 1, to: 2, positionStart: 3, positionEnd: 9 },
      segments: Int32Array.of(1, 2),
    });
  });

  it("hands a route over as it is, or the layers of it that are replayed", () => {
    const route = syntheticTrace([promptRun(4, 2)]).route();
    const [whole] = compileRules([replay({ layers: "all", route })], METADATA);
    expect(whole!.routeExperts).toBe(route.experts);
    expect(whole).toMatchObject({ routeStart: 2, routeK: 2 });
    expect(whole).not.toHaveProperty("routeWeights");
    const [last] = compileRules([replay({ layers: [3], route, weights: "recorded" })], METADATA);
    expect([...last!.routeExperts!.subarray(2, 4)]).toEqual([...route.experts.subarray(6, 8)]);
    expect([...last!.routeWeights!.subarray(6)]).toEqual([...route.weights.subarray(14)]);
  });

  it("does not depend on the order of the list", () => {
    const list = [
      bias({ layers: [1], bias: { 0: 0.1 } }),
      bias({ layers: [1], bias: { 0: 0.7 } }),
      topK({ layers: [1], k: 3 }),
    ];
    expect(compileRules([...list].reverse(), METADATA)).toEqual(compileRules(list, METADATA));
  });

  it("compiles callbacks with their function, and refuses one that JSON brought without", () => {
    const probe = on("router.logits", { layers: [1], origin: "prompt" }, () => undefined);
    expect(compileRules([probe], METADATA)).toEqual([
      { kind: "callback", hook: "router.logits", layers: Int32Array.of(1), origin: 0, callback: expect.any(Function) },
    ]);
    expect(() => compileRules([{ ...probe, layers: [2] }], METADATA)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
    expect(() => compileRules([{ ...probe, callback: undefined }], METADATA)).toThrow("JSON cannot hold: use on()");
    const dense = { ...METADATA, hasSharedExpert: false };
    expect(() => compileRules([on("shared.gate", { layers: [1] }, () => undefined)], dense)).toThrow(
      "Expected a model with a shared expert for the hook shared.gate, this one has none.",
    );
  });

  it("says to the selection what the oracle reads in the same objects", () => {
    const random = randomNumbers(3);
    const pick = (n: number) => Math.floor(random() * n);
    const numExperts = 6;
    const make: (() => Change)[] = [
      () => ({ kind: "bias", layers: [1], bias: { [pick(6)]: pick(7) - 3, [pick(6)]: 0.5 } }),
      () => ({ kind: "mask", layers: "all", experts: [pick(3)] }),
      () => ({ kind: "force", layers: [1, 3], experts: [3 + pick(3)] }),
      () => ({ kind: "zero", layers: [1], experts: [pick(6), "shared"] }),
      () => ({ kind: "swap", layers: [1], from: pick(6), to: pick(6) }),
    ];
    for (let round = 0; round < 500; round++) {
      const changes: Change[] = make.filter(() => random() < 0.5).map((build) => build());
      if (random() < 0.5) changes.push({ kind: "top-k", layers: [1], k: 1 + pick(4) });
      for (const change of changes) {
        if (random() < 0.3) change.positions = [pick(3), 3 + pick(3)];
        if (random() < 0.3) change.origin = random() < 0.5 ? "prompt" : "generated";
        if (random() < 0.3) change.segments = random() < 0.5 ? ["question"] : ["choice", "generated"];
      }
      const rules = compileRules(changes as Intervention[], METADATA);
      const logits = Float64Array.from({ length: numExperts }, () => pick(9) / 4);
      const [layer, position] = [random() < 0.8 ? 1 : 3, pick(6)];
      const [origin, segment] = [pick(2), pick(4)];
      const model = { topK: 2, renormalise: round % 2 === 1 };
      const names = {
        origin: (["prompt", "generated"] as const)[origin]!,
        segment: ["prefix", "question", "choice", "generated"][segment]!,
      };
      const wanted = select(logits, model, layer, { position, ...names }, changes);
      const acting = rules.filter((rule) => ruleActs(rule, layer, { position, origin, segment }));
      const finish = { numExpertsPerToken: 2, normTopkProb: model.renormalise };
      const actual = expectedRoute(Float32Array.from(logits), acting, layer, position, finish);
      const { experts, margin, intervened } = wanted;
      expect(actual).toMatchObject({ experts, margin, intervened });
      expect(actual.weights).toEqual(wanted.weights.map((weight) => expect.closeTo(weight, 12)));
    }
  });
});

describe("names of interventions", () => {
  const shape = { ...METADATA, moeLayers: [0, 1, 2, 3] };
  const keys = (list: Intervention[]) => layerCacheKeys(checkInterventions(list, shape), shape);
  const hash = (list: Intervention[]) => hashInterventions(checkInterventions(list, shape));

  it("are canonical JSON for provenance", () => {
    const list = [
      topK({ layers: [1], k: 1 }),
      mask({ layers: [3, 1], experts: [4, 0, 4], segments: ["question", "choice"] }),
    ];
    expect(canonicalJson(list)).toBe(
      '[{"kind":"mask","layers":[1,3],"experts":[0,4],"segments":["choice","question"]},{"kind":"top-k","layers":[1],"k":1}]',
    );
    expect(canonicalJson(parseInterventions(JSON.parse(canonicalJson(list))))).toBe(canonicalJson(list));
    expect(canonicalJson([bias({ layers: [1], bias: { 10: 0.1, 9: 1 } })])).toContain(
      `{"9":1,"10":${Math.fround(0.1)}}`,
    );
  });

  it("are equal for the same effect and differ for another", () => {
    const one = [mask({ layers: [1, 2], experts: [0, 3] })];
    expect(
      hash([
        mask({ layers: [2], experts: [3, 0] }),
        mask({ layers: [1], experts: [0] }),
        mask({ layers: [1], experts: [3] }),
      ]),
    ).toBe(hash(one));
    expect(hash([...one, ...one])).toBe(hash(one));
    const others = [
      [],
      [mask({ layers: [1, 2], experts: [0, 2] })],
      [mask({ layers: [1], experts: [0, 3] })],
      [zero({ layers: [1, 2], experts: [0, 3] })],
      [mask({ layers: [1, 2], experts: [0, 3], positions: [0, 9] })],
      [mask({ layers: [1, 2], experts: [0, 3], origin: "prompt" })],
    ];
    expect(new Set([one, ...others].map(hash)).size).toBe(7);
    const twice = bias({ layers: [1], bias: { 0: 1 } });
    expect(hash([twice, twice])).not.toBe(hash([twice]));
    expect(hash([on("final.norm", { id: "a", version: "1" }, () => undefined)])).not.toBe(hash([]));
  });

  it("follow the content of a route, not its name", () => {
    const route = syntheticTrace([promptRun(4)]).route();
    const replayed = (change: object) => canonicalJson([replay({ layers: [1], route: { ...route, ...change } })]);
    expect(replayed({})).toBe(replayed({ experts: route.experts.slice() }));
    expect(replayed({ experts: route.experts.with(0, 5) })).not.toBe(replayed({ experts: route.experts.with(0, 4) }));
    expect(replayed({ start: 1 })).not.toBe(replayed({}));
    expect(replayed({})).toMatch(/"route":"sha256:[0-9a-f]{64}"/);
  });

  it("key the layers' caches by what acts before them", () => {
    const plain = keys([]);
    const first = keys([mask({ layers: [2], experts: [0] })]);
    const second = keys([mask({ layers: [2], experts: [1] })]);
    expect(first.slice(0, 3)).toEqual(plain.slice(0, 3));
    expect(second.slice(0, 3)).toEqual(first.slice(0, 3));
    expect(new Set([plain[3], first[3], second[3]]).size).toBe(3);
    expect(keys([mask({ layers: [1, 2], experts: [0] })])[2]).toBe(keys([mask({ layers: [1], experts: [0] })])[2]);
    expect(keys([mask({ layers: [3], experts: [0] })])).toEqual(plain);
  });

  it("share nothing behind a callback without a name, and see the one that acts before attention", () => {
    const probe = () => undefined;
    expect(keys([on("router.logits", { layers: [1] }, probe)]).map((key) => key === undefined)).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect(keys([on("residual.before", { layers: [1] }, probe)])[1]).toBeUndefined();
    expect(hash([on("router.logits", { layers: [1], id: "a" }, probe)])).toBeUndefined();
    expect(keys([on("residual.before", { layers: [1], id: "a", version: "1" }, probe)])[1]).not.toBe(keys([])[1]);
  });

  it("find the first layer that anything touches", () => {
    const first = (list: Intervention[]) => firstTouchedLayer(checkInterventions(list, shape), shape);
    expect(first([])).toBe(4);
    expect(first([mask({ layers: [3], experts: [0] }), zero({ layers: [2], experts: [0] })])).toBe(2);
    expect(first([mask({ layers: "all", experts: [0] })])).toBe(0);
    expect(first([on("output.logits", {}, () => undefined)])).toBe(4);
  });
});

describeWithGoldens("the interventions of the goldens", ["golden/interventions", "golden/models"], () => {
  const models = readdirSync(sharedPath("golden/interventions")).flatMap(
    (name) => /^(.*)\.json$/.exec(name)?.[1] ?? [],
  );

  it.each(models)("compile to rules that select what transformers selected on %s", (name) => {
    const cases = JSON.parse(readFileSync(sharedPath("golden/interventions", `${name}.json`), "utf8"));
    const expected = readSafetensors(sharedPath("golden/interventions", `${name}.safetensors`));
    const config = JSON.parse(readFileSync(sharedPath("golden/models", name, "config.json"), "utf8"));
    const forward = loadOracle(sharedPath("golden/models", name));
    const ids = ints(expected, "input_ids");
    const shape = {
      numLayers: config.num_hidden_layers,
      moeLayers: Array.from({ length: config.num_hidden_layers }, (_, layer) => layer),
      numExperts: config.num_experts ?? config.num_local_experts,
      numExpertsPerToken: config.num_experts_per_tok,
      normTopkProb: config.model_type === "mixtral",
      hasSharedExpert: config.shared_expert_intermediate_size > 0,
    };
    for (const [id, changes] of Object.entries(cases) as [string, Change[]][]) {
      if (changes.some((change) => change.kind === "replay")) continue; // their JSON names no route
      const rules = compileRules(parseInterventions(changes, id), shape);
      for (const { layer, routerLogits } of forward(ids, { changes }).layers) {
        const selected = routerLogits.flatMap((logits, position) => {
          const acting = rules.filter((rule) => ruleActs(rule, layer, { position, origin: 0, segment: 1 }));
          return expectedRoute(Float32Array.from(logits), acting, layer, position, shape).experts;
        });
        expect(selected, `${id}, layer ${layer}`).toEqual([...ints(expected, `${id}.topk_experts.${layer}`)]);
      }
    }
  });
});
