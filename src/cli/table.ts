/** `moescope table`: the model card's table, ours beside the card's. */
import type { Command } from "commander";
import { CARD_MODELS, type CardRow, type CardRun, cardRows, type OurScore } from "../eval/model-card.js";
import type { RunIdentity } from "../eval/run.js";
import { readRunFile } from "../eval/run-folder.js";
import { readRun } from "../eval/saved-run.js";
import type { Terminal } from "./io.js";
import { jsonOption } from "./options.js";
import { textTable } from "./text-table.js";

export function registerTable(program: Command, terminal: Terminal): void {
  program
    .command("table")
    .description("the model card's benchmarks with the scores of runs beside it: interval, n, track, protocol")
    .argument("<runs...>", "run folders of eval")
    .addOption(jsonOption("print the rows as JSON"))
    .addHelpText("after", "\nExample:\n  $ moescope table runs/mmlu runs/gsm8k")
    .action(async (folders: string[], { json }: { json?: boolean }) => {
      const rows = cardRows(await Promise.all(folders.map(readCardRun)));
      if (json) await terminal.printJson({ models: CARD_MODELS, rows });
      else await terminal.print(cardTable(rows));
    });
}

async function readCardRun(folder: string): Promise<CardRun> {
  const { weightType, precision } = ((await readRunFile(folder)).identity as RunIdentity).model;
  const weights = [weightType, precision].filter((part) => part !== undefined).join(" ");
  return { run: await readRun(folder), weights };
}

const HEADER: readonly string[] = [
  ...["", "Mixtral-8x7B", "Yi-1.5-34B", "Qwen1.5-32B", "Qwen2-57B-A14B"],
  ...["ours", "95 % interval", "n", "track", "model", "weights", "metric", "protocol"],
];

/** Columns of numbers. */
const RIGHT = [1, 2, 3, 4, 5, 6, 7];

/** One line for each of our numbers; the card's stand in the first line of their benchmark. Tracks have lines of their own. */
function cardTable(rows: readonly CardRow[]): string {
  const lines = rows.flatMap(({ benchmark, scores, ours }) => {
    const card = CARD_MODELS.map((_, i) => (scores === null ? "" : shown(scores[i])));
    if (ours.length === 0) return [[benchmark, ...card, "not run", "", "", "", "", "", "", ""]];
    return ours.map((score, i) => [...(i === 0 ? [benchmark, ...card] : ["", "", "", "", ""]), ...cellsOf(score)]);
  });
  const notes = rows.flatMap(({ benchmark, note, ours }) => {
    const isPart = ours.some(({ isWhole }) => !isWhole);
    return [
      ...(note !== undefined && ours.length > 0 ? [`${benchmark}: ${note}.`] : []),
      ...(isPart ? [`${benchmark}: n marked * is a part of the benchmark.`] : []),
    ];
  });
  const columns = textTable([HEADER, ...lines], RIGHT);
  return [columns, "", "Columns 2 to 5 are the card's numbers, without intervals.", ...notes].join("\n");
}

function cellsOf({ model, weights, track, protocol, metric, estimate, isWhole }: OurScore): string[] {
  const { value, interval, n } = estimate;
  const [low, high] = interval;
  const range = `${percent(low)} to ${percent(high)}`;
  return [percent(value), range, isWhole ? String(n) : `${n}*`, track, model, weights, metric, protocol];
}

function percent(share: number): string {
  return Number.isFinite(share) ? (100 * share).toFixed(1) : "n/a";
}

/** As the card prints it. */
function shown(score: number | null | undefined): string {
  if (score === null || score === undefined) return "–";
  return score < 10 ? score.toFixed(2) : score.toFixed(1);
}
