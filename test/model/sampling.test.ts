/** Which sampling parameters are applied, and which rows of a vocabulary may be drawn. */
import { describe, expect, it } from "vitest";
import { formatSampling, resolveSampling, tokensWithText, toSampleSpec } from "../../src/model/sampling.js";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.js";

describe("sampling parameters", () => {
  it("come from the call, else from the model's files, else are greedy; each says from where", () => {
    const applied = resolveSampling(
      { temperature: 0, topK: 5, seed: 3 },
      { doSample: true, temperature: 0.7, topK: 20, topP: 0.8, repetitionPenalty: 1.05 },
    );
    expect(applied).toMatchObject({ temperature: 0, topK: 5, topP: 0.8, minP: 0, repetitionPenalty: 1.05, seed: 3 });
    expect(applied.sources).toEqual({
      temperature: "call",
      topK: "call",
      topP: "generation_config",
      minP: "default",
      repetitionPenalty: "generation_config",
      presencePenalty: "default",
      frequencyPenalty: "default",
      seed: "call",
    });
    expect(formatSampling(applied)).toBe(
      "greedy, topK 5, topP 0.8 (generation_config), repetitionPenalty 1.05 (generation_config)",
    );
  });

  it.each([
    [{}, 0],
    [{ temperature: 0.6 }, 0.6],
    [{ doSample: true, temperature: 0.6 }, 0.6],
    [{ doSample: true }, 1], // transformers' default temperature
    [{ doSample: false, temperature: 0.6 }, 0],
  ])("take a temperature from %j as transformers does: %d", (defaults, expected) => {
    expect(resolveSampling({}, defaults).temperature).toBe(expected);
    expect(resolveSampling({ temperature: 0.25 }, defaults).temperature).toBe(0.25);
  });

  it.each([
    [{ temperature: -1 }, "temperature"],
    [{ temperature: Number.NaN }, "temperature"],
    [{ topP: 1.01 }, "topP"],
    [{ topK: 1.5 }, "topK"],
    [{ minP: -0.1 }, "minP"],
    [{ repetitionPenalty: 0 }, "repetitionPenalty"],
    [{ presencePenalty: 101 }, "presencePenalty"],
    [{ seed: -1 }, "seed"],
    [{ seed: 0.5 }, "seed"],
    [{ topK: "40" as unknown as number }, "topK"],
  ])("out of range are refused by name: %j", (call, name) => {
    expect(() => resolveSampling(call, {})).toThrow(new RegExp(` for ${name}, got `));
  });

  it("hand the tokens so far to native code where a penalty needs them, and only there", () => {
    const tokens = () => Int32Array.of(4, 5, 6);
    const plain = resolveSampling({ temperature: 1 }, {});
    expect(toSampleSpec(plain, tokens, 2, 0).penaltyTokens).toHaveLength(0);
    for (const name of ["repetitionPenalty", "presencePenalty", "frequencyPenalty"] as const) {
      const spec = toSampleSpec({ ...plain, [name]: 1.5 }, tokens, 2, 9);
      expect(spec).toMatchObject({ [name]: 1.5, penaltyTokens: tokens(), generatedStart: 2, stream: 9 });
    }
  });
});

it("keeps rows of the vocabulary that stand for no text from being drawn", () => {
  // Ids 0 to 39 are tokens but 33; a token without a piece may still have bytes.
  const tokenizer = {
    tokenPiece: (id: number) => (id < 40 && id !== 33 && id !== 34 ? `t${id}` : undefined),
    tokenBytes: (id: number) => (id === 34 ? Uint8Array.of(0xff) : new Uint8Array()),
  } as Tokenizer;
  const allowed = tokensWithText(tokenizer, 70)!;
  const isAllowed = (id: number) => ((allowed[id >> 5]! >>> (id & 31)) & 1) === 1;
  const drawn = Array.from({ length: 70 }, (_, id) => id).filter(isAllowed);
  expect(drawn).toEqual(Array.from({ length: 40 }, (_, id) => id).filter((id) => id !== 33));
  expect(tokensWithText(tokenizer, 33)).toBeUndefined();
});
