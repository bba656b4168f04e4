/** `moescope score`: log-likelihoods of requests in JSON lines, answered in the same order. */
import { createReadStream, createWriteStream } from "node:fs";
import { addAbortSignal, type Readable } from "node:stream";
import { finished } from "node:stream/promises";
import type { Command } from "commander";
import { z } from "zod";
import { fromSystemError, InvalidArgumentError, MoescopeError } from "../errors.js";
import type { LikelihoodRequest, LikelihoodResult } from "../model/likelihood.js";
import type { Model } from "../model/model.js";
import { type Terminal, toJson } from "./io.js";
import { readLines } from "./lines.js";
import { withModel } from "./load.js";
import { type ModelOptions, withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";

interface Options extends ModelOptions {
  requests: string;
  out?: string;
  truncate?: boolean;
}

/** What one call of the model gets at most, so that memory does not grow with the file. */
const WINDOW_REQUESTS = 256;
const WINDOW_CHARACTERS = 4_000_000;

export function registerScore(program: Command, terminal: Terminal): void {
  const command = program
    .command("score")
    .description("log-likelihoods of continuations, one JSON line per request, in the same order")
    .argument("<model>", "folder, .gguf file or demo")
    .requiredOption(
      "--requests <file>",
      "JSON lines {id, context, continuation} or {id, contextIds, continuationIds}; - is stdin",
    )
    .option("--out <file>", "write the answers here (default: stdout)")
    .option("--truncate", "cut contexts that are too long from the left (default: an error)");
  withModelOptions(command)
    .addHelpText(
      "after",
      "\nAnswers: {id, logprob, tokenLogprobs, tokenIds, isGreedy}. A context may be a list of {role, content}.\nText that spells a special token stays text: say such tokens by ids, or let the chat template write them." +
        '\n\nExample:\n  $ echo \'{"id": 1, "context": "2 + 2 =", "continuation": " 4"}\' | moescope score demo --requests -',
    )
    .action((name: string, options: Options) => score(terminal, name, options));
}

async function score(terminal: Terminal, name: string, options: Options): Promise<void> {
  const source = await openRequests(terminal, options.requests);
  const sink = options.out === undefined ? terminalSink(terminal) : await fileSink(options.out);
  await withModel(terminal, name, options, async (model) => {
    const bar = progressBar(terminal, "Scoring", { quiet: options.quiet, unit: "requests" });
    let done = 0;
    try {
      for await (const window of windows(source, options.requests)) {
        const answers = scoreWindow(model, window, options, terminal, (inWindow) =>
          bar.update(done + inWindow, done + window.length),
        );
        for await (const answer of answers) await sink.write(`${toJson(answer)}\n`);
        done += window.length;
      }
    } finally {
      bar.stop();
      await sink.close();
      source.destroy();
    }
    if (options.out !== undefined && !options.quiet)
      terminal.note(`${done} requests scored, answers in ${options.out}`);
  });
}

/** A request with its place in the file. */
interface Line {
  id: unknown;
  number: number;
  request: LikelihoodRequest;
}

const message = z.looseObject({ role: z.string() });
const tokenIds = z.array(z.int().min(0)).min(1);
const FORMS = z.union([
  z.looseObject({ context: z.union([z.string(), z.array(message)]), continuation: z.string() }),
  z.looseObject({ contextIds: tokenIds, continuationIds: tokenIds }),
]);
const EXPECTED = "{id, context, continuation} or {id, contextIds, continuationIds}";

/** Groups of lines, in order. Throws INVALID_ARGUMENT at the first line that is no request, after those before it were given out. */
async function* windows(source: Readable, name: string): AsyncGenerator<Line[]> {
  let window: Line[] = [];
  let characters = 0;
  let number = 0;
  let fault: unknown;
  try {
    for await (const text of readLines(source)) {
      number++;
      if (text.trim() === "") continue;
      window.push(parseLine(text, number, name));
      characters += text.length;
      if (window.length < WINDOW_REQUESTS && characters < WINDOW_CHARACTERS) continue;
      yield window;
      window = [];
      characters = 0;
    }
  } catch (error) {
    fault = error;
  }
  if (window.length > 0) yield window;
  if (fault !== undefined) throw fromSystemError(fault, `read the requests ${name}`);
}

function parseLine(text: string, number: number, name: string): Line {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidArgumentError(`Expected JSON in line ${number} of ${name}: ${(cause as Error).message}.`, {
      cause,
    });
  }
  const parsed = FORMS.safeParse(value);
  if (!parsed.success) {
    throw new InvalidArgumentError(
      `Expected ${EXPECTED} in line ${number} of ${name}, got ${text.trim().slice(0, 80)}.`,
    );
  }
  return { id: (value as { id?: unknown }).id ?? null, number, request: parsed.data };
}

