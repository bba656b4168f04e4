/** `moescope regret`: how much better other routes of the same cost would have served the right answers. */
import type { Command } from "commander";
import { InvalidArgumentError } from "../errors.js";
import type { Questions } from "../experiment/questions.js";
import { type GoldText, type RouteRegret, routeRegret } from "../experiment/route-regret.js";
import { pairOf } from "../model/likelihood.js";
import type { Model } from "../model/model.js";
import { type ExperimentOptions, runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, jsonOption, type ModelOptions, number, withModelOptions } from "./options.js";
import { type QuestionOptions, questionsOf, withQuestionOptions } from "./questions.js";
import { formatNumber, textTable } from "./text-table.js";

interface Options extends ModelOptions, QuestionOptions, ExperimentOptions {
  routes: number;
  temperature: number;
  seed: number;
}

export function registerRegret(program: Command, terminal: Terminal): void {
  const command = program
    .command("regret")
    .description(
      "ln p of the right answers on the model's own routes against the best of sampled routes of the same cost",
    )
    .argument("<model>", "folder, .gguf file or demo");
  withQuestionOptions(command)
    .option("--routes <n>", "routes that are sampled for each answer; the best of more is better", integer(1), 16)
    .option("--temperature <t>", "experts are drawn from softmax(logits / t)", number(0.01, 100), 1)
    .option("--seed <n>", "seed of the routes and the bootstrap", integer(0), 0)
    .option("--out <dir>", "folder for result.json")
    .addOption(jsonOption("print the result as JSON"));
  withModelOptions(command)
    .addHelpText(
      "after",
      "\n--data must be lines with right answers: context and continuation, or choices and answer.\n\nExample:\n  $ moescope regret demo --data lines.jsonl --routes 16",
    )
    .action((name: string, options: Options) => regret(terminal, name, options));
}

async function regret(terminal: Terminal, name: string, options: Options): Promise<void> {
  const questions = await questionsOf(options);
  const { routes, temperature, seed } = options;
  await withModel(terminal, name, options, async (model) => {
    const texts = await goldTexts(model, questions, options.data);
    await runExperiment<RouteRegret>(terminal, options, {
      ...{ label: "Sampling routes", unit: "answers" },
      run: (onProgress) =>
        routeRegret(model, texts, { routes, temperature, seed, signal: terminal.signal, onProgress }),
      text: regretText,
    });
  });
}

/** The tokens of each context with its right answer. */
async function goldTexts(model: Model, { lines }: Questions, data: string): Promise<GoldText[]> {
  const gold = lines?.map(({ context, continuation, choices, answer }) => ({
    context,
    answer: choices === undefined ? continuation : choices[answer!],
  }));
  if (gold === undefined || gold.some(({ context, answer }) => context === undefined || answer === undefined)) {
    throw new InvalidArgumentError(
      `Expected a file of lines with context and right answer for --data, got ${lines === undefined ? `the benchmarks ${data}` : `lines of text in ${data}`}.`,
    );
  }
  return Promise.all(
    gold.map(async ({ context, answer }, index) => {
      const { contextIds, continuationIds } = await pairOf(
        model,
        { context: context!, continuation: answer! },
        index,
        true,
      );
      return { tokenIds: [...contextIds, ...continuationIds], goldStart: contextIds.length };
    }),
  );
}

function regretText({ texts, mean, interval: [low, high], typical, routes, temperature }: RouteRegret): string {
  const better = texts.filter(({ regret }) => regret > 0).length;
  return [
    `${texts.length} answers, ${routes} routes each at temperature ${temperature}, nats per answer`,
    textTable([
      [
        "regret: best sampled route against the model's own",
        `${formatNumber(mean)} [${low.toFixed(4)}, ${high.toFixed(4)}]`,
      ],
      ["null: one route drawn blindly against the model's own", formatNumber(typical)],
      ["answers that a sampled route serves better", `${better} of ${texts.length}`],
    ]),
    "The best of several exceeds the null by selection alone: state the number of routes with the figure.",
  ].join("\n\n");
}
