/** `moescope` as a function: arguments and streams in, exit code out. Never throws, never ends the process. */
import { Command, CommanderError } from "commander";
import { AbortError, fromSystemError, MoescopeError } from "../errors.js";
import { packageVersion } from "../native/addon.js";
import { registerAblateScan } from "./ablate-scan.js";
import { registerBench } from "./bench.js";
import { registerChat } from "./chat.js";
import { registerCompare } from "./compare.js";
import { registerData } from "./data.js";
import { registerDemo } from "./demo.js";
import { registerDrift } from "./drift.js";
import { registerEval } from "./eval.js";
import { EXIT_CODE_HELP, EXIT_OK, EXIT_USAGE, exitCodeOf } from "./exit-code.js";
import { registerExplain } from "./explain.js";
import { registerGenerate } from "./generate.js";
import { registerInspect } from "./inspect.js";
import { type Streams, Terminal } from "./io.js";
import { registerKernel } from "./kernel.js";
import { registerNotebook } from "./notebook.js";
import { registerPerplexity } from "./perplexity.js";
import { registerPruneReport } from "./prune-report.js";
import { registerQuantize } from "./quantize.js";
import { registerReconstruct } from "./reconstruct.js";
import { registerRegret } from "./regret.js";
import { registerReplay } from "./replay.js";
import { registerReport } from "./report.js";
import { registerRoutes } from "./routes.js";
import { registerScore } from "./score.js";
import { registerSimilarity } from "./similarity.js";
import { registerTable } from "./table.js";
import { registerTrace } from "./trace.js";

/** Runs one command. `argv`: the arguments after the program's name. */
export async function run(argv: readonly string[], streams: Streams): Promise<number> {
  const terminal = new Terminal(streams);
  try {
    await program(terminal).parseAsync([...argv], { from: "user" });
    return EXIT_OK;
  } catch (error) {
    return report(error, terminal);
  }
}

function program(terminal: Terminal): Command {
  const root = new Command("moescope");
  root
    .description(
      "A microscope for Mixture-of-Experts language models. A <model> is a folder, a .gguf file, ollama:NAME, or demo.",
    )
    .version(packageVersion(), "--version")
    .exitOverride()
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      outputError: () => {}, // `report` says it
    })
    .addHelpText("after", EXIT_CODE_HELP);
  const register = [
    registerDemo,
    registerInspect,
    registerGenerate,
    registerChat,
    registerScore,
    registerTrace,
    registerPerplexity,
    registerQuantize,
    registerBench,
    registerEval,
    registerData,
    registerCompare,
    registerReport,
    registerTable,
    registerRoutes,
    registerAblateScan,
    registerExplain,
    registerDrift,
    registerReplay,
    registerPruneReport,
    registerReconstruct,
    registerRegret,
    registerSimilarity,
    registerKernel,
    registerNotebook,
  ];
  for (const add of register) add(root, terminal);
  return root;
}

function report(error: unknown, terminal: Terminal): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT_OK;
    if (error.code !== "commander.help") terminal.note(usageSentence(error.message));
    return EXIT_USAGE;
  }
  if (terminal.readerLeft) return EXIT_OK;
  const known = knownError(error);
  terminal.note(
    known instanceof MoescopeError
      ? inFlags(known.message)
      : `A fault of moescope itself: ${known instanceof Error ? known.message : String(known)} (set MOESCOPE_DEBUG for the stack).`,
  );
  if (process.env.MOESCOPE_DEBUG && error instanceof Error) terminal.note(stackOf(error));
  return exitCodeOf(known);
}

/** Faults of Node that nobody has given a sentence yet: a stream that was cancelled, a system error, memory that V8 could not have. */
function knownError(error: unknown): unknown {
  if (error instanceof Error && error.name === "AbortError" && !(error instanceof MoescopeError))
    return new AbortError();
  if (
    error instanceof RangeError &&
    /allocation failed|invalid (typed array|array buffer) length/i.test(error.message)
  ) {
    return new MoescopeError("OUT_OF_MEMORY", `The memory that this needs could not be had: ${error.message}.`, {
      cause: error,
    });
  }
  return fromSystemError(error, "finish the command");
}

/** Options as the library names them, where its sentences speak of them. */
const FLAGS: ReadonlyMap<string, string> = new Map([
  ["maxContext", "--max-context"],
  ["ropeScaling", "--rope-scaling"],
  ["numFewshot", "--num-fewshot"],
  ["maxTokens", "--max-tokens"],
  ["cacheType", "--cache-type"],
  ["sampleIds", "--samples"],
  ["fewshotSeed", "--seed"],
  ["numSamples", "--num-samples"],
  ["samplingSeed", "--sampling-seed"],
  ["timeoutMs", "--timeout-ms"],
  ["unsafeCode", "--unsafe-code"],
]);

/** The library's sentence in the words of the command line. */
function inFlags(message: string): string {
  return message.replace(/\b[a-z]+[A-Z][A-Za-z]*\b/g, (word) => FLAGS.get(word) ?? word).replace(/ \(number\)\.$/, ".");
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : "";
  return `${error.stack}${cause}`;
}

const BAD_VALUE =
  /^error: (?:option|command-argument value) '([^']*)' ?(?:argument )?'([\s\S]*)' is invalid(?: for argument '[^']*')?\. Expected ([^;]*?)\.?(; did you mean [\s\S]*)?$/;

/** Commander's message as one sentence in the form of all others. */
function usageSentence(message: string): string {
  const bad = BAD_VALUE.exec(message);
  if (bad !== null) {
    const [, flags, value, expected, hint = "."] = bad;
    const name = flags!.split(" ")[0]!;
    return `Expected ${expected} for ${name}, got ${JSON.stringify(value)}${hint}`;
  }
  const missing = /^error: option '(\S+)[^']*' argument missing/.exec(message);
  if (missing !== null) return `Expected a value for ${missing[1]}, got none.`;
  const [first, ...rest] = message.replace(/^error: /, "").split("\n");
  const hint = rest
    .join(" ")
    .trim()
    .replace(/^\(Did you mean (.*)\?\)$/, "; did you mean $1?");
  const sentence = first!.charAt(0).toUpperCase() + first!.slice(1).replace(/\.$/, "");
  return hint === "" ? `${sentence}. See moescope --help.` : `${sentence}${hint}`;
}