/** Answers in order. Where one request of a window is at fault, those before it are still answered, and its line is named. */
async function* scoreWindow(
  model: Model,
  window: readonly Line[],
  { requests: name, truncate }: Options,
  { signal }: Terminal,
  onProgress: (done: number) => void,
): AsyncGenerator<Answer> {
  const score = (lines: readonly Line[]) =>
    model.loglikelihood(
      lines.map(({ request }) => request),
      { truncate, signal, onProgress: lines.length > 1 ? onProgress : undefined },
    );
  let results: LikelihoodResult[] | undefined;
  try {
    results = await score(window);
  } catch (error) {
    if (!isRequestFault(error)) throw error;
  }
  for (const [index, line] of window.entries()) {
    try {
      yield answerOf(line, results?.[index] ?? (await score([line]))[0]!);
    } catch (error) {
      if (!isRequestFault(error)) throw error;
      const fault = error.message.replace(/^Request 0 /, "it ");
      throw new MoescopeError(error.code, `Line ${line.number} of ${name} cannot be scored: ${fault}`, {
        cause: error,
      });
    }
  }
}

function isRequestFault(error: unknown): error is MoescopeError {
  return error instanceof MoescopeError && (error.code === "INVALID_ARGUMENT" || error.code === "CONTEXT_TOO_LONG");
}

/** One line of output. */
interface Answer extends Pick<LikelihoodResult, "logprob" | "tokenLogprobs" | "tokenIds" | "isGreedy"> {
  id: unknown;
}

function answerOf({ id }: Line, { logprob, tokenLogprobs, tokenIds, isGreedy }: LikelihoodResult): Answer {
  return { id, logprob, tokenLogprobs, tokenIds, isGreedy };
}

async function openRequests(terminal: Terminal, path: string): Promise<Readable> {
  if (path === "-") return addAbortSignal(terminal.signal, terminal.stdin);
  const stream = createReadStream(path, { signal: terminal.signal });
  await new Promise<void>((resolve, reject) => {
    stream.once("readable", resolve).once("end", resolve).once("error", reject);
  }).catch((error) => {
    throw fromSystemError(error, `read the requests ${path}`);
  });
  return stream;
}

interface Sink {
  write(text: string): Promise<void>;
  close(): Promise<void>;
}

function terminalSink(terminal: Terminal): Sink {
  return { write: (text) => terminal.write(text), close: async () => {} };
}

async function fileSink(path: string): Promise<Sink> {
  const stream = createWriteStream(path);
  const fail = (error: unknown) => {
    throw fromSystemError(error, `write ${path}`);
  };
  stream.on("error", () => {}); // each write reports its own
  await new Promise<void>((resolve, reject) => stream.once("open", () => resolve()).once("error", reject)).catch(fail);
  return {
    write: (text) =>
      new Promise<void>((resolve, reject) => stream.write(text, (error) => (error ? reject(error) : resolve()))).catch(
        fail,
      ),
    close: async () => {
      if (stream.destroyed) return;
      stream.end();
      await finished(stream).catch(fail);
    },
  };
}
