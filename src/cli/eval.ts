/** `moescope eval`: benchmarks on a model, into a run folder that survives Ctrl-C and kill -9. */
import { join } from "node:path";
import type { Command } from "commander";
import { BENCHMARK_NAMES, namedTasks } from "../../evals/index.js";
import { InvalidArgumentError } from "../errors.js";
import { evaluate, RunAbortedError } from "../eval/evaluate.js";
import type { Progress } from "../eval/progress.js";
import { REPORT_FILE } from "../eval/report/write-report.js";
import type { RunResult } from "../eval/result.js";
import { runTable } from "../eval/table.js";
import type { Task, Track } from "../eval/task.js";
import type { CaptureLevel } from "../native/binding.js";
import { expertHeatmap } from "./heatmap.js";
import { interventionsOf } from "./intervene.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, jsonOption, type ModelOptions, oneOf, withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";
import { suggestionFor } from "./suggest.js";

interface Options extends ModelOptions {
  tasks: string;
  track: Track;
  limit?: number;
  numFewshot?: number;
  seed?: number;
  data?: string;
  out: string;
  resume?: boolean;
  intervene?: string;
  trace?: CaptureLevel;
  unsafeCode?: boolean;
  leaves?: boolean;
  json?: boolean;
}

export function registerEval(program: Command, terminal: Terminal): void {
  const command = program
    .command("eval")
    .description(
      "run benchmarks; prints a table with intervals and leaves a run folder that can be resumed and compared",
    )
    .argument("<model>", "folder, .gguf file or demo")
    .requiredOption("--tasks <list>", `comma-separated: ${BENCHMARK_NAMES.join(", ")}, with a variant as in gsm8k:cot`)
    .option(
      "--track <track>",
      "ref (community harness) or qwen (as the model card's authors)",
      oneOf("ref", "qwen"),
      "ref" as Track,
    )
    .option("--limit <n>", "samples of each task, spread over its subjects (default: all)", integer(1))
    .option("--num-fewshot <n>", "worked examples before each question (default: the task's)", integer(0))
    .option("--seed <n>", "seed of the draw of examples (default: the task's)", integer(0))
    .option("--data <dir>", "folder of benchmark data (default: MOESCOPE_DATA)")
    .requiredOption("--out <dir>", "run folder: new, empty, or with --resume the one to go on with")
    .option("--resume", "go on with the run in --out")
    .option("--intervene <file|json>", 'changes to routing, e.g. \'{"kind":"mask","layers":[3],"experts":[5]}\'')
    .option(
      "--trace <level>",
      "routes into the run folder: topk or logits by token, counts summed by task",
      oneOf("counts", "topk", "logits"),
    )
    .option(
      "--unsafe-code",
      "run the programs that the model writes as you and without a sandbox (default: in bubblewrap, or not at all)",
    )
    .option("--leaves", "also print every subject")
    .addOption(jsonOption("print the result as JSON"));
  withModelOptions(command)
    .addHelpText(
      "after",
      "\nExample:\n  $ moescope eval model.gguf --tasks mmlu,gsm8k --limit 100 --data ./data --out runs/first",
    )
    .action((name: string, options: Options) => evalCommand(terminal, name, options));
}

async function evalCommand(terminal: Terminal, name: string, options: Options): Promise<void> {
  const tasks = tasksOf(options);
  const interventions = options.intervene === undefined ? [] : await interventionsOf(options.intervene);
  await withModel(terminal, name, options, async (loaded) => {
    const model = interventions.length === 0 ? loaded : loaded.with(interventions);
    const bar = progressBar(terminal, "Evaluating", { quiet: options.quiet, unit: "samples" });
    let result: RunResult;
    try {
      result = await evaluate(model, tasks, {
        ...{ out: options.out, resume: options.resume, trace: options.trace, signal: terminal.signal },
        onProgress: (progress) => bar.update(progress.done, progress.total, detailOf(progress)),
      });
    } catch (error) {
      bar.stop();
      if (error instanceof RunAbortedError && !options.quiet) noteAborted(terminal, error, options.out);
      throw error;
    }
    bar.stop();
    if (options.json) await terminal.printJson(jsonOf(result));
    else await terminal.print(runTable(result, { leaves: options.leaves }));
    if (options.trace === "counts" && !options.json)
      await terminal.print(
        expertHeatmap(
          await model.expertLoad(),
          terminal.stdout.isTTY ? { colour: true, width: terminal.stdout.columns } : {},
        ),
      );
    if (!options.quiet) terminal.note(`run folder ${options.out}, report ${join(options.out, REPORT_FILE)}`);
  });
}

function tasksOf({ tasks, track, limit, numFewshot, data, seed, unsafeCode }: Options): Task[] {
  const names = tasks.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !BENCHMARK_NAMES.includes(name.split(":")[0]!));
  if (unknown !== undefined) {
    const near = suggestionFor(unknown, BENCHMARK_NAMES);
    const hint = near === undefined ? "." : `; did you mean ${near}?`;
    throw new InvalidArgumentError(
      `Expected benchmarks (${BENCHMARK_NAMES.join(", ")}) for --tasks, got ${JSON.stringify(unknown)}${hint}`,
    );
  }
  return namedTasks(names, { track, limit, numFewshot, dataDir: data, fewshotSeed: seed, unsafeCode });
}

/** A progress event in words: task, running score with interval, place in the batch. */
export function detailOf({ task, running, requestsDone, requestsTotal, done, total }: Progress): string {
  const inBatch = done < total && requestsTotal > 0 ? `, request ${requestsDone}/${requestsTotal}` : "";
  if (running === undefined) return `${task}${inBatch}`;
  const [low, high] = running.interval;
  const interval = Number.isNaN(low) ? "" : ` [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
  return `${task} ${running.metric} ${(100 * running.value).toFixed(1)}${interval}${inBatch}`;
}

function noteAborted(terminal: Terminal, { partial }: RunAbortedError, out: string): void {
  if (partial.tasks.some((task) => task.done > 0)) terminal.note(runTable(partial));
  terminal.note(`What is done is in ${out}; the same command with --resume goes on.`);
}

function jsonOf({ folder, model, tasks, digest }: RunResult): object {
  return { folder, model, digest, tasks };
}
