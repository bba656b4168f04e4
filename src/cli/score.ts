/** `moescope score`: log-likelihoods of requests in JSON lines, answered in the same order. */
import { createReadStream, createWriteStream } from "node:fs";
import { addAbortSignal, type Readable } from "node:stream";
import { finished } from "node:stream/promises";
import type { Command } from "commander";
import { fromSystemError, MoescopeError } from "../errors.js";
import type { LikelihoodResult } from "../model/likelihood.js";
import type { Model } from "../model/model.js";
import { type Terminal, toJson } from "./io.js";
import { withModel } from "./load.js";
import { type ModelOptions, withIntervene, withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";
import { type RequestLine, requestWindows } from "./score-lines.js";

interface Options extends ModelOptions {
  requests: string;
  out?: string;
  truncate?: boolean;
}

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
  withModelOptions(withIntervene(command))
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
      for await (const window of requestWindows(source, options.requests)) {
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

/** Answers in order. Where one request of a window is at fault, those before it are still answered, and its line is named. */
async function* scoreWindow(
  model: Model,
  window: readonly RequestLine[],
  { requests: name, truncate }: Options,
  { signal }: Terminal,
  onProgress: (done: number) => void,
): AsyncGenerator<Answer> {
  const score = (lines: readonly RequestLine[]) =>
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

function answerOf({ id }: RequestLine, { logprob, tokenLogprobs, tokenIds, isGreedy }: LikelihoodResult): Answer {
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
