import { describe, expect, it } from "vitest";
import { ropeFrequencies } from "../../src/checkpoint/rope.js";
import { checkYarn, completeYarn, ropeSettings } from "../../src/checkpoint/rope-scaling.js";

/** Distance in float32 steps. */
function stepsApart(a: number, b: number): number {
  const bits = new Int32Array(new Float32Array([a, b]).buffer);
  return Math.abs(bits[0]! - bits[1]!);
}

/**
 * Values that transformers 5.23.0 gives (`ROPE_INIT_FUNCTIONS["yarn"]`, PyTorch 2.15.0, x86-64). PyTorch's power is itself off
 * by up to one step where it is vectorised, and the division that follows may double that, hence two.
 */
const REFERENCE_STEPS = 2;

describe("YaRN", () => {
  const yarn = completeYarn({ factor: 2, originalMaxPositionEmbeddings: 32768 }, 32768);

  it("has the bounds, factor and angles of Qwen2-57B-A14B at 65,536 tokens", () => {
    const { invFreq, attentionFactor, scaling } = ropeFrequencies(128, 1e6, yarn);
    expect(scaling).toMatchObject({ type: "yarn", factor: 2, originalMaxPositionEmbeddings: 32768, low: 23, high: 40 });
    expect(attentionFactor).toBeCloseTo(1.0693147, 7);
    const golden: Array<[number, number]> = [
      [0, 1],
      [23, 6.978305849e-3],
      [24, 5.458018744e-3],
      [31, 9.489524053e-4],
      [32, 7.352941176e-4],
      [39, 1.168270978e-4],
      [40, 8.89139705e-5],
      [63, 6.204688804e-7],
    ];
    for (const [pair, value] of golden)
      expect(stepsApart(invFreq[pair]!, value), `pair ${pair}`).toBeLessThanOrEqual(REFERENCE_STEPS);
  });

  it("agrees with transformers on other shapes of ramp", () => {
    const cases = [
      {
        // factor 16 over 4096 tokens, bounds not rounded
        frequencies: ropeFrequencies(
          128,
          5e6,
          completeYarn({ factor: 16, originalMaxPositionEmbeddings: 4096, truncate: false }, 65536),
        ),
        low: 12.506090701752294,
        high: 26.885853344385872,
        attentionFactor: 1.2772588722239782,
        invFreq: { 12: 0.0554553084, 13: 0.0421751849, 20: 0.00412436388, 26: 0.000228371937, 63: 1.59067479e-8 },
      },
      {
        // beta_fast 16, beta_slow 2
        frequencies: ropeFrequencies(
          96,
          1e6,
          completeYarn({ factor: 3.5, originalMaxPositionEmbeddings: 8192, betaFast: 16, betaSlow: 2 }, 28672),
        ),
        low: 15,
        high: 23,
        attentionFactor: 1.125276296849537,
        invFreq: { 15: 0.0133352149, 19: 0.00271090562, 22: 0.000666854612, 23: 0.000381006161, 47: 3.81006004e-7 },
      },
      {
        // both bounds at pair 0: the whole ramp is a step
        frequencies: ropeFrequencies(32, 10000, completeYarn({ factor: 40, originalMaxPositionEmbeddings: 4 }, 160)),
        low: 0,
        high: -0,
        attentionFactor: 1.3688879454113936,
        invFreq: { 0: 1, 1: 0.0140585322, 7: 0.000444569858, 15: 4.44569832e-6 },
      },
    ];
    for (const { frequencies, low, high, attentionFactor, invFreq } of cases) {
      expect(frequencies.scaling).toMatchObject({ low, high });
      expect(frequencies.attentionFactor).toBeCloseTo(attentionFactor, 14);
      for (const [pair, value] of Object.entries(invFreq)) {
        expect(stepsApart(frequencies.invFreq[Number(pair)]!, value), `pair ${pair}`).toBeLessThanOrEqual(
          REFERENCE_STEPS,
        );
      }
    }
  });

  it("takes the attention factor from mscale, or as stated", () => {
    expect(completeYarn({ factor: 8, mscale: 0.6, mscaleAllDim: 1 }, 8192).attentionFactor).toBeCloseTo(
      0.9311411364671198,
      14,
    );
    expect(completeYarn({ factor: 8, mscale: 0.6 }, 8192).attentionFactor).toBeCloseTo(1.2079441541679836, 14);
    expect(completeYarn({ factor: 8, attentionFactor: 1.5, mscale: 1, mscaleAllDim: 1 }, 8192).attentionFactor).toBe(
      1.5,
    );
    expect(completeYarn({ factor: 1 }, 8192).attentionFactor).toBe(1);
  });

  it("lets an explicit factor win over max_position_embeddings / original", () => {
    expect(completeYarn({ factor: 2, originalMaxPositionEmbeddings: 32768 }, 32768).factor).toBe(2);
    expect(completeYarn({ originalMaxPositionEmbeddings: 32768 }, 131072).factor).toBe(4);
    expect(completeYarn({ factor: 2 }, 4096).originalMaxPositionEmbeddings).toBe(4096);
    expect(completeYarn({ factor: 2, betaFast: 0, betaSlow: 0 }, 4096)).toMatchObject({ betaFast: 32, betaSlow: 1 });
  });

  it("refuses numbers that mean nothing", () => {
    for (const bad of [
      { factor: 0.5 },
      { factor: Number.NaN },
      { betaFast: -1 },
      { betaSlow: -1 },
      { attentionFactor: 0 },
    ]) {
      expect(() => checkYarn({ ...yarn, ...bad }, "config.json"), JSON.stringify(bad)).toThrow(
        /^Expected .* for YaRN in config.json, found/,
      );
    }
  });
});

