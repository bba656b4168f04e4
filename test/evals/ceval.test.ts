import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ceval } from "../../evals/ceval.js";
import { readZip } from "../../src/eval/zip.js";
import { csvRows, evaluate, scriptedModel } from "../../src/index.js";
import { shared, skipReason } from "../eval/shared.js";
import { digestOfPrompts, expectAggregate, promptDigests, promptText, readRun, replay } from "./lm-eval.js";

const dataDir = shared("data");
const idOf = (item: { task: string; doc_id: number }): string =>
  `${item.task.replace("ceval-valid_", "")}/${item.doc_id}`;

describe("C-Eval, track ref", () => {
  it.skipIf(skipReason)(`gives the harness's prompts and continuations${skipReason}`, async () => {
    const { items } = readRun("ceval");
    const task = await ceval({ dataDir }).load();
    const samples = new Map(task.samples.map((sample) => [sample.id, sample]));
    expect(items.length).toBeGreaterThan(0);
    for (const item of items) {
      const sample = samples.get(idOf(item))!;
      const requests = task.requests(sample);
      expect(requests.map(promptText)).toEqual(Array(4).fill(item.context));
      expect(requests.map((r) => r.kind === "loglikelihood" && r.continuation)).toEqual(
        item.requests.map((r) => r.continuation),
      );
      expect("ABCD".indexOf(sample.target)).toBe(item.target);
    }
  });

  it.skipIf(skipReason)(`gives the prompts of every subject in every form${skipReason}`, async () => {
    const forms = { plain: "text", chat: "chat", chat_multiturn: "chat-multiturn" } as const;
    const digests = promptDigests((task) => task.startsWith("ceval-valid_"));
    expect(new Set(digests.map((d) => d.task)).size).toBeGreaterThan(20);
    for (const digest of digests) {
      const subjects = [digest.task.replace("ceval-valid_", "")];
      const task = await ceval({ dataDir, subjects, form: forms[digest.mode] }).load();
      expect(task.samples.length, digest.task).toBe(digest.n_docs);
      const continuations = task.requests(task.samples[0]!).map((r) => r.kind === "loglikelihood" && r.continuation);
      expect(continuations).toEqual(digest.continuations);
      expect(digestOfPrompts(task), `${digest.task} ${digest.mode}`).toBe(digest.sha256_of_all);
    }
  });

  it.skipIf(skipReason)(`chooses, scores and aggregates like the harness on its own numbers${skipReason}`, async () => {
    const { run, items } = readRun("ceval");
    const sampleIds = items.map(idOf);
    const result = await evaluate(scriptedModel(replay(items)), [ceval({ dataDir, sampleIds })]);
    const scores = new Map(result.scores.get("ceval")!.map((score) => [score.sampleId, score.scores.acc!]));
    items.forEach((item, i) => {
      expect(scores.get(sampleIds[i]!)).toEqual({ value: item.metrics.acc, answer: "ABCD"[item.prediction] });
    });
    const rows = new Map(result.tasks[0]!.metrics.map((row) => [["ceval-valid", ...row.path].at(-1)!, row.estimate]));
    for (const [name, aggregate] of Object.entries(run.aggregates)) {
      const estimate = rows.get(name.replace("ceval-valid_", ""))!;
      expect(estimate.n, name).toBe(run.n[name]);
      expectAggregate(estimate, aggregate["acc,none"]!, aggregate["acc_stderr,none"]!);
    }
  });

  it.skipIf(skipReason)(`has the official counts, and names subjects as C-Eval does${skipReason}`, async () => {
    const mapping = JSON.parse(readFileSync(shared("data/ceval/subject_mapping.json"), "utf8")) as Record<
      string,
      [english: string, chinese: string, category: string]
    >;
    for (const [split, rows] of [
      ["val", 1346],
      ["test", 12_342],
    ] as const) {
      const task = await ceval({ dataDir, split }).load();
      expect(task.samples.length).toBe(rows);
      expect(task.dataset).toMatchObject({ rows, officialRows: rows });
      expect(new Set(task.samples.map((s) => s.id)).size).toBe(rows);
      expect(new Set(task.samples.map((s) => s.group))).toEqual(new Set(Object.keys(mapping)));
      for (const { name, children } of task.groups.children!) {
        for (const subject of children!) {
          expect(mapping[subject.name]![2].toLowerCase().replace(" ", "_"), subject.name).toBe(name);
        }
      }
      for (const sample of task.samples) {
        const text = promptText(task.requests(sample)[0]!);
        expect(text.startsWith(`以下是中国关于${mapping[sample.group]![1]}的单项选择题`)).toBe(true);
      }
    }
  });
});

