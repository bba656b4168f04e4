/** `moescope replay`: one model's routes through another. */
import type { Command } from "commander";
import { type RouteReplay, routeReplay } from "../experiment/route-replay.js";
import { writeExperiment } from "./experiment-folder.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, jsonOption, type ModelOptions, oneOf, withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";
import { type QuestionOptions, questionsOf, withQuestionOptions } from "./questions.js";
import { formatNumber, textTable } from "./text-table.js";

interface Options extends ModelOptions, QuestionOptions {
  routesOf: string;
  weights: "model" | "recorded";
  maxTokens: number;
  out?: string;
  json?: boolean;
}

export function registerReplay(program: Command, terminal: Terminal): void {
  const command = program
    .command("replay")
    .description(
      "a model under the routes that another file of it takes: how much of their difference is where tokens go",
    )
    .argument("<model>", "the model that runs, e.g. the Q4_K_M file")
    .requiredOption("--routes-of <model>", "the model whose routes it takes, e.g. the bf16 one");
  withQuestionOptions(command)
    .option(
      "--weights <whose>",
      "gates of the replayed experts: of the model that runs, or as recorded",
      oneOf("model", "recorded"),
      "model" as const,
    )
    .option("--max-tokens <n>", "tokens of an item that are run", integer(2), 256)
    .option("--out <dir>", "folder for result.json")
    .addOption(jsonOption("print the result as JSON"));
  withModelOptions(command)
    .addHelpText(
      "after",
      "\nA model's own routes change no bit of it.\n\nExample:\n  $ moescope replay demo-Q4_K_M.gguf --routes-of demo --data mmlu-mini --limit 40",
    )
    .action((name: string, options: Options) => replayCommand(terminal, name, options));
}

async function replayCommand(terminal: Terminal, name: string, options: Options): Promise<void> {
  const questions = await questionsOf(options);
  const { weights, maxTokens, quiet, out } = options;
  await withModel(terminal, name, options, (model) =>
    withModel(terminal, options.routesOf, options, async (other) => {
      const bar = progressBar(terminal, "Replaying", { quiet, unit: "items" });
      let found: RouteReplay;
      try {
        found = await routeReplay(model, other, questions, {
          ...{ weights, maxTokens, signal: terminal.signal },
          onProgress: (done, total) => bar.update(done, total),
        });
      } finally {
        bar.stop();
      }
      if (options.json) await terminal.printJson(found);
      else await terminal.print(replayText(found, name, options.routesOf));
      if (out !== undefined) await writeExperiment(terminal, out, found, {}, quiet);
    }),
  );
}

function replayText(
  { documents, tokens, weights, logprob, effect, kl, explained, top1, perLayer }: RouteReplay,
  name: string,
  other: string,
): string {
  const percent = (share: number) => (Number.isNaN(share) ? "n/a" : `${(100 * share).toFixed(1)} %`);
  const [low, high] = effect.interval;
  return [
    `A is ${name}, B is ${other}; ${documents} documents, ${tokens} tokens, gates: ${weights === "model" ? "A's own" : "as recorded from B"}`,
    textTable(
      [
        ["", "ln p of the next token", "KL(B || .)", "B's likeliest token"],
        ["A", logprob.own.toFixed(4), formatNumber(kl.own), percent(top1.own)],
        ["A with B's routes", logprob.replayed.toFixed(4), formatNumber(kl.replayed), percent(top1.replayed)],
        ["B", logprob.other.toFixed(4), "0", "100.0 %"],
      ],
      [1, 2, 3],
    ),
    `B's routes change A's ln p by ${effect.difference.toFixed(5)} [${low.toFixed(5)}, ${high.toFixed(5)}] (p ${formatNumber(effect.p, 2)}) and take away ${percent(explained)} of KL(B || A).`,
    textTable(
      [
        ["B's routes in layer", "KL(B || A)", "taken away"],
        ...perLayer.map((row) => [String(row.layer), formatNumber(row.kl), percent(row.explained)]),
      ],
      [0, 1, 2],
    ),
  ].join("\n\n");
}
