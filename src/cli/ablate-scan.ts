/** `moescope ablate-scan`: every expert out in turn. */
import type { Command } from "commander";
import { type AblationScan, ablationScan, scanForest } from "../experiment/ablation-scan.js";
import type { AblationMode } from "../experiment/ablations.js";
import { CRITERIA, type Criterion, slotsLabel } from "../experiment/expert-slots.js";
import { ALL_GROUPS, type Effect } from "../experiment/paired-effect.js";
import type { PlotData } from "../plot/draw.js";
import { type ExperimentOptions, runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, integers, jsonOption, type ModelOptions, oneOf, withModelOptions } from "./options.js";
import { type QuestionOptions, questionsOf, withQuestionOptions } from "./questions.js";
import { formatNumber, textTable } from "./text-table.js";

interface Options extends ModelOptions, QuestionOptions, ExperimentOptions {
  mode: AblationMode;
  top?: number;
  criterion: Criterion;
  layers?: number[];
  controls: number;
  seed: number;
  out: string;
}

export function registerAblateScan(program: Command, terminal: Terminal): void {
  const command = program
    .command("ablate-scan")
    .description("take experts out one at a time and say what that does to the same questions, beside random controls")
    .argument("<model>", "folder, .gguf file or demo");
  withQuestionOptions(command)
    .option(
      "--mode <mode>",
      "zero (its contribution is removed) or mask (others take its place)",
      oneOf("zero", "mask"),
      "zero" as AblationMode,
    )
    .option("--top <n>", "only the first n experts by the criterion (default: all)", integer(1))
    .option("--criterion <criterion>", CRITERIA.join(" or "), oneOf(...CRITERIA), "load" as Criterion)
    .option("--layers <list>", "only these layers, e.g. 0,3 (default: all)", integers)
    .option(
      "--controls <n>",
      "random experts of the same layer, chosen about as often, for each expert",
      integer(0, 16),
      2,
    )
    .option("--seed <n>", "seed of the controls and the tests", integer(0), 0)
    .requiredOption(
      "--out <dir>",
      "folder for the answers, result.json and the forest plots; the same command goes on where it stopped",
    )
    .addOption(jsonOption("print the result as JSON"));
  withModelOptions(command)
    .addHelpText("after", "\nExample:\n  $ moescope ablate-scan demo --data mmlu-mini:cloze --top 10 --out scan")
    .action((name: string, options: Options) => scan(terminal, name, options));
}

async function scan(terminal: Terminal, name: string, options: Options): Promise<void> {
  const questions = await questionsOf(options);
  const { mode, top, criterion: by, controls, seed, out } = options;
  await withModel(terminal, name, options, async (model) => {
    const { moeLayers, numExperts } = model.parts.shape;
    const experts = options.layers?.flatMap((layer) =>
      Array.from({ length: numExperts }, (_, expert) => ({ layer, expert })),
    );
    await runExperiment<AblationScan>(terminal, options, {
      ...{ label: "Ablating", unit: "experts" },
      run: (onProgress) =>
        ablationScan(model, questions, {
          ...{ mode, top, by, controls, seed, out, experts, signal: terminal.signal },
          onProgress,
        }),
      text: (found) => scanText(found, moeLayers.length * numExperts),
      plots: scanPlots,
    });
  });
}

function scanPlots(found: AblationScan): Record<string, PlotData> {
  const plots = found.measures.flatMap((measure) =>
    found.groups.map((group) => {
      const name = `${measure}${group === ALL_GROUPS ? "" : `-${group.replace(/[^\w-]+/g, "_")}`}`;
      return [name, { plot: "forest", ...scanForest(found, { measure, group }) } as const] as const;
    }),
  );
  return Object.fromEntries(plots);
}

/** Experts that the table lists. */
const ROWS = 20;

function scanText({ experts, measures, items, mode, questions, seconds }: AblationScan, numSlots: number): string {
  const tables = measures.map((measure) => {
    const effectOf = (effects: readonly Effect[]) =>
      effects.find((effect) => effect.measure === measure && effect.group === ALL_GROUPS);
    const rows = experts
      .flatMap((expert) => {
        const effect = expert.effects.find((e) => e.measure === measure && e.group === ALL_GROUPS);
        return effect === undefined ? [] : [{ expert, effect, beyond: effectOf(expert.beyondControls) }];
      })
      .sort((a, b) => a.effect.difference - b.effect.difference)
      .slice(0, ROWS)
      .map(({ expert, effect, beyond }) => [
        slotsLabel([expert]),
        expert.rate.toFixed(3),
        withInterval(effect),
        formatNumber(effect.p, 2),
        formatNumber(effect.q, 2),
        beyond === undefined ? "" : withInterval(beyond),
        beyond === undefined ? "" : formatNumber(beyond.p, 2),
      ]);
    const title = measure === "accuracy" ? "accuracy" : "log-probability, nats per item";
    return `${title}\n${textTable(
      [["without", "rate", "change (95 %)", "p", "q", "beyond controls (95 %)", "p"], ...rows],
      [1, 3, 4, 6],
    )}`;
  });
  return [
    `${questions}: ${items} items, ${experts.length} of ${numSlots} experts, mode ${mode}, ${seconds.toFixed(0)} s`,
    ...tables,
  ].join("\n\n");
}

function withInterval({ difference, interval: [low, high] }: Effect): string {
  return `${difference.toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`;
}
