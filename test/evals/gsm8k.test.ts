import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Gsm8kOptions, gsm8k } from "../../evals/gsm8k.js";
import { evaluate, type SampleResponse, scriptedModel } from "../../src/index.js";
import { readGolden, shared, skipReason } from "../eval/shared.js";
import { digestOfPrompts, expectAggregate, promptDigests, promptText, readRun, replay } from "./lm-eval.js";

const dataDir = shared("data");
const FILES: [string, Gsm8kOptions][] = [
  ["gsm8k", {}],
  ["gsm8k_cot", { variant: "cot" }],
  ["gsm8k_chat", { form: "chat" }],
  ["gsm8k_chat_multiturn", { form: "chat-multiturn" }],
];

describe("GSM8K, track ref", () => {
  it.skipIf(skipReason).each(FILES)(
    `asks, reads, scores and aggregates like the harness: %s${skipReason}`,
    async (file, options) => {
      const { run, items } = readRun(file);
      const task = gsm8k({ dataDir, ...options, sampleIds: items.map((item) => String(item.doc_id)) });
      const loaded = await task.load();
      items.forEach((item, i) => {
        const [request, ...more] = loaded.requests(loaded.samples[i]!);
        expect(more).toEqual([]);
        expect(promptText(request!)).toBe(item.context);
        expect(request).toMatchObject({ stop: item.until, maxTokens: item.max_gen_toks });
      });
      const result = await evaluate(scriptedModel(replay(items)), [task]);
      const scores = result.scores.get(task.name)!;
      items.forEach((item, i) => {
        for (const { name, filtered, metrics } of item.filters) {
          expect(scores[i]!.scores[name], `${file} ${item.doc_id}`).toEqual({
            value: metrics.exact_match,
            answer: filtered === "[invalid]" ? null : filtered,
          });
        }
      });
      const aggregate = run.aggregates[file.replace(/_chat.*/, "")]!;
      for (const { metric, estimate } of result.tasks[0]!.metrics) {
        expectAggregate(estimate, aggregate[`exact_match,${metric}`]!, aggregate[`exact_match_stderr,${metric}`]!);
      }
    },
  );

  it.skipIf(skipReason)(`gives the prompts of the whole task in every form${skipReason}`, async () => {
    const modes = { plain: "text", chat: "chat", chat_multiturn: "chat-multiturn" } as const;
    const digests = promptDigests((task) => task === "gsm8k" || task === "gsm8k_cot");
    expect(digests.length).toBeGreaterThan(3);
    for (const { task, mode, n_docs, sha256_of_all } of digests) {
      const variant = task === "gsm8k_cot" ? "cot" : "standard";
      const loaded = await gsm8k({ dataDir, variant, form: modes[mode] }).load();
      expect(loaded.samples.length).toBe(n_docs);
      expect(digestOfPrompts(loaded), `${task} ${mode}`).toBe(sha256_of_all);
    }
  });

  it.skipIf(skipReason)(`filters and scores the invented responses like the harness${skipReason}`, async () => {
    const rows = readGolden<Synthetic>("lm_eval/scoring_synthetic.jsonl").filter((row) =>
      /^gsm8k(_cot)?$/.test(row.task),
    );
    const tasks = {
      gsm8k: await gsm8k({ dataDir }).load(),
      gsm8k_cot: await gsm8k({ dataDir, variant: "cot" }).load(),
    };
    expect(rows.length).toBeGreaterThan(50);
    for (const { task, response, doc, filters } of rows) {
      const sample = { id: "0", group: "", input: "", target: "", doc: { question: "", ...doc } };
      const scores = await tasks[task].score(sample, [generated(response)]);
      for (const { name, filtered, metrics } of filters) {
        const answer = filtered === "[invalid]" ? null : filtered;
        expect(scores[name], `${task}: ${response}`).toEqual({ value: metrics.exact_match, answer });
      }
    }
  });

  it.skipIf(skipReason)(
    `draws a question's examples as in the whole run, whichever questions are selected${skipReason}`,
    async () => {
      const whole = await gsm8k({ dataDir, limit: 4 }).load();
      const one = await gsm8k({ dataDir, sampleIds: ["3"] }).load();
      expect(one.requests(one.samples[0]!)).toEqual(whole.requests(whole.samples[3]!));
      const other = await gsm8k({ dataDir, sampleIds: ["3"], fewshotSeed: 1 }).load();
      expect(other.requests(other.samples[0]!)).not.toEqual(one.requests(one.samples[0]!));
    },
  );
});

