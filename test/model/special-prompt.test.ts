/** A conversation that a benchmark writes out itself has to reach the model as the one that the chat template writes. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededModelFolder } from "../../src/cli/seeded-model.js";
import { GREEDY } from "../../src/eval/language-model.js";
import { Model } from "../../src/model/model.js";
import { packageRoot } from "../../src/native/addon.js";

describe("a prompt with special tokens", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(seededModelFolder(join(packageRoot(), "models", "demo")));
  });
  afterAll(() => model.dispose());

  it("is read as them where the request says so, and as text otherwise", async () => {
    const messages = [{ role: "user" as const, content: "What is 2 + 2?" }];
    const limits = { stop: [], maxTokens: 8, sampling: GREEDY };
    const { text, ids } = await model.encodeChat(messages);
    const view = model.toLanguageModel();
    const [chat] = await view.chat([{ messages, ...limits }]);
    const [parsed, plain] = await view.generate([
      { prompt: text, parseSpecial: true, ...limits },
      { prompt: text, ...limits },
    ]);
    expect(chat!.promptTokens).toBe(ids.length);
    expect(parsed).toMatchObject({ promptTokens: ids.length, tokenIds: chat!.tokenIds });
    expect(plain!.promptTokens).toBeGreaterThan(ids.length);
  });

  it("scores a special token behind a choice as that token where the request says so", async () => {
    const request = { context: "Question: 2 + 2?\nAnswer:", continuation: " 4<|endoftext|>" };
    const view = model.toLanguageModel();
    const [parsed, plain] = await view.loglikelihood([{ ...request, parseSpecial: true }, request]);
    const [end] = await model.tokenizer.encode("<|endoftext|>", { parseSpecial: true });
    expect(parsed!.tokenIds.at(-1)).toBe(end);
    expect([...plain!.tokenIds]).not.toContain(end);
  });
});
