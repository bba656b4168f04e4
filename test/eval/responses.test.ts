import { describe, expect, it } from "vitest";
import { generatedText, greedyChoice, type SampleResponse } from "../../src/index.js";

const scored = (logprob: number): SampleResponse => {
  return { kind: "loglikelihood", logprob, tokenLogprobs: [logprob], tokenIds: [0], isGreedy: false };
};

describe("greedyChoice", () => {
  it("takes the likeliest, the first on ties, even where nothing is possible", () => {
    expect(greedyChoice([-2, -1, -3].map(scored))).toBe(1);
    expect(greedyChoice([-2, -1, -1].map(scored))).toBe(1);
    expect(greedyChoice([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY].map(scored))).toBe(0);
  });

  it("does not take NaN for an answer", () => {
    expect(() => greedyChoice([scored(-1), scored(Number.NaN)])).toThrow("Expected a log-likelihood for choice 1");
  });
});

describe("generatedText", () => {
  it("wants a generation", () => {
    expect(generatedText({ kind: "chat", text: "x", tokenIds: [], finishReason: "eos", promptTokens: 0 })).toBe("x");
    expect(() => generatedText(scored(-1))).toThrow("Expected a generated text, got loglikelihood.");
    expect(() => generatedText(undefined)).toThrow("got no response.");
  });
});
