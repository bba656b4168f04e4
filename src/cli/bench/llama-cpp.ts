/** llama.cpp through its own tools: llama-bench, llama-batched-bench, llama-completion, and llama-server for questions. */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { AbortError, MoescopeError } from "../../errors.js";
import { childFailed, ended, runChild } from "./child.js";
import { type Contender, type ContenderOptions, RandomTokens, timed } from "./contender.js";
import { SCORING, type Work } from "./works.js";

const TOOLS = ["llama-bench", "llama-batched-bench", "llama-completion", "llama-server"] as const;
const SERVER_START_MS = 120_000;
/** Likeliest tokens that an answer states; asking for all would slow the peer. */
const NUM_PROBS = 10;
/** Of each sequence in batched decoding; its time does not count. */
const PROMPT_TOKENS = 16;

export class LlamaCpp implements Contender {
  readonly name: string = "llama.cpp";
  readonly description: Readonly<Record<string, unknown>>;
  readonly #folder: string;
  readonly #options: ContenderOptions;
  readonly #tokens: RandomTokens;
  #server: Server | undefined;
  #prefix: number[] | undefined;

  private constructor(folder: string, version: string, options: ContenderOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#tokens = new RandomTokens(options.vocabSize, 1);
    const threads = this.#threads().join(" ");
    this.description = {
      version,
      flags: { all: threads, bench: "-r 1", server: `-np 1, cache_prompt, n_probs ${NUM_PROBS}` },
    };
  }

  /** Throws NOT_FOUND naming the tool that is missing in a folder. */
  static check(folder: string): void {
    for (const tool of TOOLS) {
      try {
        accessSync(join(folder, tool), constants.X_OK);
      } catch (cause) {
        throw new MoescopeError("NOT_FOUND", `Expected llama.cpp's ${tool} in ${folder}, found none.`, { cause });
      }
    }
  }

  /** `folder` holds the tools. */
  static async start(folder: string, options: ContenderOptions, signal: AbortSignal): Promise<LlamaCpp> {
    const { stdout, stderr } = await runChild(join(folder, "llama-bench"), ["--version"], signal);
    // Its newer builds say it on stderr.
    return new LlamaCpp(folder, `${stdout}${stderr}`.trim().replaceAll("\n", ", "), options);
  }

  async measure(work: Work, signal: AbortSignal): Promise<(number | null)[]> {
    switch (work.kind) {
      case "load": {
        const args = ["-p", "hello", "-n", "1", "-no-cnv", ...this.#threads()];
        const { seconds, peakBytes } = await this.#run("llama-completion", args, signal);
        return [null, seconds, peakBytes];
      }
      case "prefill":
        return [await this.#bench(["-p", String(work.size), "-n", "0"], signal)];
      case "decode":
        if (work.sequences === 1) return [await this.#bench(["-p", "0", "-n", String(work.size)], signal)];
        return [await this.#batchedBench(work, signal)];
      case "score":
        return [await this.#score(work, signal)];
    }
  }

  async close(): Promise<void> {
    await this.#server?.stop();
  }

  #threads(): string[] {
    return ["-t", String(this.#options.threads)];
  }

  #run(tool: (typeof TOOLS)[number], args: readonly string[], signal: AbortSignal): ReturnType<typeof runChild> {
    return runChild(join(this.#folder, tool), ["-m", this.#options.modelPath, ...args], signal);
  }

  async #bench(args: readonly string[], signal: AbortSignal): Promise<number> {
    const { stdout } = await this.#run("llama-bench", [...args, "-r", "1", "-o", "json", ...this.#threads()], signal);
    return JSON.parse(stdout)[0].avg_ts;
  }

  async #batchedBench({ sequences, size }: Work, signal: AbortSignal): Promise<number> {
    const context = sequences * (PROMPT_TOKENS + size) + 64;
    const lengths = ["-npp", String(PROMPT_TOKENS), "-ntg", String(size), "-npl", String(sequences)];
    const threads = [...this.#threads(), "-tb", String(this.#options.threads)];
    const args = ["-c", String(context), ...lengths, ...threads, "--output-format", "jsonl"];
    const { stdout } = await this.#run("llama-batched-bench", args, signal);
    const line = stdout.split("\n").find((text) => text.startsWith("{"));
    if (line === undefined) throw new MoescopeError("INTERNAL", "llama-batched-bench printed no result.");
    return JSON.parse(line).speed_tg;
  }

  async #score({ size }: Work, signal: AbortSignal): Promise<number> {
    this.#server ??= await Server.start(join(this.#folder, "llama-server"), this.#options, signal);
    const server = this.#server;
    if (size === 1 && this.#prefix === undefined) {
      this.#prefix = this.#tokens.take(SCORING.prefixTokens);
      await server.ask(this.#tokens.questions(1, this.#prefix)[0]!, signal);
    }
    const questions = this.#tokens.questions(size, size === 1 ? this.#prefix : undefined);
    const { seconds } = await timed(async () => {
      // One after another on one slot: several slots would compute the beginning once each.
      for (const question of questions) await server.ask(question, signal);
    });
    return seconds / size;
  }
}

/** llama-server with one slot, so that what two questions share is computed once. */
class Server {
  readonly #process: ChildProcess;
  readonly #url: string;

  private constructor(process: ChildProcess, url: string) {
    this.#process = process;
    this.#url = url;
  }

  static async start(program: string, { modelPath, threads }: ContenderOptions, signal: AbortSignal): Promise<Server> {
    const port = await freePort();
    const count = String(threads);
    const context = String(SCORING.prefixTokens + SCORING.questionTokens + 64);
    const place = ["--host", "127.0.0.1", "--port", String(port)];
    const args = ["-m", modelPath, "-c", context, "-np", "1", "-t", count, "-tb", count, ...place];
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-2000);
    });
    let end: number | string | undefined;
    const exit = ended(child, program).then((code) => {
      end = code;
    });
    exit.catch(() => {});
    const server = new Server(child, `http://127.0.0.1:${port}`);
    const deadline = performance.now() + SERVER_START_MS;
    while (!(await server.#isReady())) {
      if (signal.aborted || end !== undefined || performance.now() > deadline) {
        await server.stop();
        if (signal.aborted) throw new AbortError();
        throw childFailed(program, end ?? "no answer in two minutes", stderr);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return server;
  }

  /** One token, with the likeliest ones and their log-probabilities. */
  async ask(prompt: readonly number[], signal: AbortSignal): Promise<void> {
    const body = { prompt, n_predict: 1, n_probs: NUM_PROBS, temperature: 0, cache_prompt: true };
    const response = await fetch(`${this.#url}/completion`, { method: "POST", body: JSON.stringify(body), signal });
    const answer = (await response.json()) as { completion_probabilities?: unknown[]; error?: { message?: string } };
    if (!response.ok || answer.completion_probabilities?.length !== 1) {
      throw new MoescopeError(
        "INTERNAL",
        `llama-server did not answer a question: ${answer.error?.message ?? "no probabilities"}.`,
      );
    }
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null || this.#process.pid === undefined) return;
    const end = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await end;
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await fetch(`${this.#url}/health`)).ok;
    } catch {
      return false;
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
