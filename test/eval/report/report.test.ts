import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ReportData, readReportData } from "../../../src/eval/report/report-data.js";
import { reportPage, writeReport } from "../../../src/eval/report/write-report.js";
import { evaluate, GREEDY, RouterTrace, scriptedModel, type Task } from "../../../src/index.js";
import { syntheticTrace } from "../../router/synthetic-trace.js";
import { toyModel, toyTask } from "../toy-task.js";

const HOSTILE = `</script><script>document.title="pwned"</script><img src=x onerror='document.title="pwned"'>{{data}} $& \u2028`;
const folder = mkdtempSync(join(tmpdir(), "report-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SIZE = 60;
const isRight = (index: number): boolean => index % 3 !== 0;

/** What the prompts of each group begin with. */
const SHOTS = ["worked examples\n\nQ", "others: "];

/** Questions in two groups; the model's answer holds HTML, and its routes differ between right and wrong answers. */
function hostileTask(): Task<number> {
  const ids = Array.from({ length: SIZE }, (_, i) => i);
  return {
    name: "hostile",
    track: "ref",
    version: "1",
    settings: { protocol: HOSTILE },
    metrics: [{ name: "acc", scorer: "acc", average: "micro" }],
    load: async () => ({
      dataset: { name: "hostile", licence: "none", source: "test", split: "test", files: [], rows: SIZE },
      samples: ids.map((doc) => {
        return { id: `s${doc}`, group: `g${doc % 2}`, input: `question ${doc} ${HOSTILE}`, target: HOSTILE, doc };
      }),
      groups: { name: "hostile", children: [{ name: "g0" }, { name: "g1" }] },
      requests: ({ doc }) => [
        { kind: "generate", prompt: `${SHOTS[doc % 2]}${doc}`, stop: [], maxTokens: 4, sampling: GREEDY },
      ],
      score: ({ doc }) => ({
        acc: { value: isRight(doc) ? 1 : 0, answer: doc === 0 ? null : HOSTILE },
        other: { value: null, answer: null, note: "not run" },
      }),
    }),
  };
}

const run = join(folder, "run");
let data: ReportData;

beforeAll(async () => {
  const model = scriptedModel({
    name: `model ${HOSTILE}`,
    generate: ({ prompt }) => ({
      text: `output ${numberIn(prompt)} ${HOSTILE}${"x".repeat(9000)}`,
      tokenIds: [1, 2],
      finishReason: "length",
      promptTokens: 3,
      trace: traceOf(numberIn(prompt)),
    }),
  });
  await evaluate(model, [hostileTask()], { out: run, trace: "topk" });
  data = await readReportData(run);
});

function numberIn(prompt: string): number {
  return Number(/\d+$/.exec(prompt)![0]);
}

function fourTokens(): RouterTrace {
  return syntheticTrace([{ tokenIds: Int32Array.of(1, 2, 3, 4), firstPosition: 0, origin: 0, segment: 0 }], {
    level: "topk",
  });
}

/** Right answers go to expert 0 of the first layer, wrong ones to expert 1; everything else is alike. */
function traceOf(index: number): RouterTrace {
  const trace = fourTokens();
  const topkExperts = trace.columns.topkExperts.slice();
  const width = trace.layers.length * trace.topK;
  for (let token = 0; token < trace.numTokens; token++) {
    topkExperts[token * width] = isRight(index) ? 0 : 1;
    for (let slot = 1; slot < trace.topK; slot++) topkExperts[token * width + slot] = slot + 1;
  }
  return new RouterTrace({ ...trace, columns: { ...trace.columns, topkExperts } });
}

/** The data inside of a page. */
function dataOf(html: string): ReportData {
  const packed = /<script id="data" type="application\/octet-stream">([A-Za-z0-9+/=]*)<\/script>/.exec(html)![1]!;
  return JSON.parse(gunzipSync(Buffer.from(packed, "base64")).toString("utf8")) as ReportData;
}

describe("the data of a report", () => {
  it("has every sample with texts, scores, and what was asked", () => {
    expect(data.samples.length).toBe(SIZE);
    expect(data.samplesInRun).toBe(SIZE);
    const { id, input, target, scores, responses, task, group } = data.samples[1]!;
    expect({ id, input, target, task, group }).toEqual({
      ...{ id: "s1", input: `question 1 ${HOSTILE}`, target: HOSTILE, task: 0, group: 1 },
    });
    expect(scores.acc).toEqual({ value: 1, answer: HOSTILE });
    const text = `output 1 ${HOSTILE}`;
    expect(responses).toEqual([
      {
        ...{ kind: "generate", finish_reason: "length", prompt_tokens: 3, tokens: 2 },
        ...{ text: (text + "x".repeat(9000)).slice(0, 8000), cut: text.length + 1000 },
      },
    ]);
    expect(data.tasks[0]).toMatchObject({ scorer: "acc", groups: ["g0", "g1"] });
  });

  it("has every prompt, with the beginning of a group once", () => {
    expect(data.tasks[0]!.promptBeginnings).toEqual(SHOTS);
    expect(data.samples.map(({ promptEnd }) => promptEnd)).toEqual(Array.from({ length: SIZE }, (_, i) => String(i)));
  });

  it("does without prompts where a run has none, and refuses a broken file of them", async () => {
    const toy = join(folder, "toy");
    await evaluate(toyModel(), [toyTask()], { out: toy });
    expect((await readReportData(toy)).samples[7]!.promptEnd).toBe("7 + 1 =");
    const file = join(toy, "prompts.jsonl.gz");
    for (const content of ["x", gzipSync("{"), readFileSync(file).subarray(0, 60)]) {
      writeFileSync(file, content);
      await expect(readReportData(toy)).rejects.toMatchObject({ code: "BAD_FILE" });
    }
    rmSync(file);
    expect((await readReportData(toy)).samples[7]!.promptEnd).toBeUndefined();
  });

  it("has the first samples of a run that is too large, and says so", async () => {
    const part = await readReportData(run, { samples: 7, characters: 10 });
    expect(part.samples.map(({ id }) => id)).toEqual(["s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
    expect(part.samplesInRun).toBe(SIZE);
    expect(part.tasks[0]!.metrics).toEqual(data.tasks[0]!.metrics);
  });

  it("sums expert load by task and group", () => {
    const { layers, numExperts, loads } = data.experts!;
    const { topK } = fourTokens();
    expect(loads.map(({ task, group }) => [task, group])).toEqual([
      ["hostile", null],
      ["hostile", "g0"],
      ["hostile", "g1"],
    ]);
    const [whole, first, second] = loads;
    expect(whole!.tokens).toBe(4 * SIZE);
    expect(whole!.counts.length).toBe(layers.length * numExperts);
    expect(whole!.counts.reduce((sum, count) => sum + count, 0)).toBe(4 * SIZE * layers.length * topK);
    expect(whole!.counts[0]).toBe((4 * SIZE * 2) / 3);
    expect(whole!.counts[1]).toBe((4 * SIZE) / 3);
    whole!.counts.forEach((count, i) => {
      expect(first!.counts[i]! + second!.counts[i]!).toBe(count);
    });
    expect(data.samples[1]!.experts!.slice(0, 2)).toEqual([0, 100]);
  });

  it("finds the experts that differ between right and wrong answers, and no others", () => {
    const [contrast] = data.experts!.contrasts;
    expect(contrast).toMatchObject({ task: "hostile", correct: (SIZE * 2) / 3, wrong: SIZE / 3 });
    const sure = contrast!.slots!.filter(({ q }) => q <= data.experts!.falseDiscoveryRate);
    expect(sure.map(({ layer, expert, stratified }) => [layer, expert, Math.round(1e9 * stratified) / 1e9])).toEqual([
      [data.experts!.layers[0], 0, 1],
      [data.experts!.layers[0], 1, -1],
    ]);
  });
});

describe("the page", () => {
  it("holds the data as it is, and no text of a model as HTML", async () => {
    const { path, bytes } = await writeReport(run);
    const html = readFileSync(path, "utf8");
    expect(Buffer.byteLength(html)).toBe(bytes);
    expect(dataOf(html)).toEqual(JSON.parse(JSON.stringify(data)));
    expect(html).not.toMatch(/<img|<script>document|"pwned"/);
    expect(html.match(/<script/g)!.length).toBe(2);
    expect(html).not.toMatch(/https?:|<(img|link|iframe|object|script [^>]*src)|@import|url\(/);
    expect(html).toContain("default-src &#39;none&#39;".replaceAll("&#39;", "'"));
  });

  it("is the same whatever the path of the run", async () => {
    expect(await reportPage(data)).toBe(readFileSync(join(run, "report.html"), "utf8"));
  });

  const browser = ["chromium", "chromium-browser", "google-chrome"].find(
    (name) => spawnSync(name, ["--version"]).status === 0,
  );
  const reason = browser === undefined ? " (skipped: no Chromium in PATH)" : "";

  it.skipIf(reason)(
    `shows scores, experts and samples in a browser, and runs nothing of theirs${reason}`,
    () => {
      const profile = join(folder, "profile");
      const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`];
      const url = `file://${join(run, "report.html")}`;
      const dom = execFileSync(browser!, [...flags, "--virtual-time-budget=5000", "--dump-dom", url], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
      expect(dom).toMatch(/<title>model &lt;\/script&gt;/);
      expect(dom).not.toMatch(/<img|<title>pwned/);
      expect(dom).toContain("66.7 %");
      expect(dom).toContain(`${SIZE} of ${SIZE} samples`);
      expect(dom).toContain("question 3 &lt;/script&gt;");
      expect(dom.match(/class="row"/g)!.length).toBeLessThan(SIZE);
      expect(dom.match(/<i [^>]*title="layer/g)!.length).toBe(
        2 * data.experts!.layers.length * data.experts!.numExperts,
      );
    },
    60_000,
  );
});