describe("plain rope", () => {
  it("is 1 / theta^(2i / headDim) to the nearest float32", () => {
    const { invFreq, attentionFactor, scaling } = ropeFrequencies(8, 10000, null);
    expect([...invFreq]).toEqual([1, Math.fround(0.1), Math.fround(0.01), Math.fround(0.001)]);
    expect(attentionFactor).toBe(1);
    expect(scaling).toBeNull();
  });
});

describe("a caller's word", () => {
  const stated = { theta: 1e6, yarn: null };
  const yarn = completeYarn({ factor: 2, originalMaxPositionEmbeddings: 64 }, 64);

  it("stretches the context", () => {
    const settings = ropeSettings(128, stated, 32768, { ropeScaling: { type: "yarn", factor: 2 } });
    expect(settings.maxContext).toBe(65536);
    expect(settings.ropeScaling).toMatchObject({ originalMaxPositionEmbeddings: 32768, low: 23, high: 40 });
    expect(settings.ropeAttentionFactor).toBeCloseTo(1.0693147, 7);
  });

  it("keeps the file's original context, or turns its scaling off", () => {
    const file = { theta: 1e6, yarn };
    expect(ropeSettings(128, file, 64, {}).maxContext).toBe(128);
    expect(ropeSettings(128, file, 64, { ropeScaling: { type: "yarn", factor: 4 } })).toMatchObject({
      maxContext: 256,
      ropeScaling: { originalMaxPositionEmbeddings: 64, factor: 4 },
    });
    expect(ropeSettings(128, file, 64, { ropeScaling: null })).toMatchObject({ maxContext: 64, ropeScaling: null });
  });

  it("shortens the context, and is refused where it asks for more than there is", () => {
    expect(ropeSettings(128, stated, 4096, { maxContext: 100 }).maxContext).toBe(100);
    const ask = (maxContext: number) => () => ropeSettings(128, stated, 4096, { maxContext });
    expect(ask(4097)).toThrow(
      "Expected at most the 4096 tokens of this model (ropeScaling stretches them) for maxContext, got 4097 (number).",
    );
    expect(ask(0)).toThrow("Expected a whole number of tokens above 0 for maxContext, got 0 (number).");
    expect(ask(1.5)).toThrow("Expected a whole number of tokens above 0 for maxContext, got 1.5 (number).");
  });

  it("is refused where it is no scaling", () => {
    const ask = (ropeScaling: object) => () => ropeSettings(128, stated, 4096, { ropeScaling: ropeScaling as never });
    expect(ask({ type: "linear", factor: 2 })).toThrow(
      'Expected "yarn" (or ropeScaling null for none) for ropeScaling.type, got "linear".',
    );
    expect(ask({ type: "yarn" })).toThrow("Expected a number of at least 1 for ropeScaling.factor, got undefined.");
    expect(ask({ type: "yarn", factor: 0.5 })).toThrow(
      "Expected a number of at least 1 for ropeScaling.factor, got 0.5 (number).",
    );
    expect(ask({ type: "yarn", factor: 2, betaFast: "32" })).toThrow(
      'Expected a number above 0 for ropeScaling.betaFast, got "32".',
    );
    expect(ask({ type: "yarn", factor: 2, beta: 1 })).toThrow(
      /^Expected the keys type, factor, .* for ropeScaling, got "beta"\.$/,
    );
  });
});
