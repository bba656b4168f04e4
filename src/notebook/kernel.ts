/** The kernel on its main thread: requests in, cells one after another, replies out. */
import { setAmbientNotices, setAmbientProgress } from "../ambient-progress.js";
import { MoescopeError } from "../errors.js";
import { packageVersion } from "../native/addon.js";
import { CELLS, type Cell, CellInterrupted, currentCell, followCells, guard, guardEach } from "./cell.js";
import { cellProgress } from "./cell-progress.js";
import { Runner } from "./execution.js";
import { collectGarbage } from "./garbage.js";
import { History } from "./history.js";
import { type DisplayMessage, type NotebookHost, setNotebookHost } from "./host.js";
import { complete, inspectCode, isComplete } from "./introspection.js";
import { OUTPUT_LIMIT_BYTES, routeStreams, takeRoom } from "./streams.js";
import { CellEngine } from "./tslab/engine.js";
import {
  type Content,
  type Header,
  type Incoming,
  type Outgoing,
  PHASE_COMPILING,
  PHASE_IDLE,
  PHASE_RUNNING,
  type Request,
  SHARED_CELL,
  SHARED_INTERRUPT,
  SHARED_PHASE,
} from "./wire/protocol.js";

/** After so many cells the garbage of all is collected, once nobody waits for another. */
const CELLS_BETWEEN_COLLECTIONS = 50;

/** How long a failed cell waits for requests that were sent before it failed: they are the ones to abort, in ms. */
const ABORT_WINDOW_MS = 20;

/** What `kernel_info_request` is answered. */
export function kernelInfo(typescriptVersion: string): Content {
  return {
    status: "ok",
    protocol_version: "5.3",
    implementation: "moescope",
    implementation_version: packageVersion(),
    language_info: {
      name: "typescript",
      version: typescriptVersion,
      mimetype: "text/typescript",
      file_extension: ".ts",
      pygments_lexer: "typescript",
      codemirror_mode: { mode: "typescript", name: "javascript", typescript: true },
    },
    banner: `moescope ${packageVersion()}: a microscope for Mixture-of-Experts language models`,
    help_links: [],
    debugger: false,
  };
}

export class Kernel {
  readonly #post: (message: Outgoing) => void;
  readonly #shared: Int32Array;
  readonly #info: Content;
  readonly #engine: CellEngine;
  readonly #runner: Runner;
  readonly #history = new History();
  readonly #queue: Request[] = [];
  /** The cell whose code runs, or the one that code which no cell started belongs to most likely. */
  readonly #cellNow = (): Cell | undefined => currentCell() ?? this.#running ?? this.#latest;
  readonly #onSignal = (): void => this.interrupt();
  #isPumping = false;
  #running: Cell | undefined;
  #latest: Cell | undefined;
  #count = 0;
  #collectedAt = 0;
  /** Interrupts that were asked for before the cell that runs. */
  #numInterrupts = 0;
  #answerInput: ((text: string) => void) | undefined;

