/** The options of `eval`: every setting that changes a score, and where the model is. */
import type { Command } from "commander";
import { BENCHMARK_NAMES, namedTasks } from "../../evals/index.js";
import { InvalidArgumentError } from "../errors.js";
import { openEndpoint } from "../eval/endpoint/endpoint-model.js";
import type { PromptForm } from "../eval/few-shot.js";
import type { LanguageModel } from "../eval/language-model.js";
import { SANDBOX_NAMES, type SandboxName } from "../eval/sandbox/registry.js";
import type { Task, Track } from "../eval/task.js";
import type { CaptureLevel } from "../native/binding.js";
import type { Capture } from "../router/capture.js";
import { captureOf, integer, jsonOption, type ModelOptions, number, oneOf, withCaptureFlags } from "./options.js";
import { suggestionFor } from "./suggest.js";

export interface EvalOptions extends ModelOptions {
  tasks: string;
  track: Track;
  limit?: number;
  samples?: string[];
  subjects?: string[];
  numFewshot?: number;
  seed?: number;
  form?: PromptForm;
  maxTokens?: number;
  numSamples?: number;
  k?: number[];
  temperature?: number;
  samplingSeed?: number;
  timeoutMs?: number;
  sandbox?: SandboxName;
  unsafeCode?: boolean;
  data?: string;
  out: string;
  resume?: boolean;
  intervene?: string;
  trace?: CaptureLevel;
  traceLayers?: number[];
  traceSegments?: string[];
  traceOrigin?: "prompt" | "generated";
  endpoint?: string;
  apiKeyEnv?: string;
  concurrency?: number;
  requestTimeout?: number;
  retries?: number;
  leaves?: boolean;
  json?: boolean;
}

/** Requests in flight to an endpoint. */
export const DEFAULT_CONCURRENCY = 8;
const DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY";

export function withEvalOptions(command: Command): Command {
  return withRunOptions(withTaskOptions(withEndpointOptions(command)));
}

function withTaskOptions(command: Command): Command {
  return command
    .requiredOption("--tasks <list>", `comma-separated: ${BENCHMARK_NAMES.join(", ")}, with a variant as in gsm8k:cot`)
    .option(
      "--track <track>",
      "ref (community harness) or qwen (as the model card's authors)",
      oneOf("ref", "qwen"),
      "ref" as Track,
    )
    .option("--limit <n>", "samples of each task, spread over its subjects (default: all)", integer(1))
    .option("--samples <ids>", "comma-separated: exactly these samples, by their ids", words)
    .option("--subjects <list>", "comma-separated: only these subjects (mmlu, ceval)", words)
    .option("--num-fewshot <n>", "worked examples before each question (default: the task's)", integer(0))
    .option("--seed <n>", "seed of the draw of examples (default: the task's)", integer(0))
    .option(
      "--form <form>",
      "how a prompt is put, track ref: text (default), chat (one message) or chat-multiturn",
      oneOf("text", "chat", "chat-multiturn"),
    )
    .option("--max-tokens <n>", "limit of an answer's tokens (default: the task's)", integer(1))
    .option("--num-samples <n>", "programs for each problem (humaneval, default 1)", integer(1))
    .option("--k <list>", "comma-separated: which pass@k to give (humaneval, default 1)", integers)
    .option("--temperature <t>", "0 is greedy (humaneval, default 0; above it p = 0.95)", number(0, 100))
    .option("--sampling-seed <n>", "seed of the draw of tokens, at a temperature (default 0)", integer(0))
    .option("--timeout-ms <n>", "wall time of a program and its tests (default 3000)", integer(1))
    .option(
      "--sandbox <name>",
      "where programs that the model writes run: bubblewrap or wasi (default: the first that works here, or not at all)",
      oneOf(...SANDBOX_NAMES.filter((name) => name !== "none")),
    )
    .option("--unsafe-code", "run the programs that the model writes as you and without a sandbox")
    .option("--data <dir>", "folder of benchmark data (default: MOESCOPE_DATA, or what `data get` has brought)");
}

function withRunOptions(command: Command): Command {
  const options = command
    .requiredOption("--out <dir>", "run folder: new, empty, or with --resume the one to go on with")
    .option("--resume", "go on with the run in --out")
    .option("--intervene <file|json>", 'changes to routing, e.g. \'{"kind":"mask","layers":[3],"experts":[5]}\'')
    .option(
      "--trace <level>",
      "routes into the run folder: topk or logits by token, counts summed by task",
      oneOf("counts", "topk", "logits"),
    );
  return withCaptureFlags(options, "trace-")
    .option("--leaves", "also print every subject")
    .addOption(jsonOption("print the result as JSON"));
}

