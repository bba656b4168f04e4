import { describe, expect, it } from "vitest";
import { PythonRandom } from "../../src/eval/python-random.js";

// Expected values: CPython 3.11.7, random.Random(seed).
describe("PythonRandom", () => {
  it("gives CPython's bits for a seed of one word and of two", () => {
    const one = new PythonRandom(1234);
    expect([1, 2, 3].map(() => one.nextUint32())).toEqual([4150886329, 3342196574, 1892932127]);
    const two = new PythonRandom(2 ** 40 + 7);
    expect([1, 2, 3].map(() => two.nextUint32())).toEqual([2635837658, 3209733218, 3500038837]);
  });

  it("gives CPython's floats", () => {
    const rng = new PythonRandom(1234);
    expect([1, 2, 3].map(() => rng.random())).toEqual([0.9664535356921388, 0.4407325991753527, 0.007491470058587191]);
  });

  it.each([
    [
      7473,
      5,
      [
        [6374, 3610, 957, 61, 742],
        [7462, 6610, 4769, 286, 5501],
        [5677, 687, 806, 6279, 2905],
      ],
    ],
    [
      20,
      5,
      [
        [14, 3, 0, 2, 1],
        [2, 3, 11, 7, 0],
        [0, 19, 11, 15, 14],
      ],
    ],
    [
      30,
      8,
      [
        [24, 14, 3, 0, 2, 18, 1, 21],
        [22, 2, 3, 24, 11, 7, 0, 23],
        [25, 0, 11, 20, 19, 15, 29, 14],
      ],
    ],
    [
      1319,
      3,
      [
        [902, 239, 15],
        [185, 1192, 71],
        [171, 201, 726],
      ],
    ],
    [
      5,
      5,
      [
        [3, 0, 4, 2, 1],
        [0, 4, 1, 3, 2],
        [0, 4, 1, 2, 3],
      ],
    ],
  ])("samples %i choose %i as CPython does, draw after draw", (n, k, expected) => {
    const rng = new PythonRandom(1234);
    expect(expected.map(() => rng.sample(n, k))).toEqual(expected);
  });

  it("agrees far beyond the first refill of the state", () => {
    const rng = new PythonRandom(1234);
    let last = 0;
    for (let i = 0; i < 5000; i++) last = rng.nextUint32();
    expect(last).toBe(221890541);
  });
});
