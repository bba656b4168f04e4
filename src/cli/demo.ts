/** `moescope demo`: the main job on the embedded model, in a minute: scores with intervals, expert load by domain, a report. */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { evaluate } from "../eval/evaluate.js";
import { type ReportData, readReportData } from "../eval/report/report-data.js";
import { REPORT_FILE } from "../eval/report/write-report.js";
import type { Model } from "../model/model.js";
import { packageRoot } from "../native/addon.js";
import { demoJson, demoText } from "./demo-report.js";
import { type DemoSuite, demoSuites } from "./demo-suites.js";
import { detailOf } from "./eval.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, jsonOption, type ModelOptions, withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";
import { formatCount } from "./text-table.js";

interface Options extends ModelOptions {
  out?: string;
  limit?: number;
  json?: boolean;
}

export function registerDemo(program: Command, terminal: Terminal): void {
  const command = program
    .command("demo")
    .description("the mini suites on the embedded model: scores, intervals, and which experts did the work")
    .option("--out <dir>", "run folder, new or empty (default: a new one in the system's temporary folder)")
    .option("--limit <n>", "questions of each suite, spread over its subjects (default: all)", integer(1))
    .addOption(jsonOption("print the results as JSON"));
  withModelOptions(command)
    .addHelpText("after", "\nExample:\n  $ moescope demo")
    .action((options: Options) => demo(terminal, options));
}

async function demo(terminal: Terminal, options: Options): Promise<void> {
  const started = performance.now();
  if (!options.quiet) terminal.note("Loading the demo model ...");
  await withModel(terminal, "demo", options, async (model) => {
    const isTrained = model.parts.checkpoint.path.startsWith(join(packageRoot(), "models"));
    if (!options.json) await terminal.print(introduction(model, isTrained));
    const suites = demoSuites(isTrained, options.limit);
    const { folder, data } = await runSuites(terminal, model, suites, options);
    const seconds = (performance.now() - started) / 1000;
    const result = { model: model.parts.checkpoint.path, isTrained, suites, data, seconds };
    const report = join(folder, REPORT_FILE);
    if (options.json) await terminal.printJson(demoJson(result, report));
    else await terminal.print(demoText(result, report, terminal.stdout));
  });
}

/** Runs the suites into a run folder and reads back what its report shows. */
async function runSuites(
  terminal: Terminal,
  model: Model,
  suites: readonly DemoSuite[],
  options: Options,
): Promise<{ folder: string; data: ReportData }> {
  const folder = options.out ?? (await mkdtemp(join(tmpdir(), "moescope-demo-")));
  const bar = progressBar(terminal, "Demo", { quiet: options.quiet, unit: "questions" });
  const doneBefore = new Map<string, number>();
  const total = (await Promise.all(suites.map(({ task }) => task.load()))).reduce(
    (n, { samples }) => n + samples.length,
    0,
  );
  try {
    await evaluate(
      model,
      suites.map(({ task }) => task),
      {
        ...{ out: folder, trace: "topk", signal: terminal.signal, batchSize: 32 },
        onProgress: (progress) => {
          doneBefore.set(progress.task, progress.done);
          bar.update(
            [...doneBefore.values()].reduce((sum, done) => sum + done, 0),
            total,
            detailOf(progress),
          );
        },
      },
    );
  } finally {
    bar.stop();
  }
  return { folder, data: await readReportData(folder) };
}

function introduction(model: Model, isTrained: boolean): string {
  const { numParameters, numActiveParameters } = model.parts.checkpoint;
  const { numExperts, numExpertsPerToken, moeLayers } = model.parts.shape;
  const kind = isTrained
    ? "a small qwen2_moe that we trained from nothing on texts of our own (models/demo/README.md)"
    : "a small qwen2_moe with random weights made from a seed. It is UNTRAINED: its text is noise and its scores are chance";
  return (
    `This is ${kind}: ${formatCount(numParameters)} parameters, ${formatCount(numActiveParameters)} active per token, ` +
    `${numExpertsPerToken} of ${numExperts} experts in each of ${moeLayers.length} layers.\n`
  );
}