function withEndpointOptions(command: Command): Command {
  return command
    .option(
      "--endpoint <url>",
      "ask a server with OpenAI's API, e.g. http://localhost:8000/v1, in place of a model here",
    )
    .option("--api-key-env <name>", `environment variable with its key (default: ${DEFAULT_KEY_VARIABLE})`)
    .option("--concurrency <n>", `requests in flight to it (default: ${DEFAULT_CONCURRENCY})`, integer(1, 4096))
    .option("--request-timeout <seconds>", "limit of one request to it (default: 600)", number(0.001, 86_400))
    .option("--retries <n>", "attempts after the first while it is busy or gone (default: 6)", integer(0, 100));
}

/** What belongs to a model that is computed here. */
const MODEL_FLAGS = {
  ...{ device: "--device", threads: "--threads", ropeScaling: "--rope-scaling", maxContext: "--max-context" },
  ...{ cacheType: "--cache-type", precision: "--precision", intervene: "--intervene", trace: "--trace" },
  ...{ traceLayers: "--trace-layers", traceSegments: "--trace-segments", traceOrigin: "--trace-origin" },
} as const satisfies Partial<Record<keyof EvalOptions, string>>;

const ENDPOINT_FLAGS = {
  ...{ apiKeyEnv: "--api-key-env", concurrency: "--concurrency" },
  ...{ requestTimeout: "--request-timeout", retries: "--retries" },
} as const satisfies Partial<Record<keyof EvalOptions, string>>;

/** @throws InvalidArgumentError for options that only a model of our own understands, or a key's variable that is not set. */
export async function endpointOf(name: string | undefined, options: EvalOptions): Promise<LanguageModel> {
  const { apiKeyEnv, concurrency = DEFAULT_CONCURRENCY, requestTimeout: timeoutSeconds, retries } = options;
  refuse(options, MODEL_FLAGS, "beside --endpoint: the server decides that");
  const apiKey = process.env[apiKeyEnv ?? DEFAULT_KEY_VARIABLE];
  if (apiKeyEnv !== undefined && !apiKey) {
    throw new InvalidArgumentError(`Expected the key in the environment variable ${apiKeyEnv}, it is not set.`);
  }
  return openEndpoint({ baseUrl: options.endpoint!, model: name, apiKey, concurrency, timeoutSeconds, retries });
}

/** @throws InvalidArgumentError for options that only an endpoint understands. */
export function refuseEndpointOptions(options: EvalOptions): void {
  refuse(options, ENDPOINT_FLAGS, "without --endpoint");
}

function refuse(options: EvalOptions, flags: Partial<Record<keyof EvalOptions, string>>, why: string): void {
  for (const [option, flag] of Object.entries(flags)) {
    if (options[option as keyof EvalOptions] === undefined) continue;
    throw new InvalidArgumentError(`Expected no ${flag} ${why}.`);
  }
}

/** What --trace asks, with the flags that narrow it. @throws InvalidArgumentError for those without --trace */
export function traceOf({ trace, traceLayers, traceSegments, traceOrigin }: EvalOptions): Capture | undefined {
  const flags = { layers: traceLayers, segments: traceSegments, origin: traceOrigin };
  if (trace !== undefined) return captureOf(trace, flags);
  const named = Object.entries(flags).find(([, value]) => value !== undefined);
  if (named !== undefined) throw new InvalidArgumentError(`Expected --trace with --trace-${named[0]}, got none.`);
  return undefined;
}

export function tasksOf(options: EvalOptions): Task[] {
  const names = options.tasks.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !BENCHMARK_NAMES.includes(name.split(":")[0]!));
  if (unknown !== undefined) {
    const near = suggestionFor(unknown, BENCHMARK_NAMES);
    const hint = near === undefined ? "." : `; did you mean ${near}?`;
    throw new InvalidArgumentError(
      `Expected benchmarks (${BENCHMARK_NAMES.join(", ")}) for --tasks, got ${JSON.stringify(unknown)}${hint}`,
    );
  }
  const { track, limit, subjects, numFewshot, form, maxTokens, numSamples, k, temperature, samplingSeed } = options;
  const { data: dataDir, seed: fewshotSeed, samples: sampleIds, timeoutMs, sandbox, unsafeCode } = options;
  return namedTasks(names, {
    ...{ track, limit, sampleIds, dataDir, subjects, numFewshot, fewshotSeed, form, maxTokens },
    ...{ numSamples, k, temperature, samplingSeed, timeoutMs, sandbox, unsafeCode },
  });
}

function words(text: string): string[] {
  return text.split(",").map((word) => word.trim());
}

function integers(text: string): number[] {
  return words(text).map(integer(1));
}
