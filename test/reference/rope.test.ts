import { expect, it } from "vitest";
import type { ReferenceConfig, RopeFields } from "./checkpoint.js";
import { ropeOf, rotate } from "./rope.js";

/** The rope of Qwen2-57B: head of 128, theta 1e6, trained on 32,768 positions. */
function qwen57b(fields: Partial<ReferenceConfig>) {
  return ropeOf({ max_position_embeddings: 32768, rope_theta: 1e6, ...fields } as ReferenceConfig, 128);
}

const YARN: RopeFields = { factor: 2, original_max_position_embeddings: 32768 };

it.each([
  ["older", { rope_scaling: { ...YARN, type: "yarn" } }],
  ["newer", { rope_parameters: { ...YARN, rope_type: "yarn", rope_theta: 1e6 } }],
])("stretches Qwen2-57B to 65,536 positions as its published constants say, %s form", (_, fields) => {
  const { inverseFrequencies, attentionFactor } = qwen57b(fields);
  expect(attentionFactor).toBeCloseTo(1.0693147, 7);
  const expected: [number, number][] = [
    [0, 1],
    [23, 6.978305849e-3],
    [24, 5.458018744e-3],
    [31, 9.489524053e-4],
    [32, 7.352941176e-4],
    [39, 1.168270978e-4],
    [40, 8.89139705e-5],
    [63, 6.204688804e-7],
  ];
  for (const [pair, frequency] of expected) {
    expect(Math.abs(inverseFrequencies[pair]! / frequency - 1), `pair ${pair}`).toBeLessThan(1e-9);
  }
});

it("leaves the angles alone without scaling", () => {
  const { inverseFrequencies, attentionFactor } = qwen57b({});
  expect(attentionFactor).toBe(1);
  expect(inverseFrequencies[32]).toBeCloseTo(1e-3, 12);
});

it("rotates pairs that lie half a head apart, head by head", () => {
  const vector = Float64Array.from([1, 0, 0, 0, 0, 0, 0, 1]);
  rotate(vector, 4, 1, { inverseFrequencies: Float64Array.from([Math.PI / 2, 0.5]), attentionFactor: 2 });
  // Head 0: pair (0, 2) turned by a quarter; head 1: the second half of pair (1, 3) turned by half a radian.
  const expected = [0, 0, 2, 0, 0, -2 * Math.sin(0.5), 0, 2 * Math.cos(0.5)];
  expected.forEach((value, i) => {
    expect(vector[i]).toBeCloseTo(value, 6);
  });
});
