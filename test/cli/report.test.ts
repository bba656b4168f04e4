import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gsm8k, gsm8kMini } from "../../evals/index.js";
import { CARD_MODELS, cardRows } from "../../src/eval/model-card.js";
import { evaluate, type RunResult, scriptedModel } from "../../src/index.js";
import { toyModel, toyTask } from "../eval/toy-task.js";
import { writeProblems } from "./eval-data.js";
import { runCli } from "./run-cli.js";

const folder = mkdtempSync(join(tmpdir(), "cli-report-"));
afterAll(() => rmSync(folder, { recursive: true }));
const [toyRun, mathRun] = [join(folder, "toy"), join(folder, "math")];
let math: RunResult;

beforeAll(async () => {
  await evaluate(toyModel(), [toyTask()], { out: toyRun });
  const dataDir = writeProblems(join(folder, "data"), 8);
  const model = scriptedModel({
    name: "seven",
    chat: () => "\\boxed{7}",
    generate: () => "#### 7",
    description: { weightType: "Q5_K_M", precision: "ref" },
  });
  const tasks = [gsm8k({ dataDir, track: "qwen" }), gsm8kMini({ limit: 3 })];
  math = await evaluate(model, tasks, { out: mathRun });
});

describe("moescope report", () => {
  it("writes the page anew and says where", async () => {
    rmSync(join(toyRun, "report.html"));
    const { code, stdout } = await runCli(["report", toyRun]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/report\.html \(\d+(\.\d+)? KiB\)\n$/);
    const html = readFileSync(join(toyRun, "report.html"), "utf8");
    expect(html).toContain("<title>toy-model on toy</title>");
    expect(JSON.parse((await runCli(["report", toyRun, "--json"])).stdout)).toEqual({
      path: join(toyRun, "report.html"),
      bytes: Buffer.byteLength(html),
    });
  });

  it("refuses what is no run", async () => {
    const { code, stderr } = await runCli(["report", folder]);
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringMatching(/^.*run\.json.*\n$/) });
  });
});

describe("moescope table", () => {
  it("puts our scores beside the card's, each track in a line of its own", async () => {
    const { code, stdout } = await runCli(["table", mathRun, toyRun]);
    expect(code).toBe(0);
    const lines = stdout.split("\n");
    const gsm = lines.findIndex((line) => line.startsWith("GSM8K"));
    expect(lines[gsm]).toMatch(
      /^GSM8K +65\.7 +90\.2 +83\.6 +79\.6 +\d+\.\d +\d+\.\d to \d+\.\d +8\* +qwen +seven +Q5_K_M ref +qwen +Open/,
    );
    expect(lines[gsm + 1]).toMatch(
      /^ +\d+\.\d +.* qwen +seven +Q5_K_M ref +opencompass +OpenCompass 26d077b, gsm8k_0shot$/,
    );
    expect(lines.filter((line) => line.includes("not run")).length).toBe(13);
    expect(lines.find((line) => line.startsWith("gsm8k-mini"))).toMatch(
      / +3\* +ref +seven +Q5_K_M ref +accuracy +moescope/,
    );
    expect(lines.find((line) => line.startsWith("toy"))).toMatch(/^toy +\d+\.\d .* 40 +ref +toy-model/);
    expect(stdout).toContain("GSM8K: the technical report has 85.3");
    expect(stdout).toContain("GSM8K: n marked * is a part of the benchmark.");
  });

  it("gives the same rows as JSON", async () => {
    const { stdout } = await runCli(["table", mathRun, "--json"]);
    const rows = cardRows([{ run: math, weights: "Q5_K_M ref" }]);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(JSON.stringify({ models: CARD_MODELS, rows })));
    expect(rows.map(({ benchmark }) => benchmark)).toHaveLength(15);
    expect(rows.every(({ scores }) => scores === null || scores.length === CARD_MODELS.length)).toBe(true);
  });
});
