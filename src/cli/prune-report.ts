/** `moescope prune-report`: what remains without the least useful experts. */
import type { Command } from "commander";
import { InvalidArgumentError } from "../errors.js";
import { CRITERIA, type Criterion } from "../experiment/expert-slots.js";
import { ALL_GROUPS, type Effect } from "../experiment/paired-effect.js";
import { writePrunedCheckpoint } from "../experiment/prune-checkpoint.js";
import { type PruneReport, pruneReport } from "../experiment/prune-report.js";
import { type ExperimentOptions, runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, integers, jsonOption, type ModelOptions, oneOf, withModelOptions } from "./options.js";
import { type QuestionOptions, questionsOf, withQuestionOptions } from "./questions.js";
import { formatBytes, formatNumber, textTable } from "./text-table.js";

interface Options extends ModelOptions, QuestionOptions, ExperimentOptions {
  calibration?: string;
  criterion: Criterion;
  remove?: number[];
  controls: boolean;
  write?: string;
  seed: number;
}

export function registerPruneReport(program: Command, terminal: Terminal): void {
  const command = program
    .command("prune-report")
    .description("accuracy and memory that remain without the least useful experts of every layer")
    .argument("<model>", "folder, .gguf file or demo");
  withQuestionOptions(command)
    .option("--criterion <criterion>", `usefulness: ${CRITERIA.join(" or ")}`, oneOf(...CRITERIA), "load" as Criterion)
    .option("--calibration <file|benchmarks>", "what usefulness is measured on (default: the questions themselves)")
    .option("--remove <list>", "experts to take out of every layer, e.g. 1,2,4 (default: up to eight steps)", integers)
    .option("--no-controls", "without as many random experts, chosen as often, in each step")
    .option("--write <dir>", "write the model without the experts of the one step of --remove, as safetensors")
    .option("--seed <n>", "seed of the controls and the tests", integer(0), 0)
    .option("--out <dir>", "folder for the answers and result.json; the same command goes on where it stopped")
    .addOption(jsonOption("print the result as JSON"));
  withModelOptions(command)
    .addHelpText("after", "\nExample:\n  $ moescope prune-report demo --data gsm8k-mini --remove 2 --write pruned")
    .action((name: string, options: Options) => prune(terminal, name, options));
}

async function prune(terminal: Terminal, name: string, options: Options): Promise<void> {
  const questions = await questionsOf(options);
  const { criterion: by, controls, seed, out, quiet, write, remove } = options;
  const calibration =
    options.calibration === undefined ? undefined : await questionsOf({ ...options, data: options.calibration });
  if (write !== undefined && remove?.length !== 1) {
    throw new InvalidArgumentError(
      `Expected one number for --remove with --write, got ${remove?.join(",") ?? "none"}.`,
    );
  }
  await withModel(terminal, name, options, async (model) => {
    const found = await runExperiment<PruneReport>(terminal, options, {
      ...{ label: "Pruning", unit: "steps" },
      run: (onProgress) =>
        pruneReport(model, questions, {
          ...{ by, calibration, remove, controls, out, seed, signal: terminal.signal },
          onProgress,
        }),
      text: pruneText,
    });
    if (write === undefined) return;
    const { numExperts, weightBytes } = await writePrunedCheckpoint(
      model.parts.checkpoint,
      found.steps[0]!.experts,
      write,
    );
    if (!quiet) terminal.note(`${write}: ${numExperts} experts in every layer, ${formatBytes(weightBytes)} of weights`);
  });
}

function pruneText({ by, questions, calibration, items, weightBytes, steps }: PruneReport): string {
  const cells = (effects: readonly Effect[]) => {
    const effect = effects.find(({ group }) => group === ALL_GROUPS);
    if (effect === undefined) return ["", "", ""];
    const [low, high] = effect.interval;
    const change = `${effect.difference.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
    return [effect.after.toFixed(3), change, formatNumber(effect.p, 2)];
  };
  const rows = steps.map((step) => [
    String(step.removed),
    formatBytes(step.weightBytes),
    `-${((100 * step.savedBytes) / weightBytes).toFixed(1)} %`,
    ...cells(step.effects),
    ...cells(step.controlEffects).slice(0, 2),
  ]);
  const measure = steps[0]?.effects[0]?.measure ?? "accuracy";
  const before = steps[0]?.effects.find(({ group }) => group === ALL_GROUPS)?.before.toFixed(3) ?? "n/a";
  return [
    `${questions}: ${items} items, ${measure} of the whole model ${before}, weights ${formatBytes(weightBytes)}`,
    `experts of every layer out, the least useful first by ${by} on ${calibration}:`,
    textTable(
      [["out", "weights", "saved", measure, "change (95 %)", "p", "random", "change (95 %)"], ...rows],
      [0, 1, 2, 3, 5, 6],
    ),
  ].join("\n");
}
