/** Items of experiments: lines of files, samples of benchmarks, their answers and their routes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gsm8kMini, mmluMini } from "../../evals/index.js";
import { evaluate } from "../../src/eval/evaluate.js";
import { lineQuestions, type TracedItem, taskQuestions } from "../../src/experiment/questions.js";
import { readScoredLines } from "../../src/experiment/scored-lines.js";
import { Model } from "../../src/model/model.js";
import { seededModel, temporaryFolder } from "../cli/seeded.js";
import { linesOfTwoDomains } from "./lines.js";

const folder = temporaryFolder();
let model: Model;
beforeAll(async () => {
  model = await Model.load(seededModel());
});
afterAll(() => model.dispose());

function fileOf(name: string, ...rows: unknown[]): string {
  const file = join(folder, name);
  writeFileSync(file, rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join("\n"));
  return file;
}

describe("lines of a file", () => {
  it("are texts, continuations or choices, grouped by a column", async () => {
    const file = fileOf(
      "good.jsonl",
      { text: "one two", kind: "a" },
      { id: 7, context: "c", continuation: " d", kind: 3 },
      { id: "x", context: "c", choices: [" d", " e"], answer: 1, kind: "a" },
    );
    expect(await readScoredLines(file, "kind")).toEqual([
      { id: "line-1", group: "a", text: "one two" },
      { id: "7", group: "3", context: "c", continuation: " d" },
      { id: "x", group: "a", context: "c", choices: [" d", " e"], answer: 1 },
    ]);
    expect((await readScoredLines(file)).map(({ group }) => group)).toEqual(["all", "all", "all"]);
  });

  it.each([
    [
      "a column that is not there",
      [{ text: "a", topic: "x" }],
      "domain",
      'Expected a column "domain" with text in line 1 of FILE, it has the columns text, topic.',
    ],
    ["no JSON", ["{"], undefined, "Expected JSON in line 1 of FILE, got"],
    ["another value", ["[1]"], undefined, "Expected a JSON object in line 1 of FILE, got another value."],
    [
      "an answer that is no choice",
      [{ context: "c", choices: ["a", "b"], answer: 2 }],
      undefined,
      "Expected an answer from 0 to 1 in line 1 of FILE, got 2.",
    ],
    [
      "other fields",
      [{ question: "c" }],
      undefined,
      "Expected text, or context and continuation, or context, choices and answer in line 1 of FILE, got the fields question.",
    ],
    [
      "an id twice",
      [
        { id: 1, text: "a" },
        { id: 1, text: "b" },
      ],
      undefined,
      "Expected different ids in FILE, got 1 twice.",
    ],
    ["nothing", [""], undefined, "Expected at least one line of JSON in FILE, got none."],
  ])("refuse %s", async (name, rows, by, sentence) => {
    const file = fileOf(`${name.replaceAll(" ", "-")}.jsonl`, ...(rows as unknown[]));
    await expect(readScoredLines(file, by)).rejects.toThrow(sentence.replace("FILE", file));
  });

  it("get the log-likelihood of their answer, and are right where it is the largest of the choices", async () => {
    const lines = linesOfTwoDomains(3);
    const answers = await lineQuestions(lines, "lines").ask(model);
    for (const [i, line] of lines.entries()) {
      const continuations = line.choices ?? [line.continuation!];
      const results = await model.loglikelihood(
        continuations.map((continuation) => ({ context: line.context!, continuation })),
      );
      const logprobs = results.map(({ logprob }) => logprob);
      const answer = line.answer ?? 0;
      const correct = line.choices === undefined ? null : Number(Math.max(...logprobs) === logprobs[answer]);
      expect(answers[i]).toEqual({
        task: "lines",
        sampleId: line.id,
        group: line.group,
        correct,
        logprob: logprobs[answer],
      });
    }
  });

  it("hand over each token of an item once", async () => {
    const [line] = linesOfTwoDomains(1);
    const items: TracedItem[] = [];
    await lineQuestions([line!], "lines").ask(model, { onTrace: (item) => items.push(item) });
    const tokens = (await model.tokenizer.encode(line!.context!)).length;
    // The context's rows belong to the first request; of a choice all tokens but the last one are read.
    const rows = await Promise.all(line!.choices!.map(async (c) => (await model.tokenizer.encode(c)).length - 1));
    expect(items.map(({ trace }) => trace.numTokens)).toEqual([tokens + rows[0]!, rows[1]!, rows[2]!]);
    expect(items[0]!.trace.keys[0]).toMatchObject({ task: "lines", sampleId: line!.id });
  });

  it("are scored as whole texts where they are texts", async () => {
    const [answer] = await lineQuestions([{ id: "t", group: "all", text: "the cat and the dog" }], "texts").ask(model);
    const ids = await model.tokenizer.encode("the cat and the dog");
    const [direct] = await model.loglikelihood([{ contextIds: ids.slice(0, 1), continuationIds: ids.slice(1) }]);
    expect(answer!.logprob).toBe(direct!.logprob);
  });
});

describe("samples of benchmarks", () => {
  const tasks = () => [mmluMini({ form: "letter", limit: 12 }), gsm8kMini({ limit: 3, maxTokens: 4 })];

  it("have the scores of the harness, grouped by task or by subject", async () => {
    const answers = await taskQuestions(tasks()).ask(model);
    const result = await evaluate(model, tasks());
    const expected = result.tasks.flatMap(({ name, scorer }) =>
      result.scores.get(name)!.map(({ sampleId, scores }) => [name, sampleId, scores[scorer]!.value]),
    );
    expect(answers.map(({ task, sampleId, correct }) => [task, sampleId, correct])).toEqual(expected);
    expect(new Set(answers.map(({ group }) => group))).toEqual(new Set(["mmlu-mini-letter", "gsm8k-mini"]));
    const bySubject = await taskQuestions(tasks(), "subject").ask(model);
    expect(new Set(bySubject.map(({ group }) => group)).size).toBeGreaterThan(5);
  });

  it("may be a part of themselves, which is another identity", async () => {
    const all = taskQuestions(tasks());
    const some = all.subset("problems", ({ group }) => group === "gsm8k-mini");
    expect((await some.ask(model)).map(({ task }) => task)).toEqual(["gsm8k-mini", "gsm8k-mini", "gsm8k-mini"]);
    expect(some.identity).not.toEqual(all.identity);
  });

  it("refuse a column that benchmarks do not have", () => {
    expect(() => taskQuestions(tasks(), "domain")).toThrow(
      'Expected task or subject for benchmarks for by, got "domain".',
    );
  });
});