  /** @param post hands a message to the thread of the sockets. */
  constructor(folder: string, info: Content, shared: Int32Array, post: (message: Outgoing) => void) {
    this.#post = post;
    this.#shared = shared;
    this.#info = info;
    followCells();
    this.#engine = new CellEngine(
      folder,
      { compiling: (work) => this.#inPhase(PHASE_COMPILING, work), beforeRun: () => this.#throwIfInterrupted() },
      { guard, guardEach },
    );
    this.#runner = new Runner(this.#engine, {
      publish: (cell, msgType, content) => this.#publish(msgType, content, cell.parent),
      stream: (cell, name, text) => post({ kind: "stream", name, text, parent: cell.parent }),
    });
    setNotebookHost(this.#host());
    setAmbientProgress(cellProgress(this.#cellNow, (cell, message) => this.#display(cell, message)));
    setAmbientNotices((text) => process.stderr.write(`${text}\n`));
    routeStreams(
      (cell, name, text) => post({ kind: "stream", name, text, parent: cell.parent }),
      () => this.#running ?? this.#latest,
    );
    process.on("SIGINT", this.#onSignal);
    process.on("unhandledRejection", (reason, promise) => this.#onStray(reason, CELLS.ownerOf(promise)));
    process.on("uncaughtException", (error) => this.#onStray(error, currentCell()));
  }

  /** Takes a message of the sockets' thread; a shutdown is the caller's. */
  receive(message: Exclude<Incoming, { kind: "shutdown" | "ready" }>): void {
    CELLS.reset();
    // Node takes the listener away around a cell's code, and code that was ended by force did not give it back.
    if (!process.listeners("SIGINT").includes(this.#onSignal)) process.on("SIGINT", this.#onSignal);
    if (message.kind === "request") this.#take(message.request);
    else {
      if (message.kind === "interrupt") this.interrupt();
      this.#post({ kind: "heard", id: message.id });
    }
  }

  /** Stops the cell that runs. */
  interrupt(): void {
    this.#running?.interrupt();
  }

  close(): void {
    this.interrupt();
    this.#queue.length = 0;
    this.#engine.close();
  }

  #take(request: Request): void {
    const { header, content } = request;
    const code = String(content.code ?? "");
    const cursor = Number(content.cursor_pos ?? code.length);
    switch (header.msg_type) {
      case "execute_request":
        this.#queue.push(request);
        if (!this.#isPumping) void this.#pump();
        break;
      case "input_reply":
        this.#answerInput?.(String(content.value ?? ""));
        break;
      case "kernel_info_request":
        this.#answer(request, "kernel_info_reply", () => this.#info);
        break;
      case "complete_request":
        this.#answer(request, "complete_reply", () => complete(this.#engine, code, cursor));
        break;
      case "inspect_request":
        this.#answer(request, "inspect_reply", () => inspectCode(this.#engine, code, cursor));
        break;
      case "is_complete_request":
        this.#answer(request, "is_complete_reply", () => isComplete(this.#engine.typescript, code));
        break;
      case "history_request":
        this.#answer(request, "history_reply", () => ({ status: "ok", history: this.#history.answer(content) }));
        break;
      case "comm_info_request":
        this.#answer(request, "comm_info_reply", () => ({ status: "ok", comms: {} }));
        break;
      case "comm_open":
        // We have no comms: whoever opens one is told that it is closed.
        this.#publish("comm_close", { comm_id: content.comm_id, data: {} }, header);
        break;
      default:
        break; // a request that we do not know has no reply, as the protocol wants it
    }
  }

  #answer(request: Request, msgType: string, work: () => Content): void {
    this.#status("busy", request.header);
    let content: Content;
    try {
      content = work();
    } catch (error) {
      const { name, message } = error as Error;
      content = { status: "error", ename: name, evalue: message, traceback: [] };
    }
    this.#post({ kind: "reply", msgType, content, request });
    this.#status("idle", request.header);
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    for (let request = this.#queue.shift(); request !== undefined; request = this.#queue.shift()) {
      await this.#execute(request);
    }
    this.#isPumping = false;
    if (this.#count - this.#collectedAt < CELLS_BETWEEN_COLLECTIONS) return;
    this.#collectedAt = this.#count;
    collectGarbage();
  }

  async #execute(request: Request): Promise<void> {
    const { header, content } = request;
    const code = String(content.code ?? "");
    const isSilent = content.silent === true;
    const isStored = !isSilent && content.store_history !== false;
    this.#status("busy", header);
    if (isStored) this.#count++;
    const count = this.#count;
    if (!isSilent) this.#publish("execute_input", { code, execution_count: count }, header);
    const { cell, ended } = this.#runner.cellOf(request, (asked) => asked === this.#running);
    this.#running = cell;
    this.#latest = cell;
    Atomics.add(this.#shared, SHARED_CELL, 1);
    this.#setPhase(PHASE_RUNNING);
    const { error, text } = await this.#runner.run({ cell, code, count, isSilent }, ended);
    let values: Content = {};
    if (error === undefined && content.user_expressions) {
      values = await this.#runner.evaluate(cell, content.user_expressions as Record<string, string>, ended);
    }
    this.#setPhase(PHASE_IDLE);
    this.#running = undefined;
    if (isStored) this.#history.add(count, code, text ?? null);
    this.#sayWhatWasCut(cell);
    const aborted = error !== undefined && content.stop_on_error !== false ? await this.#requestsBehind() : [];
    const reply: Content =
      error === undefined ? { status: "ok", user_expressions: values, payload: [] } : { status: "error", ...error };
    this.#post({
      kind: "reply",
      msgType: "execute_reply",
      content: { ...reply, execution_count: count },
      request,
    });
    this.#status("idle", header);
    for (const later of aborted) {
      this.#answer(later, "execute_reply", () => ({ status: "aborted", execution_count: this.#count }));
    }
  }

  /** Requests that were sent before their sender could know of an error; none of them runs. */
  async #requestsBehind(): Promise<Request[]> {
    await new Promise((resolve) => setTimeout(resolve, ABORT_WINDOW_MS));
    return this.#queue.splice(0);
  }

  #sayWhatWasCut(cell: Cell): void {
    if (cell.droppedBytes === 0) return;
    const text = `\nThe output of this cell was cut after ${OUTPUT_LIMIT_BYTES / 2 ** 20} MiB; ${cell.droppedBytes} characters are not shown.\n`;
    this.#post({ kind: "stream", name: "stderr", text, parent: cell.parent });
  }

  #host(): NotebookHost {
    return {
      display: (message) => {
        const cell = this.#cellNow();
        if (cell !== undefined && !cell.isInterrupted) this.#display(cell, message);
      },
      clearOutput: (wait) => {
        const cell = this.#cellNow();
        if (cell !== undefined && !cell.isInterrupted) this.#publish("clear_output", { wait }, cell.parent);
      },
      input: (prompt, password) => this.#input(prompt, password),
    };
  }

  #display(cell: Cell, { data, metadata = {}, displayId, update = false }: DisplayMessage): void {
    if (!takeRoom(cell, sizeOf(data))) return;
    const transient = displayId === undefined ? {} : { display_id: displayId };
    this.#publish(update ? "update_display_data" : "display_data", { data, metadata, transient }, cell.parent);
  }

  async #input(prompt: string, password: boolean): Promise<string> {
    const cell = currentCell() ?? this.#running;
    if (!cell?.allowStdin) {
      throw new MoescopeError("UNSUPPORTED", "input() cannot ask here: this front end takes no input from cells.");
    }
    const request = { channel: "stdin" as const, identities: [...cell.identities], header: cell.parent };
    this.#post({ kind: "reply", msgType: "input_request", content: { prompt, password }, request });
    return new Promise((resolve, reject) => {
      this.#answerInput = resolve;
      cell.signal.addEventListener("abort", () => reject(cell.signal.reason), { once: true });
    });
  }

  /** An error that nobody awaited: it fails the cell that caused it, or is shown there if that has ended. */
  #onStray(error: unknown, cell: Cell | undefined): void {
    if (cell === undefined) process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    else if (cell.isInterrupted) return;
    else if (cell === this.#running) cell.breakOff(error);
    else this.#runner.reportLate(cell, error);
  }

  #throwIfInterrupted(): void {
    // Asked for while the compiler ran, when nobody could listen.
    const isAsked = Atomics.load(this.#shared, SHARED_INTERRUPT) > this.#numInterrupts;
    if (isAsked) throw new CellInterrupted();
  }

  #inPhase<T>(phase: number, work: () => T): T {
    const before = Atomics.load(this.#shared, SHARED_PHASE);
    this.#setPhase(phase);
    try {
      return work();
    } finally {
      this.#setPhase(before);
    }
  }

  #setPhase(phase: number): void {
    if (phase === PHASE_RUNNING) this.#numInterrupts = Atomics.load(this.#shared, SHARED_INTERRUPT);
    Atomics.store(this.#shared, SHARED_PHASE, phase);
  }

  #status(execution_state: "busy" | "idle", parent: Header): void {
    this.#publish("status", { execution_state }, parent);
  }

  #publish(msgType: string, content: Content, parent: Header): void {
    this.#post({ kind: "publish", msgType, content, parent });
  }
}

function sizeOf(data: Record<string, unknown>): number {
  const size = (value: unknown): number => (typeof value === "string" ? value : JSON.stringify(value)).length;
  return Object.values(data).reduce<number>((sum, value) => sum + size(value), 0);
}
