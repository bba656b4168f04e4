/** `moescope generate`: continues a prompt. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { fromSystemError, InvalidArgumentError } from "../errors.js";
import type { Generation } from "../model/generation.js";
import type { Model } from "../model/model.js";
import { formatSampling } from "../model/sampling.js";
import { readStdin, type Terminal } from "./io.js";
import { withModel } from "./load.js";
import {
  captureOf,
  integer,
  jsonOption,
  type ModelOptions,
  withCaptureFlags,
  withIntervene,
  withModelOptions,
} from "./options.js";
import { type SamplingFlags, samplingOf, withSamplingOptions } from "./sampling-options.js";
import { printGeneration } from "./stream-text.js";
import { TraceFolder } from "./trace-folder.js";

interface Options extends ModelOptions, SamplingFlags {
  traceLayers?: number[];
  traceSegments?: string[];
  traceOrigin?: "prompt" | "generated";
  prompt?: string;
  promptFile?: string;
  n?: number;
  trace?: string;
  json?: boolean;
}

export function registerGenerate(program: Command, terminal: Terminal): void {
  const command = program
    .command("generate")
    .description("continue a prompt; the text goes to stdout as it grows, statistics to stderr")
    .argument("<model>", "folder, .gguf file or demo")
    .option("--prompt <text>", "the prompt (default: what stdin holds)")
    .option("--prompt-file <file>", "read the prompt from a file, as it is");
  const sampled = withSamplingOptions(command)
    .option("--n <n>", "texts to draw from the prompt", integer(1, 1024))
    .option("--trace <dir>", "record the routes (level topk) in a new folder");
  withCaptureFlags(sampled, "trace-").addOption(
    jsonOption("print {text, tokenIds, finishReason, usage, timing}; with --n above 1 a list of them"),
  );
  withModelOptions(withIntervene(command))
    .addHelpText("after", '\nExample:\n  $ moescope generate demo --prompt "1, 2, 3," --max-tokens 16')
    .action((name: string, options: Options) => generate(terminal, name, options));
}

async function generate(terminal: Terminal, name: string, options: Options): Promise<void> {
  const prompt = await promptOf(terminal, options);
  const folder = options.trace === undefined ? undefined : await TraceFolder.create(options.trace, "parquet");
  await withModel(terminal, name, options, async (model) => {
    const { traceLayers: layers, traceSegments: segments, traceOrigin: origin } = options;
    const trace = folder && captureOf("topk", { layers, segments, origin });
    const call = { ...samplingOf(options), n: options.n, trace, signal: terminal.signal };
    const generation = await printGeneration(terminal, model.stream(prompt, call), options);
    if (!options.quiet) noteStatistics(terminal, generation);
    if (folder !== undefined) await writeTrace(folder, model, generation);
  });
}

async function promptOf(terminal: Terminal, { prompt, promptFile }: Options): Promise<string> {
  if (prompt !== undefined && promptFile !== undefined) {
    throw new InvalidArgumentError("Expected one of --prompt and --prompt-file, got both.");
  }
  if (prompt !== undefined) return prompt;
  if (promptFile !== undefined) {
    return readFile(promptFile, "utf8").catch((error) => {
      throw fromSystemError(error, `read the prompt ${promptFile}`);
    });
  }
  if (terminal.stdin.isTTY)
    throw new InvalidArgumentError("Expected --prompt, --prompt-file or a text on stdin, got none.");
  return readStdin(terminal);
}

function noteStatistics(terminal: Terminal, { usage, timing, sampling, samples, finishReason }: Generation): void {
  const rate = timing.tokensPerSecond > 0 ? `, ${timing.tokensPerSecond.toFixed(1)} tokens/s` : "";
  const texts = samples.length > 1 ? ` in ${samples.length} texts` : `, ended by ${finishReason}`;
  terminal.note(
    `${usage.promptTokens} prompt tokens in ${(timing.promptMs / 1000).toFixed(2)} s, ` +
      `${usage.completionTokens} generated${rate}${texts}; sampling: ${formatSampling(sampling)}`,
  );
}

async function writeTrace(folder: TraceFolder, model: Model, { samples }: Generation): Promise<void> {
  for (const [index, { trace }] of samples.entries()) {
    if (trace === undefined) continue;
    await folder.add(trace.withKey({ request: index }));
    await folder.flush();
  }
  await folder.finish(model, "topk");
}