describe("GSM8K, track qwen", () => {
  it.skipIf(skipReason)(`asks the bare question, or with the boxed instruction${skipReason}`, async () => {
    const bare = await gsm8k({ dataDir, track: "qwen", variant: "bare" }).load();
    const boxed = await gsm8k({ dataDir, track: "qwen" }).load();
    const { question } = bare.samples[0]!.doc;
    expect(bare.requests(bare.samples[0]!)).toMatchObject([
      { kind: "chat", messages: [{ role: "user", content: question }] },
    ]);
    const content = `${question}\nPlease reason step by step, and put your final answer within \\boxed{}.`;
    expect(boxed.requests(boxed.samples[0]!)).toMatchObject([{ messages: [{ role: "user", content }] }]);
  });

  it.skipIf(skipReason)(`reads answers both ways${skipReason}`, async () => {
    const loaded = await gsm8k({ dataDir, track: "qwen" }).load();
    const sample = { ...loaded.samples[0]!, doc: { question: "", answer: "So 1,072.\n#### 1,072" } };
    expect(loaded.score(sample, [generated("She earns $1,072")])).toEqual({
      qwen: { value: 1, answer: "1072" },
      opencompass: { value: 0, answer: "072" },
    });
    expect(loaded.score(sample, [generated("nothing")])).toEqual({
      qwen: { value: 0, answer: null },
      opencompass: { value: 0, answer: null },
    });
  });

  it.skipIf(skipReason).each([
    [
      "in parentheses",
      `        context = (\n            "Question: a \\"b\\"?\\nx\\n\\n"\n            "Question: c\\n"\n`,
    ],
    [
      "with backslashes",
      `        context = "Question: a \\"b\\"?\\nx\\n\\n" \\\n                "Question: c\\n" \\\n`,
    ],
  ])(`takes the examples of Qwen's own script, written %s${skipReason}`, async (_name, head) => {
    const folder = folderWithData();
    const tail = `            f"Question: {doc['question']}\\nLet's think step by step"\n        )\n    print("no digits")\n`;
    writeFileSync(join(folder, "gsm8k", "evaluate_chat_gsm8k.py"), `def f():\n    print("x")\n${head}${tail}`);
    const loaded = await gsm8k({ dataDir: folder, track: "qwen", variant: "few-shot" }).load();
    const sample = loaded.samples[0]!;
    const content = `Question: a "b"?\nx\n\nQuestion: c\nQuestion: ${sample.doc.question}\nLet's think step by step`;
    expect(loaded.requests(sample)).toMatchObject([{ messages: [{ role: "user", content }] }]);
  });
});

describe("GSM8K's data", () => {
  it.skipIf(skipReason)(`has the official 1,319 problems${skipReason}`, async () => {
    const { samples, dataset } = await gsm8k({ dataDir }).load();
    expect([samples.length, dataset.rows, dataset.officialRows]).toEqual([1319, 1319, 1319]);
    expect(dataset.files.map((file) => file.sha256.slice(0, 8))).toEqual(["3730d312", "17f347dc"]);
  });

  it("names what is missing and the command that brings it", async () => {
    await expect(gsm8k({ dataDir: "/nowhere" }).load()).rejects.toThrow(
      /^Expected the files of GSM8K in \/nowhere, gsm8k\/test\.jsonl missing; to fetch them: moescope data get gsm8k --dir \/nowhere$/,
    );
  });

  it.skipIf(skipReason)(`names the script of Qwen where it is missing${skipReason}`, async () => {
    const task = gsm8k({ dataDir: folderWithData(), track: "qwen", variant: "few-shot" });
    await expect(task.load()).rejects.toThrow(/gsm8k\/evaluate_chat_gsm8k\.py missing; .*QwenLM\/Qwen/);
  });

  it("refuses a variant of the other track", () => {
    expect(() => gsm8k({ variant: "boxed" })).toThrow(
      'Expected one of standard, cot in track ref for variant, got "boxed".',
    );
  });
});

interface Synthetic {
  task: "gsm8k" | "gsm8k_cot";
  response: string;
  doc: { answer: string };
  filters: { name: string; filtered: string; metrics: { exact_match: number } }[];
}

function generated(text: string): SampleResponse {
  return { kind: "generate", text, tokenIds: [], finishReason: "stop", promptTokens: 0 };
}

/** A data folder of our own that borrows the official problems. */
function folderWithData(): string {
  const folder = mkdtempSync(join(tmpdir(), "moescope-gsm8k-"));
  mkdirSync(join(folder, "gsm8k"));
  for (const name of ["test.jsonl", "train.jsonl"])
    symlinkSync(shared(`data/gsm8k/${name}`), join(folder, "gsm8k", name));
  return folder;
}
