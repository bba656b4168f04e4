/** One `execute_request` from its start to the content of its reply. */

import { AbortError } from "../errors.js";
import { Cell, CellInterrupted } from "./cell.js";
import { type CellError, cellError } from "./cell-error.js";
import { localImports, MAGICS, magicOf, who } from "./magics.js";
import { bundleOf } from "./result.js";
import type { StreamName } from "./streams.js";
import type { CellEngine, Outcome } from "./tslab/engine.js";
import type { Content, Request } from "./wire/protocol.js";

/** What an execution sends on its way. */
export interface ExecutionOutput {
  publish(cell: Cell, msgType: string, content: Content): void;
  stream(cell: Cell, name: StreamName, text: string): void;
}

export interface Execution {
  cell: Cell;
  code: string;
  /** The number that the front end shows at the cell. */
  count: number;
  isSilent: boolean;
}

/** Runs cells one after another and remembers what later ones need of earlier ones. */
export class Runner {
  readonly #engine: CellEngine;
  readonly #output: ExecutionOutput;
  readonly #codes = new Map<string, string>();
  readonly #imports = new Map<string, string>();
  #numExecutions = 0;

  constructor(engine: CellEngine, output: ExecutionOutput) {
    this.#engine = engine;
    this.#output = output;
  }

  /** The cell of a request. A cell that nobody can reach any more may not end the one that runs: `isRunning` tells. */
  cellOf(request: Request, isRunning: (cell: Cell) => boolean): { cell: Cell; ended: Promise<never> } {
    let reject: (reason: unknown) => void = () => {};
    const ended = new Promise<never>((_, fail) => {
      reject = fail;
    });
    ended.catch(() => {});
    const { header, identities, content } = request;
    const cell: Cell = new Cell({ header, identities, allowStdin: content.allow_stdin !== false }, (reason) => {
      reject(reason);
      if (isRunning(cell)) this.#engine.interrupt();
    });
    return { cell, ended };
  }

  /** Runs the code and sends its result or its error. Undefined where it ended well; `text` of a result for the history. */
  async run(execution: Execution, ended: Promise<never>): Promise<{ error?: CellError; text?: string }> {
    const { cell, count, isSilent } = execution;
    const name = `cell-${count > 0 ? count : `0${++this.#numExecutions}`}.ts`;
    const started = performance.now();
    let outcome: Outcome;
    let magic: ReturnType<typeof magicOf>;
    try {
      magic = magicOf(execution.code);
      const code = magic?.code ?? execution.code;
      this.#codes.set(name, code);
      outcome = await this.#inCell(cell, ended, () => this.#runCode(cell, magic?.name, code, name));
      // Rejections that nobody handles are known after the code's own promises; they fail the cell that made them.
      await Promise.race([new Promise<void>((resolve) => setImmediate(resolve)), ended]);
    } catch (error) {
      outcome = { kind: "thrown", error };
    }
    if (magic?.name === "%time") {
      this.#output.stream(cell, "stdout", `wall time ${((performance.now() - started) / 1000).toFixed(3)} s\n`);
    }
    if (outcome.kind !== "done") return { error: this.#fail(cell, outcome, name) };
    if (isSilent || !("value" in outcome)) return {};
    const { value } = outcome;
    let data: Record<string, unknown>;
    try {
      // Values may have code of their own for this.
      data = await this.#inCell(cell, ended, () => bundleOf(value));
    } catch (error) {
      return { error: this.#fail(cell, { kind: "thrown", error }, name) };
    }
    this.#output.publish(cell, "execute_result", { execution_count: count, data, metadata: {} });
    return { text: String(data["text/plain"]) };
  }

  /**
   * Does a cell's work in a job of its own: where V8 ends its JavaScript by force, everything on the stack is gone without a word, and
   * whoever waits for the end of the cell must not be among it.
   */
  #inCell<T>(cell: Cell, ended: Promise<never>, work: () => Promise<T>): Promise<T> {
    return Promise.race([cell.run(() => Promise.resolve().then(work)), ended]);
  }

  /** Values of `user_expressions`, by name. */
  async evaluate(cell: Cell, expressions: Record<string, string>, ended: Promise<never>): Promise<Content> {
    const values: Content = {};
    for (const [key, expression] of Object.entries(expressions)) {
      const name = `cell-0${++this.#numExecutions}.ts`;
      this.#codes.set(name, expression);
      const failed = (outcome: Exclude<Outcome, { kind: "done" }>): Content => ({
        status: "error",
        ...cellError(outcome, name, this.#sources),
      });
      values[key] = await this.#inCell(cell, ended, async (): Promise<Content> => {
        const outcome = await this.#engine.execute(`(${expression})`, name);
        return outcome.kind === "done"
          ? { status: "ok", data: await bundleOf(outcome.value), metadata: {} }
          : failed(outcome);
      }).catch((error: unknown) => failed({ kind: "thrown", error }));
    }
    return values;
  }

  get #sources(): Parameters<typeof cellError>[2] {
    return {
      codeOf: (name) => this.#codes.get(name),
      lineOf: (name, line, column) => this.#engine.lineOf(name, line, column),
    };
  }

  async #runCode(cell: Cell, magic: string | undefined, code: string, name: string): Promise<Outcome> {
    const say = (text: string): void => this.#output.stream(cell, "stdout", text);
    if (magic === "%help")
      say(
        Object.entries(MAGICS)
          .map(([key, what]) => `${key.padEnd(9)} ${what}\n`)
          .join(""),
      );
    if (magic === "%who") say(who(this.#engine.locals));
    if (magic === "%reload") {
      this.#engine.reloadModules();
      const imports = [...this.#imports.values()];
      const outcome = await this.#engine.execute(imports.join("\n"), name);
      if (outcome.kind !== "done") return outcome;
      say(
        imports.length === 0 ? "no module of this folder was imported\n" : `imported again:\n${imports.join("\n")}\n`,
      );
    }
    const outcome = await this.#engine.execute(code, name);
    if (outcome.kind === "done") {
      for (const text of localImports(this.#engine.typescript, code)) this.#imports.set(text, text);
    }
    return outcome;
  }

  #fail(cell: Cell, outcome: Exclude<Outcome, { kind: "done" }>, name: string): CellError {
    const error = cellError(asInterrupt(cell, outcome), name, this.#sources);
    // Sent even where the cell was interrupted: this is how it ends.
    this.#output.publish(cell, "error", error);
    return error;
  }

  /** Shows an error that nobody awaits in the cell that caused it, when that has ended. */
  reportLate(cell: Cell, error: unknown): void {
    this.#output.publish(cell, "error", cellError({ kind: "thrown", error }, "", this.#sources));
  }
}

/** What an interrupted cell failed with: its own words where it noticed (a run that can be resumed), ours otherwise. */
function asInterrupt(cell: Cell, outcome: Exclude<Outcome, { kind: "done" }>): Exclude<Outcome, { kind: "done" }> {
  if (outcome.kind !== "thrown") return outcome;
  const { code } = (outcome.error ?? {}) as { code?: unknown };
  const isCut = code === "ERR_SCRIPT_EXECUTION_INTERRUPTED";
  if (!isCut && !(cell.isInterrupted && cell.signal.reason instanceof CellInterrupted)) return outcome;
  cell.interrupt();
  return outcome.error instanceof AbortError ? outcome : { kind: "thrown", error: new CellInterrupted() };
}
