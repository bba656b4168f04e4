/** `moescope eval`: benchmarks on a model, into a run folder that survives Ctrl-C and kill -9. */
import { join } from "node:path";
import type { Command } from "commander";
import { InvalidArgumentError } from "../errors.js";
import { type EvaluateOptions, evaluate, RunAbortedError } from "../eval/evaluate.js";
import type { LanguageModel, LanguageModelSource } from "../eval/language-model.js";
import type { Progress } from "../eval/progress.js";
import { REPORT_FILE } from "../eval/report/write-report.js";
import type { RunResult } from "../eval/result.js";
import { runTable } from "../eval/table.js";
import type { Task } from "../eval/task.js";
import { capturePlan } from "../router/capture.js";
import {
  DEFAULT_CONCURRENCY,
  type EvalOptions,
  endpointOf,
  refuseEndpointOptions,
  tasksOf,
  traceOf,
  withEvalOptions,
} from "./eval-options.js";
import { expertHeatmap } from "./heatmap.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";

export function registerEval(program: Command, terminal: Terminal): void {
  const command = program
    .command("eval")
    .description(
      "run benchmarks; prints a table with intervals and leaves a run folder that can be resumed and compared",
    )
    .argument("[model]", "folder, .gguf file or demo; with --endpoint the name that the server knows it by");
  withModelOptions(withEvalOptions(command))
    .addHelpText(
      "after",
      "\nExample:\n  $ moescope eval model.gguf --tasks mmlu,gsm8k --limit 100 --data ./data --out runs/first",
    )
    .action((name: string | undefined, options: EvalOptions) => evalCommand(terminal, name, options));
}

async function evalCommand(terminal: Terminal, name: string | undefined, options: EvalOptions): Promise<void> {
  const tasks = tasksOf(options);
  if (options.endpoint !== undefined) {
    const model = await endpointOf(name, options);
    const concurrency = options.concurrency ?? DEFAULT_CONCURRENCY;
    await runEval(terminal, model, tasks, options, { batchSize: 1, concurrency });
    return;
  }
  if (name === undefined) throw new InvalidArgumentError("Expected a model or --endpoint URL, got neither.");
  refuseEndpointOptions(options);
  await withModel(terminal, name, options, async (model) => {
    const trace = traceOf(options);
    if (trace !== undefined) capturePlan(trace, model.parts.shape);
    await runEval(terminal, model, tasks, options, {});
    if (options.trace === "counts" && !options.json)
      await terminal.print(
        expertHeatmap(
          await model.expertLoad(),
          terminal.stdout.isTTY ? { colour: true, width: terminal.stdout.columns } : {},
        ),
      );
  });
}

async function runEval(
  terminal: Terminal,
  model: LanguageModel | LanguageModelSource,
  tasks: readonly Task[],
  options: EvalOptions,
  calls: Pick<EvaluateOptions, "batchSize" | "concurrency">,
): Promise<void> {
  const bar = progressBar(terminal, "Evaluating", { quiet: options.quiet, unit: "samples" });
  let result: RunResult;
  try {
    result = await evaluate(model, tasks, {
      ...{ out: options.out, resume: options.resume, trace: traceOf(options), signal: terminal.signal, ...calls },
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
  if (!options.quiet) terminal.note(`run folder ${options.out}, report ${join(options.out, REPORT_FILE)}`);
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
