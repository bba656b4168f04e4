import { describe, expect, it } from "vitest";
import { cevalMini, gsm8kMini, MINI_FORMS, mmluMini } from "../../evals/mini.js";
import { evaluate, type LoadedTask, scriptedModel } from "../../src/index.js";

// Prompts as evals/mini/README.md writes them.

const firstRequests = (task: LoadedTask, index: number = 0) => task.requests(task.samples[index]!);

describe("the mini suites' prompts", () => {
  it.each([
    [mmluMini, "Question: ", "Answer:"],
    [cevalMini, "问题: ", "答案:"],
  ])("put choices in three forms", async (suite, asking, answering) => {
    const chat = await suite().load();
    const { question, choices } = chat.samples[0]!.doc;
    const lines = `A. ${choices[0]}\nB. ${choices[1]}\nC. ${choices[2]}\nD. ${choices[3]}`;
    expect(firstRequests(chat)).toMatchObject([
      {
        kind: "chat",
        messages: [{ role: "user", content: `${question}\n${lines}` }],
        maxTokens: 48,
        sampling: { temperature: 0, repetitionPenalty: 1 },
      },
    ]);
    const letters = await suite({ form: "letter" }).load();
    const context = `${asking}${question}\n${lines}\n${answering}`;
    expect(firstRequests(letters)).toEqual(
      [" A", " B", " C", " D"].map((continuation) => ({ kind: "loglikelihood", context, continuation })),
    );
    const cloze = await suite({ form: "cloze" }).load();
    expect(firstRequests(cloze)).toEqual(
      choices.map((choice) => ({
        kind: "loglikelihood",
        context: `${asking}${question}\n${answering}`,
        continuation: ` ${choice}<|endoftext|>`,
        parseSpecial: true,
      })),
    );
  });

  it("put word problems in two forms", async () => {
    const chat = await gsm8kMini().load();
    const { question } = chat.samples[0]!.doc;
    expect(firstRequests(chat)).toMatchObject([
      { kind: "chat", messages: [{ role: "user", content: question }], maxTokens: 64 },
    ]);
    const plain = await gsm8kMini({ form: "plain" }).load();
    expect(firstRequests(plain)).toMatchObject([
      { kind: "generate", prompt: `Question: ${question}\nAnswer:`, maxTokens: 64 },
    ]);
  });
});

describe("the mini suites' scores", () => {
  it("read the letter that ends the reply", async () => {
    const task = mmluMini({ limit: 4 });
    const { samples } = await task.load();
    const right = samples.map(({ target }) => target);
    const other = right[1] === "A" ? "B" : "A";
    const answers = [
      `A. x A\nB. y B\nAnswer: x ${right[0]}`,
      `Answer: x ${right[1]}\nAnswer: y ${other}`,
      `Answer: ${right[2]}`,
      `答案: 北京 ${right[3]}\n`,
    ];
    const result = await evaluate(scriptedModel({ chat: () => answers.shift()! }), [task]);
    const verdicts = result.scores.get("mmlu-mini")!.map(({ scores }) => scores.accuracy!);
    expect(verdicts).toEqual([
      { value: 1, answer: right[0] },
      { value: 0, answer: other },
      { value: 0, answer: null },
      { value: 1, answer: right[3] },
    ]);
    expect(result.tasks[0]!.metrics[0]!.estimate).toMatchObject({ value: 0.5, n: 4, noAnswer: 1 });
    expect(result.tasks[0]!.metrics.slice(1).every((row) => row.isLeaf && row.path.length === 1)).toBe(true);
  });

  it("take the likeliest choice", async () => {
    const task = cevalMini({ form: "cloze", limit: 20 });
    const { samples } = await task.load();
    const wanted = new Set(samples.slice(0, 10).map(({ doc }) => `${doc.question}${doc.choices[doc.answer]}`));
    const model = scriptedModel({
      loglikelihood: ({ context, continuation }) => {
        const question = (context as string).slice("问题: ".length, -"\n答案:".length);
        return wanted.has(question + continuation.slice(1).replace("<|endoftext|>", "")) ? -1 : -2;
      },
    });
    const result = await evaluate(model, [task]);
    const values = result.scores.get("ceval-mini-cloze")!.map(({ scores }) => scores.accuracy!.value);
    const firstIsRight = samples.slice(10).filter(({ target }) => target === "A").length;
    expect(values.slice(0, 10)).toEqual(Array(10).fill(1));
    expect(values.slice(10).filter((value) => value === 1).length).toBe(firstIsRight);
  });

  it("read the first number after the mark", async () => {
    const task = gsm8kMini({ limit: 4 });
    const { samples } = await task.load();
    const right = samples.map(({ doc }) => doc.answer);
    const answers = [right[0]!, `#### ${Number(samples[1]!.target) + 1}\n${right[1]}`, samples[2]!.target, "#### -0"];
    const result = await evaluate(scriptedModel({ chat: () => answers.shift()! }), [task]);
    expect(result.scores.get("gsm8k-mini")!.map(({ scores }) => scores.accuracy!.value)).toEqual([1, 0, 0, 0]);
  });

  it("refuse a form that a suite has not", () => {
    expect(MINI_FORMS["gsm8k-mini"]).not.toContain("cloze");
    expect(() => gsm8kMini({ form: "cloze" })).toThrow(
      'Expected a form of gsm8k-mini (chat, plain) for form, got "cloze".',
    );
  });
});

describe("the mini suites' data", () => {
  it.each([mmluMini, cevalMini, gsm8kMini])("has 100 to 300 items with different ids and questions", async (suite) => {
    const { samples, dataset } = await suite().load();
    expect(samples.length).toBeGreaterThanOrEqual(100);
    expect(samples.length).toBeLessThanOrEqual(300);
    expect(dataset.rows).toBe(samples.length);
    expect(new Set(samples.map(({ id }) => id)).size).toBe(samples.length);
  });
});
