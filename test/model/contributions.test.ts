/** What experts contribute, against a slow float64 sum over the outputs of the oracle, and the formulas on numbers made by hand. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Contributions, type DocumentSums, Model, zero } from "../../src/index.js";
import { seededModel } from "../cli/seeded.js";
import { loadOracle } from "../reference/oracle.js";

const document = (length: number, seed: number) => Int32Array.from({ length }, (_, i) => (i * 37 + seed * 11) % 250);
const DOCUMENTS = [document(30, 1), document(7, 2), document(61, 3)];

interface Sight {
  layer: number;
  position: number;
  expert: number | "shared";
  gate: number;
  output: Float64Array;
}

const norm = (values: Float64Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

describe("contributions", () => {
  let model: Model;
  let sums: DocumentSums[];
  const sights: Sight[][] = [];

  beforeAll(async () => {
    model = await Model.load(seededModel(), { threads: 2 });
    sums = await model.contributions(DOCUMENTS);
    const oracle = loadOracle(seededModel());
    for (const ids of DOCUMENTS) {
      const seen: Sight[] = [];
      oracle(ids, {
        onExpert: (layer, position, expert, gate, output) => seen.push({ layer, position, expert, gate, output }),
      });
      sights.push(seen);
    }
  });
  afterAll(() => model.dispose());

  const figures = () => new Contributions(sums, model.parts.shape);
  /** Mean of `value` over the sights of each (layer, expert). */
  const byExpert = (value: (sight: Sight) => number, seen = sights.flat()) => {
    const { numExperts, moeLayers } = model.parts.shape;
    return moeLayers.flatMap((layer) =>
      Array.from({ length: numExperts }, (_, expert) => {
        const own = seen.filter((sight) => sight.layer === layer && sight.expert === expert);
        return own.reduce((sum, sight) => sum + value(sight), 0) / own.length;
      }),
    );
  };
  /** fp32 against fp64 through four layers: the logit tolerance of the goldens, relative. */
  const expectClose = (actual: ArrayLike<number>, expected: readonly number[], tolerance = 1e-4) => {
    expect(actual).toHaveLength(expected.length);
    for (const [i, value] of expected.entries()) {
      if (Number.isNaN(value)) expect(actual[i]).toBeNaN();
      else expect(Math.abs(actual[i]! - value) <= tolerance * Math.max(1e-6, Math.abs(value))).toBe(true);
    }
  };

  it("are the sums of the oracle in float64", () => {
    const all = figures();
    expectClose(
      all.activationNorm().values,
      byExpert(({ output }) => norm(output)),
    );
    expectClose(
      all.squaredActivationNorm().values,
      byExpert(({ output }) => norm(output) ** 2),
    );
    expectClose(
      all.reap().values,
      byExpert(({ gate, output }) => gate * norm(output)),
    );
    const counts = byExpert(() => 1).map((mean, i) => (Number.isNaN(mean) ? 0 : all.activationNorm().n[i]! * mean));
    expect([...all.activationNorm().n]).toEqual(counts);
    expect(all.activationNorm().n.reduce((sum, n) => sum + n, 0)).toBe(98 * 4 * model.config.numExpertsPerToken);
    const totals = byExpert(({ output }) => norm(output)).map((mean, i) =>
      Number.isNaN(mean) ? 0 : mean * counts[i]!,
    );
    expectClose(all.totalActivationNorm(), totals);
    const { moeLayers, numExperts } = model.parts.shape;
    const largest = moeLayers.flatMap((layer) =>
      Array.from({ length: numExperts }, (_, expert) =>
        Math.max(
          0,
          ...sights
            .flat()
            .flatMap((s) => (s.layer === layer && s.expert === expert ? [...s.output.map(Math.abs)] : [])),
        ),
      ),
    );
    expectClose(all.maxActivation(), largest);
  });

  it("have the shared expert's ratio and the similarity of outputs", () => {
    const { moeLayers, numExperts } = model.parts.shape;
    const ratios = moeLayers.map((layer) => {
      const perToken = sights.flatMap((seen) => {
        const own = seen.filter((sight) => sight.layer === layer);
        return [...new Set(own.map(({ position }) => position))].map((position) => {
          const at = own.filter((sight) => sight.position === position);
          const shared = at.find(({ expert }) => expert === "shared")!;
          const routed = new Float64Array(shared.output.length);
          for (const { expert, gate, output } of at) {
            if (expert !== "shared") for (let i = 0; i < routed.length; i++) routed[i]! += gate * output[i]!;
          }
          return (shared.gate * norm(shared.output)) / norm(routed);
        });
      });
      return perToken.reduce((sum, ratio) => sum + ratio, 0) / perToken.length;
    });
    expectClose(figures().sharedToRouted().values, ratios);

    const similarity = figures().outputSimilarity();
    for (const [index, layer] of moeLayers.entries()) {
      for (let a = 0; a < numExperts; a++) {
        for (let b = 0; b < numExperts; b++) {
          const cosines = sights.flatMap((seen) => {
            const of = (expert: number) => seen.filter((sight) => sight.layer === layer && sight.expert === expert);
            return of(a).flatMap((one) =>
              of(b)
                .filter(({ position }) => position === one.position)
                .map((other) => dot(one.output, other.output) / (norm(one.output) * norm(other.output))),
            );
          });
          const mean = cosines.reduce((sum, value) => sum + value, 0) / cosines.length;
          const actual = similarity[(index * numExperts + a) * numExperts + b]!;
          if (cosines.length === 0 && a !== b) expect(actual).toBeNaN();
          else expect(Math.abs(actual - (a === b ? 1 : mean)) <= 1e-4).toBe(true);
        }
      }
    }
    const angular = figures().outputSimilarity("angular");
    expect(Math.abs(angular[1]! - (1 - Math.acos(similarity[1]!) / Math.PI)) <= 1e-12).toBe(true);
  });

  it("come by document, with intervals over documents, and do not depend on the company", async () => {
    const [alone] = await model.contributions([DOCUMENTS[1]!]);
    expect(sums[1]).toEqual(alone);
    const { values, lower, upper } = figures().reap({ resamples: 400, seed: 3 });
    const defined = [...values.keys()].filter((i) => !Number.isNaN(lower[i]!));
    expect(defined.length).toBeGreaterThan(0);
    for (const i of defined) expect(lower[i]! <= values[i]! + 1e-12 && values[i]! <= upper[i]! + 1e-12).toBe(true);
  });

  it("do not count an expert that is zeroed", async () => {
    const [without] = await model.with(zero({ layers: [1], experts: [2] })).contributions([DOCUMENTS[2]!]);
    expect(without!.rows[model.parts.shape.numExperts + 2]).toBe(0);
    expect(sums[2]!.rows[model.parts.shape.numExperts + 2]).toBeGreaterThan(0);
  });

  it("name super experts by magnitude, in the first three quarters of the layers", () => {
    const shape = { moeLayers: [0, 1, 2, 3], numExperts: 100, numLayers: 4 };
    const maxAbs = new Float32Array(400).fill(1);
    maxAbs[7] = 50; // layer 0
    maxAbs[205] = 40; // layer 2
    maxAbs[303] = 90; // layer 3: too late
    const slots = new Float64Array(400);
    const empty = { rows: slots, gate: slots, norm: slots, squaredNorm: slots, gatedNorm: slots };
    const rest = { pairRows: slots, pairCosine: slots, sharedRows: slots, sharedNorm: slots };
    const made = new Contributions([{ ...empty, ...rest, routedNorm: slots, sharedRatio: slots, maxAbs }], shape);
    // Ascending: 397 ones, 40, 50, 90; the 99.5th percentile lies at 397.005, so at 40.05.
    expect(made.superExperts()).toEqual([{ layer: 0, expert: 7, maxAbs: 50 }]);
    expect(() => new Contributions([], shape)).toThrow("at least one document");
  });
});