describe("C-Eval, track qwen", () => {
  it.skipIf(skipReason)(`asks the bare question${skipReason}`, async () => {
    const task = await ceval({ dataDir, track: "qwen", subjects: ["computer_network"] }).load();
    const [request, ...others] = task.requests(task.samples[0]!);
    expect(others).toEqual([]);
    expect(request).toMatchObject({ kind: "chat", stop: [], sampling: { temperature: 0, repetitionPenalty: 1 } });
    expect(request?.kind === "chat" && request.messages).toEqual([
      {
        role: "user",
        content:
          "使用位填充方法，以01111110为位首flag，数据为011011111111111111110010，求问传送时要添加几个0____\n\nA. 1\nB. 2\nC. 3\nD. 4\n",
      },
    ]);
  });

  it.skipIf(skipReason)(
    `gives means over subjects and questions, of Hard, and the share of guesses${skipReason}`,
    async () => {
      const sampleIds = ["college_physics/0", "law/0", "law/1", "law/2"];
      const probe = await ceval({ dataDir, track: "qwen", sampleIds }).load();
      const right = probe.samples.map(({ target }) => target);
      expect(probe.samples.map(({ id }) => id)).toEqual(sampleIds);
      const wrong = (letter: string): string => (letter === "A" ? "B" : "A");
      const answers = [`选${right[0]}`, right[1]!, wrong(right[2]!), "？"];
      const model = scriptedModel({ chat: () => answers.shift()! });
      const result = await evaluate(model, [ceval({ dataDir, track: "qwen", sampleIds })]);
      const scores = result.scores.get("ceval")!.map((s) => s.scores.accuracy!.value!);
      expect(scores.slice(0, 3)).toEqual([1, 1, 0]);
      const whole = result.tasks[0]!.metrics.filter((row) => row.path.length === 0).map((row) => row.estimate);
      expect(whole.map(({ n }) => n)).toEqual([4, 4, 1, 4]);
      const law = (1 + scores[3]!) / 3;
      const expected = [(1 + law) / 2, (2 + scores[3]!) / 4, 1, 1 / 4];
      whole.forEach(({ value }, i) => {
        expect(value).toBeCloseTo(expected[i]!, 15);
      });
    },
  );

  it.skipIf(skipReason)(`scores nothing without answers, and makes the submission${skipReason}`, async () => {
    const example = JSON.parse(readFileSync(shared("data/ceval/submission_example.json"), "utf8")) as object;
    const task = ceval({ dataDir, track: "qwen", split: "test" });
    const result = await evaluate(scriptedModel({ chat: () => "D" }), [task]);
    expect(result.tasks[0]!.metrics[0]!.estimate).toMatchObject({ n: 0, unscored: 12_342, value: Number.NaN });
    const submission = task.submission!(result.scores.get("ceval-test")!) as Record<string, Record<string, string>>;
    expect(new Set(Object.keys(submission))).toEqual(new Set(Object.keys(example)));
    expect(Object.keys(submission.law!)).toEqual(
      Array.from({ length: Object.keys(submission.law!).length }, (_, i) => String(i)),
    );
    expect(Object.values(submission).reduce((sum, rows) => sum + Object.keys(rows).length, 0)).toBe(12_342);
    expect(new Set(Object.values(submission).flatMap((rows) => Object.values(rows)))).toEqual(new Set(["D"]));
  });
});

