/** `moescope routes`: which experts serve which domain. */
import type { Command } from "commander";
import { type DomainRoutes, domainPlot, domainRoutes, favourites } from "../experiment/domain-routes.js";
import { type ExperimentOptions, runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, jsonOption, type ModelOptions, withModelOptions } from "./options.js";
import { type QuestionOptions, questionsOf, withQuestionOptions } from "./questions.js";
import { formatNumber, textTable } from "./text-table.js";

interface Options extends ModelOptions, QuestionOptions, ExperimentOptions {
  permutations?: number;
  seed: number;
}

/** Experts that the table lists for each domain. */
const EXPERTS_LISTED = 6;

export function registerRoutes(program: Command, terminal: Terminal): void {
  const command = program
    .command("routes")
    .description("which experts serve which domain, against a random labelling of the same documents")
    .argument("<model>", "folder, .gguf file or demo");
  withQuestionOptions(command)
    .option("--permutations <n>", "random labellings (default: as many as the tests need, within seconds)", integer(99))
    .option("--seed <n>", "seed of the permutations and the bootstrap", integer(0), 0)
    .option("--out <dir>", "folder for result.json and the heat map as SVG and PNG")
    .addOption(jsonOption("print the result as JSON"));
  withModelOptions(command)
    .addHelpText(
      "after",
      "\nExample:\n  $ moescope routes demo --data mmlu-mini,ceval-mini,gsm8k-mini,humaneval-mini --out domains",
    )
    .action((name: string, options: Options) => routes(terminal, name, options));
}

async function routes(terminal: Terminal, name: string, options: Options): Promise<void> {
  const questions = await questionsOf(options);
  const { permutations, seed } = options;
  await withModel(terminal, name, options, (model) =>
    runExperiment<DomainRoutes>(terminal, options, {
      ...{ label: "Reading", unit: "items" },
      run: (onProgress) =>
        domainRoutes(model, questions, { ...{ permutations, seed, signal: terminal.signal }, onProgress }),
      text: routesText,
      plots: (found) => ({ domains: { plot: "domain-heatmap", ...domainPlot(found) } }),
    }),
  );
}

function routesText(found: DomainRoutes): string {
  const { domains, documents, tokens, perLayer, permutations } = found;
  const interval = ([low, high]: readonly [number, number], digits: number) =>
    `[${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
  const layers = perLayer.map((row) => [
    String(row.layer),
    row.information.toFixed(4),
    interval(row.interval, 4),
    `${row.null.mean.toFixed(4)} ± ${row.null.sd.toFixed(4)}`,
    row.corrected.toFixed(4),
    formatNumber(row.p, 2),
    formatNumber(row.q, 2),
  ]);
  const experts = domains.flatMap((domain) => {
    const list = favourites(found, domain).slice(0, EXPERTS_LISTED);
    if (list.length === 0) return [[domain, "none beyond chance", "", "", "", ""]];
    return list.map((e, i) => [
      i === 0 ? domain : "",
      `layer ${e.layer}, expert ${e.expert}`,
      e.rate.toFixed(3),
      `×${e.lift.toFixed(2)}`,
      `${e.difference.toFixed(3)} ${interval(e.interval, 3)}`,
      formatNumber(e.q, 2),
    ]);
  });
  return [
    domains.map((domain, i) => `${domain}: ${documents[i]} documents, ${tokens[i]} tokens`).join("\n"),
    "",
    "Information that an expert carries about the domain, nats per route:",
    textTable([["layer", "plug-in", "95 %", "null", "corrected", "p", "q"], ...layers], [0, 1, 3, 4, 5, 6]),
    "",
    "Experts that a domain prefers (rate, use over that of all domains, difference to the others with 95 %):",
    textTable([["domain", "expert", "rate", "lift", "difference", "q"], ...experts], [2, 3, 5]),
    "",
    `${permutations} permutations of the domains over documents; q: Benjamini-Hochberg. Token types confound domains: test a claim by ablation (moescope explain).`,
  ].join("\n");
}
