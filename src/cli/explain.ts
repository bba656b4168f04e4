/** `moescope explain`: which experts answer what, tested. */
import type { Command } from "commander";
import type { AblationMode } from "../experiment/ablations.js";
import { domainPlot } from "../experiment/domain-routes.js";
import { slotsLabel } from "../experiment/expert-slots.js";
import { type Explanation, explain } from "../experiment/explain.js";
import type { PlotData } from "../plot/draw.js";
import type { ForestRow } from "../plot/forest-plot.js";
import { type ExperimentOptions, runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, jsonOption, type ModelOptions, number, oneOf, withModelOptions } from "./options.js";
import { type QuestionOptions, questionsOf, withQuestionOptions } from "./questions.js";

interface Options extends ModelOptions, QuestionOptions, ExperimentOptions {
  mode: AblationMode;
  alpha: number;
  controls: number;
  favourites: number;
  seed: number;
}

export function registerExplain(program: Command, terminal: Terminal): void {
  const command = program
    .command("explain")
    .description(
      "which experts go with domains and with right answers on one half of the items, and what their absence does on the other",
    )
    .argument("<model>", "folder, .gguf file or demo");
  withQuestionOptions(command)
    .option("--mode <mode>", "how experts are taken out: zero or mask", oneOf("zero", "mask"), "zero" as AblationMode)
    .option("--favourites <n>", "a domain's preferred experts of each layer that are taken out together", integer(1), 1)
    .option("--controls <n>", "sets of random experts for each claim", integer(0, 16), 3)
    .option("--alpha <p>", "a claim survives below this corrected p", number(0, 1), 0.01)
    .option("--seed <n>", "seed of the halves, controls and tests", integer(0), 0)
    .option("--out <dir>", "folder for the answers, result.json and plots; the same command goes on where it stopped")
    .addOption(jsonOption("print the result as JSON"));
  withModelOptions(command)
    .addHelpText(
      "after",
      "\nExample:\n  $ moescope explain demo --data mmlu-mini,ceval-mini,gsm8k-mini,humaneval-mini --out why",
    )
    .action((name: string, options: Options) => explainCommand(terminal, name, options));
}

async function explainCommand(terminal: Terminal, name: string, options: Options): Promise<void> {
  const questions = await questionsOf(options);
  const { mode, alpha, controls, favourites: favouritesPerLayer, seed, out } = options;
  await withModel(terminal, name, options, (model) =>
    runExperiment<Explanation>(terminal, options, {
      ...{ label: "Explaining", unit: "steps" },
      run: (update) =>
        explain(model, questions, {
          ...{ mode, alpha, controls, favouritesPerLayer, seed, out, signal: terminal.signal },
          onProgress: (stage, done, total) => update(done, total, stage),
        }),
      ...{ text: explanationText, plots: explanationPlots },
    }),
  );
}

function explanationText({ questions, items, domains, outcomes, probe, claims }: Explanation): string {
  const [made, tested] = items;
  const lines = [`${questions}: claims from ${made} items, tested on ${tested} others`, ""];
  if (domains !== undefined) {
    const { perLayer } = domains;
    const real = perLayer.filter(({ q }) => q <= 0.05).length;
    lines.push(
      `Domains are told apart by the experts of ${real} of ${perLayer.length} layers beyond a random labelling (q <= 0.05).`,
    );
  }
  if (outcomes !== undefined) {
    const found = outcomes.slots.filter(({ q }) => q <= 0.05).length;
    lines.push(
      `${outcomes.correct} right and ${outcomes.wrong} wrong answers: ${found} of ${outcomes.slots.length} experts are used differently (q <= 0.05, stratified by group and length).`,
    );
  } else lines.push("Right and wrong answers cannot be compared: no group has both.");
  if (probe !== undefined) {
    const { baseline, routing, both, samples, folds } = probe;
    const auc = ({ auc, interval: [low, high] }: typeof routing) =>
      `${auc.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
    lines.push(
      `Correctness is predicted with AUC ${auc(baseline)} by length and group, ${auc(routing)} by routes, ${auc(both)} by both (${samples} items, ${folds}-fold).`,
    );
  }
  if (claims.length === 0) lines.push("", "The first half makes no claim.");
  for (const [i, claim] of claims.entries()) lines.push("", `${i + 1}. ${claim.association}.`, `   ${claim.verdict}`);
  const survivors = claims.filter(({ survived }) => survived).length;
  return [...lines, "", `${survivors} of ${claims.length} claims survived.`].join("\n");
}

function explanationPlots({ domains, claims, measure }: Explanation): Record<string, PlotData> {
  const scale = measure === "accuracy" ? 100 : 1;
  const rows = claims.flatMap(({ group, experts, test, controls }): ForestRow[] => {
    const row = (label: string, { difference, interval: [low, high] }: typeof test): ForestRow => {
      return { label, effect: scale * difference, lower: scale * low, upper: scale * high };
    };
    const name = experts.length === 1 ? slotsLabel(experts) : `its experts`;
    return [
      row(`${group}: ${name}`, test),
      ...controls.map(({ effect }, i) => ({ ...row(`${group}: control ${i + 1} of ${name}`, effect), control: true })),
    ];
  });
  const unit = measure === "accuracy" ? "change in accuracy, points" : "change in log-probability, nats per item";
  return {
    ...(rows.length > 0 && {
      claims: {
        plot: "forest",
        effect: unit,
        rows,
        title: "On the held-out half, without the claimed experts",
      } as const,
    }),
    ...(domains !== undefined && { domains: { plot: "domain-heatmap", ...domainPlot(domains) } as const }),
  };
}