describe("C-Eval's data", () => {
  const folder = mkdtempSync(join(tmpdir(), "ceval-"));
  beforeAll(() => mkdirSync(join(folder, "ceval", "val"), { recursive: true }));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("names what is missing and the command that brings it", async () => {
    await expect(ceval({ dataDir: "/nowhere" }).load()).rejects.toThrow(
      /ceval\/ceval-exam.zip missing; to fetch them: moescope data get ceval --dir \/nowhere$/,
    );
  });

  it("refuses subjects and shots that do not exist", () => {
    expect(() => ceval({ subjects: ["alchemy"] })).toThrow(/^Expected subjects of C-Eval .* got "alchemy"\.$/);
    expect(() => ceval({ numFewshot: 6 })).toThrow(/^Expected a whole number from 0 to 5/);
  });

  it.skipIf(skipReason)(
    `leaves the submission in the run folder, in the format of the example${skipReason}`,
    async () => {
      const out = join(folder, "run");
      const sampleIds = ["law/0", "law/7", "logic/2"];
      const model = scriptedModel({ loglikelihood: ({ continuation }) => (continuation === " C" ? -1 : -2) });
      await evaluate(model, [ceval({ dataDir, split: "test", sampleIds })], { out });
      const submission: unknown = JSON.parse(readFileSync(join(out, "ceval-test.submission.json"), "utf8"));
      expect(submission).toEqual({ law: { "0": "C", "7": "C" }, logic: { "2": "C" } });
    },
  );

  it.skipIf(skipReason)(`scores a test split that has answers${skipReason}`, async () => {
    const names = ["test/logic_test.csv", "dev/logic_dev.csv"];
    for (const part of ["test", "dev"]) mkdirSync(join(folder, "ceval", part), { recursive: true });
    const files = await readZip(join(dataDir, "ceval", "ceval-exam.zip"), (name) => names.includes(name));
    const dev = files.get(names[1]!)!.toString("utf8");
    writeFileSync(join(folder, "ceval", names[1]!), dev);
    // The worked examples, without their explanations, stand in for a test split that has answers.
    const rows = csvRows(dev, 8, "dev").map((row) => row.slice(0, 7).map((cell) => `"${cell.replaceAll('"', '""')}"`));
    const text = [rows[0]!.join().replaceAll('"', ""), ...rows.slice(1).map((row) => row.join())].join("\n");
    writeFileSync(join(folder, "ceval", names[0]!), text);
    const task = await ceval({ dataDir: folder, split: "test", subjects: ["logic"] }).load();
    expect(task.samples.map(({ target }) => target).join("")).toMatch(/^[ABCD]{5}$/);
  });

  it.skipIf(skipReason)(`reads the unpacked archive as well, and finds faults in it${skipReason}`, async () => {
    const names = ["val/law_val.csv", "dev/law_dev.csv"];
    mkdirSync(join(folder, "ceval", "dev"), { recursive: true });
    const files = await readZip(join(dataDir, "ceval", "ceval-exam.zip"), (name) => names.includes(name));
    for (const name of names) writeFileSync(join(folder, "ceval", name), files.get(name)!);
    const options = { subjects: ["law"] };
    const unpacked = await ceval({ ...options, dataDir: folder }).load();
    const packed = await ceval({ ...options, dataDir }).load();
    expect(unpacked.samples).toEqual(packed.samples);
    expect(unpacked.dataset.files.map((f) => f.sha256)).toEqual(packed.dataset.files.map((f) => f.sha256));

    const file = join(folder, "ceval", names[0]!);
    const text = files.get(names[0]!)!.toString("utf8");
    writeFileSync(file, text.replace("question", "questions"));
    await expect(ceval({ ...options, dataDir: folder }).load()).rejects.toThrow(/^Expected the columns id,question,A/);
    writeFileSync(file, text.replace(/,([ABCD])(\r?\n)/, ",E$2"));
    await expect(ceval({ ...options, dataDir: folder }).load()).rejects.toThrow(
      /as the answer of row 1 of .* got "E"\.$/,
    );
    copyFileSync(join(dataDir, "ceval", "subject_mapping.json"), join(folder, "ceval", "ceval-exam.zip"));
    await expect(ceval({ ...options, dataDir: folder }).load()).rejects.toThrow(/^Expected a sound zip archive at /);
  });
});
