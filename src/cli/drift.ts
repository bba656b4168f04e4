/** `moescope drift`: the same tokens through two files of a model. */
import type { Command } from "commander";
import { type Drift, drift, driftPlot } from "../experiment/drift.js";
import { ALL_GROUPS } from "../experiment/paired-effect.js";
import { runExperiment } from "./experiment.js";
import type { Terminal } from "./io.js";
import { questionsOf } from "./questions.js";
import { formatNumber, textTable } from "./text-table.js";
import { type TwoFilesOptions, withTwoFilesOptions, withTwoModels } from "./two-files.js";

export function registerDrift(program: Command, terminal: Terminal): void {
  const command = program
    .command("drift")
    .description(
      "the same tokens through two files of a model: logits, routes, which routes flipped, and which changed an answer",
    )
    .argument("<a>", "the model to compare with, e.g. the bf16 one")
    .argument("<b>", "another file of it, e.g. Q4_K_M");
  withTwoFilesOptions(command, "result.json and the margin histogram as SVG and PNG")
    .addHelpText(
      "after",
      "\nExample:\n  $ moescope quantize demo demo-Q4_K_M.gguf --type Q4_K_M\n  $ moescope drift demo demo-Q4_K_M.gguf --data mmlu-mini --limit 40 --out drift",
    )
    .action((a: string, b: string, options: TwoFilesOptions) => driftCommand(terminal, a, b, options));
}

async function driftCommand(terminal: Terminal, a: string, b: string, options: TwoFilesOptions): Promise<void> {
  const questions = await questionsOf(options);
  const { maxTokens } = options;
  await withTwoModels(terminal, [a, b], options, (first, second) =>
    runExperiment<Drift>(terminal, options, {
      ...{ label: "Comparing", unit: "items" },
      run: (update) =>
        drift(first, second, questions, {
          ...{ maxTokens, signal: terminal.signal },
          onProgress: (stage, done, total) => update(done, total, stage),
        }),
      text: (found) => driftText(found, (id) => second.tokenizer.decode([id])),
      plots: (found) => ({
        margins: { plot: "margin-histogram", ...driftPlot(found, `Margins in ${a}, flipped in ${b}`) },
      }),
    }),
  );
}

/** Changed answers that the table lists. */
const ROWS = 12;

function driftText(found: Drift, textOf: (id: number) => string): string {
  const {
    documents,
    tokens,
    logitError,
    kl,
    top1Agreement,
    layers,
    agreement,
    differs,
    flips,
    scores,
    changedAnswers,
  } = found;
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const figures = [
    [
      "logit error, rms and largest, over the sd of logits",
      `${formatNumber(logitError.rms)}, ${formatNumber(logitError.max)}`,
    ],
    [
      "KL(A || B) mean, median, largest, nats per token",
      [kl.mean, kl.median, kl.max].map((v) => formatNumber(v)).join(", "),
    ],
    ["same likeliest token", percent(top1Agreement)],
    ["tokens with other experts in any layer", percent(found.differsInAnyLayer)],
  ];
  const routes = layers.map((layer, i) => [String(layer), percent(agreement[i]!), percent(differs[i]!)]);
  const bins = flips
    .filter(({ tokens }) => tokens > 0)
    .map(({ from, to, tokens, flips }) => [
      `${from.toFixed(1)} to ${to.toFixed(1)}`,
      String(tokens),
      String(flips),
      percent(flips / tokens),
    ]);
  const effects = scores
    .filter(({ group }) => group === ALL_GROUPS)
    .map(({ measure, before, after, difference, interval, p, n }) => {
      const change = `${difference.toFixed(4)} [${interval.map((end) => end.toFixed(4)).join(", ")}]`;
      return [measure, before.toFixed(4), after.toFixed(4), change, formatNumber(p, 2), String(n)];
    });
  const caused = changedAnswers.filter(({ causedByRoutes }) => causedByRoutes).length;
  const changed = changedAnswers
    .slice(0, ROWS)
    .map((answer) => [
      answer.sampleId,
      String(answer.position),
      `${JSON.stringify(textOf(answer.tokenA))} → ${JSON.stringify(textOf(answer.tokenB))}`,
      answer.correct === undefined ? "" : answer.correct.join(" → "),
      String(answer.flips),
      answer.causedByRoutes
        ? `routes${answer.sufficientLayers.length > 0 ? ` (layer ${answer.sufficientLayers.join(" or ")} alone)` : ""}`
        : "weights",
    ]);
  return [
    `${documents} documents, ${tokens} tokens`,
    textTable(figures, [1]),
    textTable([["layer", "experts in common", "tokens whose set differs"], ...routes], [0, 1, 2]),
    textTable([["margin in A", "tokens x layers", "flipped", "share"], ...bins], [1, 2, 3]),
    textTable([["score", "A", "B", "change (95 %)", "p", "n"], ...effects], [1, 2, 4, 5]),
    `${changedAnswers.length} documents in whose answer another token is likeliest; in ${caused} of them A's routes alone bring A's token back to B.`,
    ...(changed.length === 0
      ? []
      : [textTable([["item", "position", "first other token", "score", "flips", "by"], ...changed], [1, 4])]),
  ].join("\n\n");
}
