import { describe, expect, it } from "vitest";
import { mmlu } from "../../evals/mmlu.js";
import { evaluate, type PromptForm, scriptedModel } from "../../src/index.js";
import { shared, skipReason } from "../eval/shared.js";
import { digestOfPrompts, expectAggregate, promptDigests, promptText, readRun, replay } from "./lm-eval.js";

const dataDir = shared("data");
const FORMS: Record<string, PromptForm> = { plain: "text", chat: "chat", chat_multiturn: "chat-multiturn" };

describe("MMLU, track ref", () => {
  it.skipIf(skipReason).each([
    ["mmlu", "text"],
    ["mmlu_chat", "chat"],
    ["mmlu_chat_multiturn", "chat-multiturn"],
  ] as const)(`gives the harness's prompts and continuations: %s${skipReason}`, async (file, form) => {
    const { items } = readRun(file);
    const task = await mmlu({ dataDir, form }).load();
    const samples = new Map(task.samples.map((sample) => [sample.id, sample]));
    expect(items.length).toBeGreaterThan(0);
    for (const item of items) {
      const sample = samples.get(`${item.task.replace("mmlu_", "")}/${item.doc_id}`)!;
      const requests = task.requests(sample);
      expect(requests.map(promptText)).toEqual(Array(4).fill(item.context));
      expect(requests.map((r) => r.kind === "loglikelihood" && r.continuation)).toEqual(
        item.requests.map((r) => r.continuation),
      );
      expect("ABCD".indexOf(sample.target)).toBe(item.target);
    }
  });

  it.skipIf(skipReason)(`gives the prompts of every subject in every form${skipReason}`, async () => {
    const digests = promptDigests((task) => task.startsWith("mmlu_") && !task.startsWith("mmlu_pro"));
    expect(new Set(digests.map((d) => d.task)).size).toBeGreaterThan(20);
    for (const digest of digests) {
      const subjects = [digest.task.replace("mmlu_", "")];
      const task = await mmlu({ dataDir, subjects, form: FORMS[digest.mode]! }).load();
      expect(task.samples.length, digest.task).toBe(digest.n_docs);
      const continuations = task.requests(task.samples[0]!).map((r) => r.kind === "loglikelihood" && r.continuation);
      expect(continuations).toEqual(digest.continuations);
      expect(digestOfPrompts(task), `${digest.task} ${digest.mode}`).toBe(digest.sha256_of_all);
    }
  });

  it.skipIf(skipReason)(`has the official 14,042 questions in 57 subjects${skipReason}`, async () => {
    const task = await mmlu({ dataDir }).load();
    expect(task.samples.length).toBe(14_042);
    expect(task.dataset.rows).toBe(task.dataset.officialRows);
    expect(new Set(task.samples.map((s) => s.group)).size).toBe(57);
    expect(new Set(task.samples.map((s) => s.id)).size).toBe(14_042);
  });

  it.skipIf(skipReason).each([
    ["mmlu", "text"],
    ["mmlu_chat", "chat"],
    ["mmlu_chat_multiturn", "chat-multiturn"],
  ] as const)(
    `chooses, scores and aggregates like the harness on its own log-likelihoods: %s${skipReason}`,
    async (file, form) => {
      const { run, items } = readRun(file);
      const sampleIds = items.map((item) => `${item.task.replace("mmlu_", "")}/${item.doc_id}`);
      const result = await evaluate(scriptedModel(replay(items)), [mmlu({ dataDir, form, sampleIds })]);
      const scores = new Map(result.scores.get("mmlu")!.map((score) => [score.sampleId, score.scores.acc!]));
      items.forEach((item, i) => {
        expect(scores.get(sampleIds[i]!)).toEqual({ value: item.metrics.acc, answer: "ABCD"[item.prediction] });
      });
      const rows = new Map(result.tasks[0]!.metrics.map((row) => [["mmlu", ...row.path].at(-1)!, row.estimate]));
      for (const [name, aggregate] of Object.entries(run.aggregates)) {
        const estimate = rows.get(name === "mmlu" ? name : name.replace("mmlu_", ""))!;
        expect(estimate.n, name).toBe(run.n[name]);
        expectAggregate(estimate, aggregate["acc,none"]!, aggregate["acc_stderr,none"]!);
      }
    },
  );
});

describe("MMLU, track qwen", () => {
  it.skipIf(skipReason)(`puts OpenCompass's hint, shots and question${skipReason}`, async () => {
    const task = await mmlu({ dataDir, track: "qwen", subjects: ["abstract_algebra"] }).load();
    const [request] = task.requests(task.samples[0]!);
    const messages = request?.kind === "chat" ? request.messages : [];
    expect(messages.map((m) => m.role)).toEqual([...Array(5).fill(["user", "assistant"]).flat(), "user"]);
    const hint =
      "There is a single choice question about abstract algebra. Answer the question by replying A, B, C or D.";
    expect(messages[0]!.content).toMatch(
      new RegExp(`^${hint}\\nQuestion: Find all c in Z_3 .*\\nA\\. 0\\nB\\. 1\\nC\\. 2\\nD\\. 3\\nAnswer: $`),
    );
    expect(messages[1]!.content).toBe("B\n");
    expect(messages.at(-1)!.content).toMatch(
      new RegExp(`^${hint}\\nQ: Find the degree .*\\nA\\. 0\\nB\\. 4\\nC\\. 2\\nD\\. 6\\nA: $`),
    );
  });

  it.skipIf(skipReason)(`gives both means, and tells no answer from a wrong one${skipReason}`, async () => {
    const sampleIds = ["abstract_algebra/0", "abstract_algebra/1", "abstract_algebra/2", "anatomy/0"];
    // Right answers: B, C, D, A.
    const answers = ["(B)", "none of these", "The answer is: A", "A"];
    const model = scriptedModel({ chat: () => answers.shift()! });
    const result = await evaluate(model, [mmlu({ dataDir, track: "qwen", sampleIds })]);
    const [macro, ...rest] = result.tasks[0]!.metrics.filter((row) => row.path.length === 0);
    expect(macro!.estimate.value).toBeCloseTo((1 / 3 + 1) / 2, 15);
    expect(rest.map((row) => row.estimate.value)).toEqual([0.5]);
    expect(macro!.estimate).toMatchObject({ n: 4, noAnswer: 1, unscored: 0 });
    expect(result.scores.get("mmlu")!.map((s) => s.scores.accuracy!.answer)).toEqual(["B", null, "A", "A"]);
  });
});

describe("MMLU's data", () => {
  it("names what is missing and the command that brings it", async () => {
    await expect(mmlu({ dataDir: "/nowhere" }).load()).rejects.toThrow(
      /mmlu\/test\/abstract_algebra_test.csv.* and 111 more missing; to fetch them: moescope data get mmlu --dir \/nowhere/,
    );
  });

  it("refuses subjects and shots that do not exist", () => {
    expect(() => mmlu({ subjects: ["alchemy"] })).toThrow(/^Expected subjects of MMLU .* got "alchemy"\.$/);
    expect(() => mmlu({ numFewshot: 6 })).toThrow(/^Expected a whole number from 0 to 5/);
  });

  it.skipIf(skipReason)(`spreads a limit over the subjects${skipReason}`, async () => {
    const task = await mmlu({ dataDir, limit: 100 }).load();
    const counts = new Map<string, number>();
    for (const { group } of task.samples) counts.set(group, (counts.get(group) ?? 0) + 1);
    expect(counts.size).toBe(57);
    expect(Math.max(...counts.values()) - Math.min(...counts.values())).toBe(1);
  });
});
