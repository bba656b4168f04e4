/** `moescope perplexity`: how well a model predicts a text, and how far another file of it is away. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { fromSystemError, InvalidArgumentError } from "../errors.js";
import { type Divergence, divergence } from "../model/divergence.js";
import type { Model } from "../model/model.js";
import { type Perplexity, perplexityOf, type RollingOptions, type RollingResult } from "../model/rolling.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, jsonOption, type ModelOptions, withIntervene, withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";
import { formatNumber, textTable } from "./text-table.js";

interface Options extends ModelOptions {
  file: string;
  against?: string;
  window?: number;
  parseSpecial?: boolean;
  json?: boolean;
}

export function registerPerplexity(program: Command, terminal: Terminal): void {
  const command = program
    .command("perplexity")
    .description(
      "perplexity of a text by the windows of lm-evaluation-harness; with --against also the divergence of two models",
    )
    .argument("<model>", "folder, .gguf file or demo")
    .requiredOption("--file <file>", "the text")
    .option("--against <model>", "another file of the model: KL divergence, top-1 and route agreement")
    .option("--window <n>", "longest input of a window in tokens (default: the model's context)", integer(1))
    .option("--parse-special", "read special-token text as special tokens, as lm-evaluation-harness does")
    .addOption(jsonOption("print one JSON object"));
  withModelOptions(withIntervene(command))
    .addHelpText(
      "after",
      "\nExample:\n  $ moescope perplexity model-Q4_K_M.gguf --file wiki.txt --against model-BF16.gguf --window 2048",
    )
    .action((name: string, options: Options) => perplexity(terminal, name, options));
}

async function perplexity(terminal: Terminal, name: string, options: Options): Promise<void> {
  const text = await readFile(options.file, "utf8").catch((error) => {
    throw fromSystemError(error, `read the text ${options.file}`);
  });
  if (text === "") throw new InvalidArgumentError(`Expected a text in ${options.file}, the file is empty.`);
  await withModel(terminal, name, options, async (model) => {
    if (options.against === undefined) await alone(terminal, model, text, options);
    else
      await withModel(terminal, options.against, { ...options, intervene: undefined }, (other) =>
        against(terminal, model, other, text, options),
      );
  });
}

async function alone(terminal: Terminal, model: Model, text: string, options: Options): Promise<void> {
  const [result] = await withBar(terminal, options, (rolling) => model.loglikelihoodRolling([text], rolling));
  const figures = figuresOf(result!);
  if (options.json)
    await terminal.printJson({ model: model.parts.checkpoint.path, window: windowOf(model, options), ...figures });
  else await terminal.print(`${textTable(rowsOf([figures]), [1])}\n${summaryLine(result!, windowOf(model, options))}`);
}

async function against(terminal: Terminal, a: Model, b: Model, text: string, options: Options): Promise<void> {
  const found = await withBar(terminal, options, (rolling) => divergence(a, b, text, rolling));
  const figures = { a: figuresOf(found.a), b: figuresOf(found.b) };
  const window = Math.min(windowOf(a, options), windowOf(b, options));
  if (options.json) {
    const { kl, top1Agreement, routes } = found;
    const paths = { model: a.parts.checkpoint.path, against: b.parts.checkpoint.path };
    await terminal.printJson({
      ...paths,
      window,
      ...figures.a,
      other: figures.b,
      kl,
      top1Agreement,
      routes: routes ?? null,
    });
    return;
  }
  await terminal.print(
    [
      textTable([["", "A", "B"], ...rowsOf([figures.a, figures.b])], [1, 2]),
      "",
      textTable(divergenceRows(found), [1]),
      summaryLine(found.a, window),
    ].join("\n"),
  );
}

async function withBar<T>(
  terminal: Terminal,
  { quiet, window, parseSpecial }: Options,
  work: (options: RollingOptions) => Promise<T>,
): Promise<T> {
  const bar = progressBar(terminal, "Reading", { quiet, unit: "tokens" });
  try {
    return await work({
      window,
      parseSpecial,
      signal: terminal.signal,
      onProgress: (done, total) => bar.update(done, total),
    });
  } finally {
    bar.stop();
  }
}

function windowOf(model: Model, { window }: Options): number {
  return window ?? model.config.maxContext;
}

interface Figures {
  tokens: number;
  bytes: number;
  words: number;
  logprob: number;
  perplexity: Perplexity;
}

function figuresOf(result: RollingResult): Figures {
  const { tokenIds, numBytes: bytes, numWords: words, logprob } = result;
  return { tokens: tokenIds.length, bytes, words, logprob, perplexity: perplexityOf([result]) };
}

function rowsOf(figures: readonly Figures[]): string[][] {
  const row = (name: string, value: (perplexity: Perplexity) => number) => [
    name,
    ...figures.map(({ perplexity }) => formatNumber(value(perplexity), 6)),
  ];
  return [
    row("perplexity per token", ({ perToken }) => perToken),
    row("perplexity per word", ({ perWord }) => perWord),
    row("perplexity per byte", ({ perByte }) => perByte),
    row("bits per byte", ({ bitsPerByte }) => bitsPerByte),
  ];
}

function divergenceRows({ kl, top1Agreement, routes }: Divergence): string[][] {
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const rows = [
    ["KL(A || B) mean, nats per token", formatNumber(kl.mean)],
    ["KL(A || B) median", formatNumber(kl.median)],
    ["KL(A || B) largest", formatNumber(kl.max)],
    ["same likeliest token", percent(top1Agreement)],
  ];
  if (routes === undefined) return rows;
  return [...rows, ["same set of experts", percent(routes.sameSet)], ["experts in common", percent(routes.overlap)]];
}

function summaryLine({ tokenIds, numBytes, numWords, logprob }: RollingResult, window: number): string {
  return `${tokenIds.length} tokens, ${numWords} words, ${numBytes} bytes, log-likelihood ${logprob.toFixed(2)}, windows of ${window} tokens`;
}
