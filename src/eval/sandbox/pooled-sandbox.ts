import { availableParallelism } from "node:os";
import PQueue from "p-queue";
import { invalidArgument } from "../../errors.js";
import {
  PROGRAM_LIMITS,
  type Program,
  type ProgramLimits,
  type ProgramResult,
  type RunProgramOptions,
  type Sandbox,
  type SandboxStatus,
  type Unavailable,
} from "./sandbox.js";

export interface SandboxOptions {
  /** The Python to run programs with; default: `python3`, or the system's where that one cannot be read in the sandbox. */
  python?: string;
  /** Programs at the same time; default: one for each core. */
  concurrency?: number;
}

/** What a program finds as its environment: nothing of the caller's, and the same hashes of strings in every run. */
export const PROGRAM_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  HOME: "/tmp",
  LANG: "C.UTF-8",
  PYTHONHASHSEED: "0",
  OMP_NUM_THREADS: "1",
  OPENBLAS_NUM_THREADS: "1",
};

/** A backend that was found to work. */
export interface Runner {
  description: string;
  run(program: Program, limits: ProgramLimits, signal?: AbortSignal): Promise<ProgramResult>;
}

/** Looks for a backend and tries it. */
export type FindRunner = () => Promise<Runner | Unavailable>;

/** A sandbox over a backend that is looked for once and runs a bounded number of programs at a time. */
export class PooledSandbox implements Sandbox {
  readonly name: string;
  readonly #find: FindRunner;
  readonly #queue: PQueue;
  #found: Promise<Runner | Unavailable> | undefined;

  constructor(name: string, find: FindRunner, concurrency: number = availableParallelism()) {
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      throw invalidArgument("concurrency", "a whole number of programs, at least 1", concurrency);
    }
    this.name = name;
    this.#find = find;
    this.#queue = new PQueue({ concurrency });
  }

  async status(): Promise<SandboxStatus> {
    const found = await this.#runner();
    return "run" in found ? { available: true, description: found.description } : found;
  }

  async run(program: Program, options: RunProgramOptions = {}): Promise<ProgramResult> {
    const { signal, ...limits } = options;
    checkLimits(limits);
    const found = await this.#runner();
    if (!("run" in found)) return { verdict: "not-run", reason: found.reason, output: "", durationMs: 0 };
    return this.#queue.add(() => found.run(program, { ...PROGRAM_LIMITS, ...limits }, signal));
  }

  #runner(): Promise<Runner | Unavailable> {
    this.#found ??= this.#find();
    return this.#found;
  }
}

function checkLimits(limits: Partial<ProgramLimits>): void {
  for (const [name, value] of Object.entries(limits)) {
    const least = name === "extraProcesses" ? 0 : 1;
    if (!Number.isSafeInteger(value) || value < least) {
      throw invalidArgument(name, `a whole number, at least ${least}`, value);
    }
  }
}
