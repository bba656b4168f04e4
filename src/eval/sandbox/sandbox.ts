/**
 * Running programs that a model wrote. A sandbox keeps them from the machine, and their verdict from them: the program and its tests
 * run in two processes that share no memory, and only the one with the tests can say that they passed.
 */

/** A program and what it has to do. */
export interface Program {
  /** What the model wrote, whole; executed as a module that is not `__main__`. */
  source: string;
  /** The function of `source` that the tests call. */
  entryPoint: string;
  /** Trusted code that the tests build on, such as a benchmark's prompt. Its last function may lack a body. */
  prelude: string;
  /** Trusted code that raises where the program is wrong. It calls the function by its name. */
  tests: string;
}

/** What a program may use before it is ended. */
export interface ProgramLimits {
  /** Wall time in milliseconds, from the moment that both processes are up. */
  timeoutMs: number;
  /** Address space of each process. */
  memoryBytes: number;
  /** Processes and threads besides the program's own; together they use at most (1 + this) times `memoryBytes`. */
  extraProcesses: number;
  /** The largest file, and all files together: they are kept in memory. */
  fileBytes: number;
  openFiles: number;
  /** What it may print, and separately what its functions may return. */
  outputBytes: number;
}

const MIB = 2 ** 20;

/** The time limit is that of openai/human-eval. */
export const PROGRAM_LIMITS: Readonly<ProgramLimits> = {
  timeoutMs: 3000,
  memoryBytes: 1024 * MIB,
  extraProcesses: 3,
  fileBytes: 16 * MIB,
  openFiles: 64,
  outputBytes: 4 * MIB,
};

/**
 * How a program ended. `not-run` says nothing about the program: there was no sandbox, or it did not start. Everything else is a
 * statement about the program, and all but `passed` count against it.
 */
export type ProgramVerdict = "passed" | "failed" | "timeout" | "memory" | "output" | "not-run";

export interface ProgramResult {
  verdict: ProgramVerdict;
  /** Why it did not pass: the name of an exception or a short reason, the same on every run; "" where it passed. */
  reason: string;
  /** The beginning of what the program printed. */
  output: string;
  /** Wall time in milliseconds, counted as the limit is. */
  durationMs: number;
}

export interface RunProgramOptions extends Partial<ProgramLimits> {
  signal?: AbortSignal;
}

export interface Unavailable {
  available: false;
  reason: string;
}

/** Whether programs can be run here, and by what; or why not. */
export type SandboxStatus = { available: true; description: string } | Unavailable;

export interface Sandbox {
  /** The backend's name: a setting of every score that comes out of it. */
  readonly name: string;
  /** Tries the sandbox once, with a program that looks for ways out; later calls give the same answer. */
  status(): Promise<SandboxStatus>;
  /**
   * Runs one program; those beyond the pool's size wait. Gives `not-run` where `status()` is not available.
   *
   * @throws AbortError when `signal` fires; the program is ended first.
   */
  run(program: Program, options?: RunProgramOptions): Promise<ProgramResult>;
}
