/** `moescope replay`: one model's routes through another. */
import type { Command } from "commander";
import { type RouteReplay, routeReplay } from "../experiment/route-replay.js";
import { runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { oneOf } from "./options.js";
import { questionsOf } from "./questions.js";
import { formatNumber, textTable } from "./text-table.js";
import { type TwoFilesOptions, withTwoFilesOptions, withTwoModels } from "./two-files.js";

interface Options extends TwoFilesOptions {
  routesOf: string;
  weights: "model" | "recorded";
}

export function registerReplay(program: Command, terminal: Terminal): void {
  const command = program
    .command("replay")
    .description(
      "a model under the routes that another file of it takes: how much of their difference is where tokens go",
    )
    .argument("<model>", "the model that runs, e.g. the Q4_K_M file")
    .requiredOption("--routes-of <model>", "the model whose routes it takes, e.g. the bf16 one")
    .option(
      "--weights <whose>",
      "gates of the replayed experts: of the model that runs, or as recorded",
      oneOf("model", "recorded"),
      "model" as const,
    );
  withTwoFilesOptions(command, "result.json")
    .addHelpText(
      "after",
      "\nA model's own routes change no bit of it.\n\nExample:\n  $ moescope replay demo-Q4_K_M.gguf --routes-of demo --data mmlu-mini --limit 40",
    )
    .action((name: string, options: Options) => replayCommand(terminal, name, options));
}

async function replayCommand(terminal: Terminal, name: string, options: Options): Promise<void> {
  const questions = await questionsOf(options);
  const { weights, maxTokens, routesOf } = options;
  await withTwoModels(terminal, [name, routesOf], options, (model, other) =>
    runExperiment<RouteReplay>(terminal, options, {
      ...{ label: "Replaying", unit: "items" },
      run: (onProgress) =>
        routeReplay(model, other, questions, { ...{ weights, maxTokens, signal: terminal.signal }, onProgress }),
      text: (found) => replayText(found, name, routesOf),
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
