import { describe, expect, it } from "vitest";
import { type HumanEvalMiniForm, humanevalMini } from "../../evals/humaneval-mini.js";
import { evaluate, scriptedModel } from "../../src/index.js";
import { sandboxHere, scriptedSandbox } from "../eval/sandbox/here.js";

describe("humaneval-mini", () => {
  it("asks in two forms", async () => {
    const plain = await humanevalMini({ sandbox: scriptedSandbox() }).load();
    const chat = await humanevalMini({ form: "chat", sandbox: scriptedSandbox() }).load();
    const { prompt } = plain.samples[0]!.doc;
    expect(plain.samples.length).toBe(164);
    expect(plain.requests(plain.samples[0]!)).toMatchObject([{ kind: "generate", prompt, maxTokens: 48 }]);
    const content = `Complete this Python function.\n${prompt}`;
    expect(chat.requests(chat.samples[0]!)).toMatchObject([
      { kind: "chat", messages: [{ role: "user", content }], maxTokens: 72 },
    ]);
  });

  it("passes all its own solutions, as a continuation and as a whole function", {
    timeout: 120_000,
  }, async (context) => {
    const sandbox = await sandboxHere(context);
    const { samples } = await humanevalMini({ sandbox }).load();
    const solutionOf = (text: string): string => {
      const { doc } = samples.find((sample) => text.endsWith(sample.doc.prompt))!;
      return doc.canonical_solution;
    };
    const model = scriptedModel({
      generate: ({ prompt }) => solutionOf(prompt),
      chat: ({ messages }) => messages[0]!.content.replace(/^.*\n/, "") + solutionOf(messages[0]!.content),
    });
    const tasks = [humanevalMini({ sandbox }), humanevalMini({ form: "chat", sandbox, limit: 4 })];
    const result = await evaluate(model, tasks);
    expect(result.tasks.map(({ metrics }) => [metrics[0]!.estimate.value, metrics[0]!.estimate.n])).toEqual([
      [1, 164],
      [1, 4],
    ]);
  });

  it("refuses a form that it does not have", () => {
    expect(() => humanevalMini({ form: "cloze" as HumanEvalMiniForm })).toThrow(
      'Expected a form of humaneval-mini (plain, chat) for form, got "cloze".',
    );
  });
});
