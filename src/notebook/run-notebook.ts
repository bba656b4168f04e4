/** Runs a notebook file from top to bottom in a kernel of its own, as nbconvert does, without Python. */
import { dirname, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AbortError, MoescopeError } from "../errors.js";
import { KernelClient, type KernelMessage } from "./client.js";
import { kernelCommand } from "./kernel-process.js";
import { KERNEL_NAME, kernelJson } from "./kernelspec.js";
import { CellOutputs, type Notebook, type Output, readNotebook, textOf, writeNotebook } from "./notebook-file.js";

/** How long a cell may take to end after an interrupt before its kernel is killed, in ms. */
const INTERRUPT_MS = 5000;

export interface RunNotebookOptions {
  /** Where the notebook with its outputs goes; without it, the file itself. */
  output?: string;
  /** Seconds that one cell may take. */
  timeout?: number;
  /** Whether cells after one that failed run too. */
  allowErrors?: boolean;
  signal?: AbortSignal;
  onCell?: (done: number, total: number) => void;
}

export interface CellFailure {
  /** The cell's place among all cells of the file, from 0. */
  cell: number;
  ename: string;
  evalue: string;
  traceback: string[];
}

export interface NotebookRun {
  path: string;
  numCells: number;
  /** Cells that ran, the failed ones included. */
  numRun: number;
  failures: CellFailure[];
  seconds: number;
}

/**
 * Runs `file` and writes its outputs back, those of a run that failed or was stopped included.
 *
 * @throws MoescopeError for a file that is no TypeScript notebook, INTERNAL where the kernel dies; AbortError when `signal` fires
 */
export async function runNotebook(file: string, options: RunNotebookOptions = {}): Promise<NotebookRun> {
  const notebook = readNotebook(file);
  const started = performance.now();
  const cells = notebook.cells.flatMap((cell, index) => (cell.cell_type === "code" ? [{ cell, index }] : []));
  const client = await KernelClient.start({ cwd: dirname(resolve(file)), command: kernelCommand });
  const run = new Run(client, options);
  try {
    for (const { cell } of cells) {
      cell.outputs = [];
      cell.execution_count = null;
    }
    for (const [done, { cell, index }] of cells.entries()) {
      options.onCell?.(done, cells.length);
      const code = textOf(cell.source);
      if (code.trim() === "") continue;
      const isExpected = options.allowErrors || cell.metadata?.tags?.includes("raises-exception");
      cell.execution_count = await run.cell(index, code, cell.outputs!);
      if (run.failures.some((failure) => failure.cell === index) && !isExpected) break;
    }
    options.onCell?.(cells.length, cells.length);
  } finally {
    await client.shutdown();
    describe(notebook);
    writeNotebook(options.output ?? file, notebook);
  }
  const tolerated = new Set(
    cells.filter(({ cell }) => cell.metadata?.tags?.includes("raises-exception")).map(({ index }) => index),
  );
  const failures = run.failures.filter(({ cell }) => !tolerated.has(cell));
  const seconds = (performance.now() - started) / 1000;
  return { path: resolve(options.output ?? file), numCells: cells.length, numRun: run.numRun, failures, seconds };
}

/** One pass through a notebook: which cell a message belongs to, and what failed. */
class Run {
  readonly failures: CellFailure[] = [];
  numRun = 0;
  readonly #client: KernelClient;
  readonly #options: RunNotebookOptions;
  readonly #displays = new Map<string, Output[]>();
  readonly #cells = new Map<string, { index: number; outputs: CellOutputs; kept: Output[] }>();
  #next: { index: number; outputs: CellOutputs; kept: Output[] } | undefined;

  constructor(client: KernelClient, options: RunNotebookOptions) {
    this.#client = client;
    this.#options = options;
    client.onOutput = (message) => this.#take(message);
  }

  /**
   * Runs a cell, gathers its outputs in `kept`, and gives its number.
   *
   * @throws MoescopeError INTERNAL where it runs too long; AbortError where the whole run is stopped
   */
  async cell(index: number, code: string, kept: Output[]): Promise<number | null> {
    this.#next = { index, outputs: new CellOutputs(this.#displays), kept };
    const ended = new AbortController();
    let reason: Error | undefined;
    const stopped = this.#whenToStop(index, ended.signal).then(async (why) => {
      reason = why;
      await this.#stop(ended.signal);
      throw why;
    });
    stopped.catch(() => {});
    try {
      const reply = await Promise.race([this.#client.execute(code), stopped]);
      this.numRun++;
      if (reason !== undefined) throw reason;
      return (reply.content.execution_count as number | undefined) ?? null;
    } finally {
      ended.abort();
    }
  }

  /** Resolves with the reason when the cell has run too long or the whole run is stopped, and never where it ends by itself. */
  async #whenToStop(index: number, ended: AbortSignal): Promise<Error> {
    const { timeout, signal } = this.#options;
    const waits = AbortSignal.any([ended, ...(signal === undefined ? [] : [signal])]);
    const limitMs = timeout === undefined ? 2 ** 31 - 1 : timeout * 1000;
    const isLate = await delay(limitMs, true, { signal: waits, ref: false }).catch(() => false);
    if (ended.aborted) return new Promise(() => {});
    return isLate
      ? new MoescopeError("INTERNAL", `Cell ${index + 1} ran longer than ${timeout} s and was stopped.`)
      : new AbortError("The notebook was stopped.");
  }

  /** Interrupts the cell, and kills a kernel that does not obey. */
  async #stop(ended: AbortSignal): Promise<void> {
    const wait = this.#client.interrupt().then(() => delay(INTERRUPT_MS, undefined, { signal: ended, ref: false }));
    await wait.catch(() => {});
    if (!ended.aborted) await this.#client.kill();
  }

  #take(message: KernelMessage): void {
    const { header, parent, content } = message;
    if (header.msg_type === "execute_input" && this.#next !== undefined) {
      this.#cells.set(parent.msg_id, this.#next);
      this.#next = undefined;
    }
    const cell = this.#cells.get(parent?.msg_id);
    if (cell === undefined) return;
    cell.outputs.take(message);
    cell.kept.splice(0, cell.kept.length, ...cell.outputs.outputs);
    if (header.msg_type === "error") {
      const { ename, evalue, traceback } = content as unknown as CellFailure;
      this.failures.push({ cell: cell.index, ename, evalue, traceback });
    }
  }
}

/** What front ends want to know of the language. */
function describe(notebook: Notebook): void {
  const { display_name, language } = kernelJson();
  notebook.metadata.kernelspec ??= { name: KERNEL_NAME, display_name, language };
  notebook.metadata.language_info ??= { name: language, file_extension: ".ts", mimetype: "text/typescript" };
}
