/** Parameters of ollama: read, refused, and applied between the call's and those of the model's files. */
import { describe, expect, it } from "vitest";
import { ollamaDefaults } from "../../src/hub/ollama-params.js";
import { resolveSampling } from "../../src/model/sampling.js";

describe("ollama's parameters", () => {
  it("are read by ollama's names, and what is not about the text is passed over", () => {
    const params = {
      temperature: 0.7,
      top_k: 20,
      repeat_penalty: 1.05,
      num_ctx: 4096,
      num_predict: 64,
      stop: "<|im_end|>",
    };
    expect(ollamaDefaults(params, "ollama:m")).toEqual({
      sampling: { temperature: 0.7, topK: 20, repetitionPenalty: 1.05 },
      maxTokens: 64,
      stop: ["<|im_end|>"],
    });
    expect(ollamaDefaults({ num_predict: -1 }, "ollama:m")).toEqual({ sampling: {}, maxTokens: undefined, stop: [] });
  });

  it.each([
    [{ temperature: "warm" }, 'Expected a number for temperature in the parameters of ollama:m, found "warm".'],
    [{ stop: [1] }, "Expected a string or a list of strings for stop in the parameters of ollama:m, found 1 (number)."],
  ])("%j is refused in one sentence", (params, sentence) => {
    expect(() => ollamaDefaults(params, "ollama:m")).toThrow(sentence);
  });

  it("come after the call's and before generation_config's, greedy last", () => {
    const applied = resolveSampling(
      { topP: 0.5 },
      { doSample: true, topK: 30, temperature: 0.2 },
      { temperature: 0.7, topP: 0.9 },
    );
    expect(applied).toMatchObject({ topP: 0.5, temperature: 0.7, topK: 30, minP: 0 });
    expect(applied.sources).toMatchObject({
      topP: "call",
      temperature: "ollama",
      topK: "generation_config",
      minP: "default",
    });
  });
});
