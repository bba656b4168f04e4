import { randomBytes } from "node:crypto";
import { AbortError } from "../../errors.js";
import { OutputCapture } from "./output-capture.js";
import { CHECKER, WORKER } from "./python-sides.js";
import type { Program, ProgramLimits, ProgramResult } from "./sandbox.js";
import { type Launch, nextLine, Side } from "./side.js";

/** Starts the two processes of a run, carries the line between them, and reads the verdict from the one that the program is not in. */

/** Two interpreters have to be up by then; nothing of the program's runs before. */
const STARTUP_MS = 30_000;
/** A line of the harness's own making is shorter. */
const LINE_BYTES = 4096;

type Ending = Pick<ProgramResult, "verdict" | "reason">;

/** How each of the two processes is started. */
export interface Launches {
  worker: Launch;
  checker: Launch;
}

/**
 * Runs one program against its tests. Both processes have ended when this settles.
 *
 * @throws AbortError when `signal` fires.
 */
export async function judge(
  launches: Launches,
  program: Program,
  limits: ProgramLimits,
  signal?: AbortSignal,
): Promise<ProgramResult> {
  if (signal?.aborted) throw new AbortError(undefined, { cause: signal.reason });
  const trial = new Trial(launches, limits);
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new AbortError(undefined, { cause: signal?.reason }));
    signal?.addEventListener("abort", onAbort, { once: true });
  });
  let result: Omit<ProgramResult, "output">;
  try {
    const ending = await Promise.race([trial.run(program), aborted]);
    result = { ...ending, durationMs: trial.durationMs() };
  } finally {
    signal?.removeEventListener("abort", onAbort);
    await trial.end();
  }
  // Only now has all that was printed before the last answer been read.
  return { ...result, output: trial.output.text() };
}

class Trial {
  /** What the program prints. */
  readonly output: OutputCapture;
  readonly #limits: ProgramLimits;
  readonly #worker: Side;
  readonly #checker: Side;
  /** What the checker, or whatever was started in its place, complains of. */
  readonly #complaint: OutputCapture = new OutputCapture(LINE_BYTES);
  readonly #timers: NodeJS.Timeout[] = [];
  #started: number | undefined;

  constructor(launches: Launches, limits: ProgramLimits) {
    this.#limits = limits;
    this.output = new OutputCapture(limits.outputBytes);
    this.#worker = new Side(launches.worker, ["-s", "-B", "-c", WORKER], ["ignore", "pipe", "pipe", "pipe"]);
    const checkerArgs = ["-s", "-S", "-B", "-c", CHECKER];
    this.#checker = new Side(launches.checker, checkerArgs, ["pipe", "ignore", "pipe", "pipe", "pipe"]);
    this.output.take(this.#worker.readable(1), this.#worker.readable(2));
    this.#complaint.take(this.#checker.readable(2));
  }

  async run({ source, entryPoint, prelude, tests }: Program): Promise<Ending> {
    const nonce = randomBytes(16).toString("hex");
    const limits = resourceLimits(this.#limits);
    this.#checker.line(0).end(jobLine({ nonce, prelude, tests, entryPoint, limits }));
    const failure = await this.#startup();
    if (failure !== undefined) return failure;
    this.#started = performance.now();
    const answers = this.#connect();
    this.#worker.line(3).write(jobLine({ source, entryPoint, limits }));
    const { timeoutMs, outputBytes } = this.#limits;
    return Promise.race([
      this.#verdict(nonce),
      this.#after(timeoutMs, { verdict: "timeout", reason: `more than ${timeoutMs / 1000} s` }),
      Promise.race([this.output.exceeded, answers.exceeded]).then((): Ending => {
        return { verdict: "output", reason: `more than ${outputBytes} bytes` };
      }),
    ]);
  }

  /** Wall time in milliseconds since both processes were up. */
  durationMs(): number {
    return this.#started === undefined ? 0 : performance.now() - this.#started;
  }

  async end(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#worker.kill();
    this.#checker.kill();
    await Promise.all([this.#worker.closed, this.#checker.closed]);
  }

  /** Waits until both interpreters are up; gives the reason where they are not. */
  async #startup(): Promise<Ending | undefined> {
    const late: Ending = { verdict: "not-run", reason: `Python did not start within ${STARTUP_MS / 1000} s` };
    const up = Promise.all([
      nextLine(this.#worker.line(3), LINE_BYTES),
      nextLine(this.#checker.readable(4), LINE_BYTES),
    ]);
    const lines = await Promise.race([up, this.#after(STARTUP_MS, late)]);
    if (!Array.isArray(lines)) return lines;
    if (!lines.includes(undefined)) return undefined;
    this.#worker.kill();
    this.#checker.kill();
    const ends = await Promise.all([this.#worker.closed, this.#checker.closed]);
    const failure = ends.find((end) => end.failure !== undefined)?.failure?.message;
    const said = this.#complaint.lastLine() ?? this.output.lastLine();
    return { verdict: "not-run", reason: failure ?? said ?? "Python did not start" };
  }

  /** Carries calls to the worker and answers to the checker; the answers are counted, for they are the program's. */
  #connect(): OutputCapture {
    const answers = new OutputCapture(this.#limits.outputBytes);
    const [worker, checker] = [this.#worker.line(3), this.#checker.line(3)];
    checker.pipe(worker);
    worker.pipe(checker);
    // A stream that breaks off does not end what it is piped to, and the checker would wait for an answer.
    worker.once("close", () => checker.end());
    answers.take(worker);
    return answers;
  }

  /** A checker that ends without a verdict was brought down by what the program gave it. */
  async #verdict(nonce: string): Promise<Ending> {
    const line = await nextLine(this.#checker.readable(4), LINE_BYTES);
    const said = line === undefined ? undefined : (JSON.parse(line) as Ending & { nonce: string });
    if (said?.nonce !== nonce) return { verdict: "failed", reason: "the checker ended before the tests did" };
    return { verdict: said.verdict, reason: said.reason };
  }

  #after(ms: number, ending: Ending): Promise<Ending> {
    return new Promise((resolve) => this.#timers.push(setTimeout(() => resolve(ending), ms)));
  }
}

function jobLine(job: object): string {
  return `${JSON.stringify(job)}\n`;
}

/** Limits by the names of Python's `resource`. */
function resourceLimits(limits: ProgramLimits): Record<string, number> {
  return {
    RLIMIT_AS: limits.memoryBytes,
    // The wall clock comes first, unless the program computes in several threads.
    RLIMIT_CPU: Math.ceil(limits.timeoutMs / 1000) + 1,
    RLIMIT_FSIZE: limits.fileBytes,
    RLIMIT_NOFILE: limits.openFiles,
    // The program itself, and the init process of its process namespace.
    RLIMIT_NPROC: limits.extraProcesses + 2,
    RLIMIT_CORE: 0,
  };
}
