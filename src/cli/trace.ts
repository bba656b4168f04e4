/** `moescope trace`: runs a text and records what the router did. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { AbortError, fromSystemError, InvalidArgumentError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { CaptureLevel } from "../native/binding.js";
import { capturePlan } from "../router/capture.js";
import { expertHeatmap } from "./heatmap.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import {
  type CaptureFlags,
  captureOf,
  integer,
  jsonOption,
  type ModelOptions,
  oneOf,
  withCaptureFlags,
  withIntervene,
  withModelOptions,
} from "./options.js";
import { progressBar } from "./progress.js";
import { type TracedLoad, TraceFolder, type TraceFormat } from "./trace-folder.js";

interface Options extends ModelOptions, CaptureFlags {
  file?: string;
  prompt?: string;
  level: CaptureLevel;
  out: string;
  format: TraceFormat;
  window?: number;
  json?: boolean;
}

export function registerTrace(program: Command, terminal: Terminal): void {
  const command = program
    .command("trace")
    .description("run a text and write what the router did, token by token, with its provenance")
    .argument("<model>", "folder, .gguf file or demo")
    .option("--file <file>", "the text, from a file")
    .option("--prompt <text>", "the text itself")
    .option(
      "--level <level>",
      "counts, topk (ids, weights, margins), logits (also raw router logits), hidden (also the residual stream)",
      oneOf("counts", "topk", "logits", "hidden"),
      "topk" as CaptureLevel,
    )
    .requiredOption("--out <dir>", "a new or empty folder")
    .option("--format <format>", "parquet or arrow", oneOf("parquet", "arrow"), "parquet" as TraceFormat)
    .option("--window <n>", "tokens in one pass, each from position 0 (default: the model's context)", integer(1))
    .addOption(jsonOption("print the counts as JSON in place of a heat map"));
  withModelOptions(withIntervene(withCaptureFlags(command)))
    .addHelpText(
      "after",
      "\nThe folder gets part-00000.parquet and on, each of one window and at most 64 MiB in memory, and counts.json. At level hidden the" +
        "\ncolumns router_input, expert_norms, shared_norm and residual come with them, and hidden-00000.safetensors and on beside the parts:" +
        "\nfloat32 tensors hidden.L of shape [tokens, hidden_size], the residual stream after layer L, dense ones included." +
        "\n\nBytes per token and layer before compression, with E experts, k of them chosen: topk 9 + 6 k, logits 4 E more, hidden 8 hidden_size" +
        "\nand 4 k more in Parquet, and 4 hidden_size more in safetensors; 8 more with a shared expert. Qwen2-57B-A14B: topk 1.8 kB a token," +
        "\nlogits 9 kB, hidden 1.2 MB. What is written is not held in memory, however long the text is." +
        '\n\nExample:\n  $ moescope trace demo --prompt "The cat sat." --level logits --out routes',
    )
    .action((name: string, options: Options) => trace(terminal, name, options));
}

async function trace(terminal: Terminal, name: string, options: Options): Promise<void> {
  const text = await textOf(options);
  const provenance = {
    textSha256: createHash("sha256").update(text, "utf8").digest("hex"),
    text: options.file ?? "--prompt",
  };
  const folder = await TraceFolder.create(options.out, options.format, provenance);
  await withModel(terminal, name, options, async (model) => {
    capturePlan(captureOf(options.level, options), model.parts.shape);
    const ids = await model.tokenizer.encode(text);
    if (ids.length === 0) throw new InvalidArgumentError("Expected a text of at least one token, got an empty one.");
    const { load, tokens } = await recorded(terminal, model, ids, folder, options);
    if (options.json) {
      const layers = load.layers.map((layer) => ({ layer, counts: load.layer(layer) }));
      await terminal.printJson({ out: folder.path, level: options.level, tokens, numExperts: load.numExperts, layers });
      return;
    }
    const { isTTY: colour, columns: width } = terminal.stdout;
    await terminal.print(
      `${tokens} tokens at level ${options.level} in ${folder.path}\n${expertHeatmap(load, { colour, width })}`,
    );
  });
}

async function textOf({ file, prompt }: Options): Promise<string> {
  if ((file === undefined) === (prompt === undefined)) {
    throw new InvalidArgumentError(
      `Expected one of --file and --prompt, got ${file === undefined ? "neither" : "both"}.`,
    );
  }
  if (prompt !== undefined) return prompt;
  return readFile(file!, "utf8").catch((error) => {
    throw fromSystemError(error, `read the text ${file}`);
  });
}

/** Runs the text and closes the folder, also when the work is cancelled: the parts that are done stay. */
async function recorded(
  terminal: Terminal,
  model: Model,
  ids: Int32Array,
  folder: TraceFolder,
  options: Options,
): Promise<TracedLoad> {
  const counted = async (tokens: number) =>
    options.level === "counts" ? { load: await model.expertLoad(), tokens } : undefined;
  let done = 0;
  try {
    for await (done of runWindows(terminal, model, ids, folder, options));
  } catch (error) {
    if (!(error instanceof AbortError) || done === 0) throw error;
    await folder.finish(model, options.level, { counted: await counted(done), isComplete: false });
    throw new AbortError(`The trace was cancelled after ${done} of ${ids.length} tokens, which are in ${folder.path}.`);
  }
  return folder.finish(model, options.level, { counted: await counted(ids.length) });
}

/** One pass per window, whose rows carry its number as `request`; yields the tokens that are done. */
async function* runWindows(
  terminal: Terminal,
  model: Model,
  ids: Int32Array,
  folder: TraceFolder,
  options: Options,
): AsyncGenerator<number> {
  const { level, window = model.config.maxContext, quiet } = options;
  const count = Math.ceil(ids.length / window);
  if (count > 1 && !quiet)
    terminal.note(`The text has ${ids.length} tokens: ${count} passes of up to ${window}, each from position 0.`);
  const bar = progressBar(terminal, "Tracing", { quiet, unit: "tokens" });
  try {
    for (let number = 0; number < count; number++) {
      const start = number * window;
      await model.forward(ids.subarray(start, start + window), {
        ...{ logits: "none", trace: captureOf(level, options), signal: terminal.signal },
        onTrace: (piece) => folder.add(piece.withKey({ request: number })),
        onProgress: (done) => bar.update(start + done, ids.length),
      });
      await folder.flush();
      yield Math.min(start + window, ids.length);
    }
  } finally {
    bar.stop();
  }
}
