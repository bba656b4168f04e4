/** A cell that runs: who asked for it, its signal, and how everything that it starts is kept apart from other cells. */
import { setAmbientSource } from "../ambient-signal.js";
import { AbortError } from "../errors.js";
import { CellContext } from "./cell-context.js";
import type { Header } from "./wire/protocol.js";

/** How long code that an interrupt reaches has to put things in order (close a run folder) before its awaits are broken off, in ms. */
const GRACE_MS = 500;
/** When awaits of an interrupted cell stop to return at all: a loop that catches every error would go on for ever, in ms. */
const LAST_AWAIT_MS = 800;

/** What an interrupted cell fails with. */
export class CellInterrupted extends AbortError {
  constructor() {
    super("The cell was interrupted.");
  }
}

/** The cell whose code runs now, or whose promise or timer does; none for the kernel's own work. */
export const CELLS: CellContext<Cell> = new CellContext();

export function currentCell(): Cell | undefined {
  return CELLS.get();
}

/** Starts following what cells start; their signals become the ambient ones. */
export function followCells(): void {
  CELLS.install();
  setAmbientSource(() => CELLS.get()?.signal);
}

export class Cell {
  /** Header of the request that all output of this cell answers. */
  readonly parent: Header;
  /** Whether the front end can be asked for input. */
  readonly allowStdin: boolean;
  readonly identities: readonly Uint8Array[];
  /** Bytes of output so far; past a limit the rest is counted, not sent. */
  outputBytes = 0;
  droppedBytes = 0;
  readonly #controller = new AbortController();
  readonly #waiting = new Set<(reason: unknown) => void>();
  readonly #end: (reason: unknown) => void;
  #interruptedAt = Number.POSITIVE_INFINITY;

  /** @param end ends the cell from outside, with the reason that it shall fail with. */
  constructor(
    request: { header: Header; identities: readonly Uint8Array[]; allowStdin: boolean },
    end: (reason: unknown) => void,
  ) {
    this.parent = request.header;
    this.identities = request.identities;
    this.allowStdin = request.allowStdin;
    this.#end = end;
  }

  /** Fires at an interrupt; long calls of the library obey it. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isInterrupted(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Runs `work` as part of this cell. */
  run<T>(work: () => T): T {
    return CELLS.run(this, work);
  }

  /** Stops the cell: its signal fires at once, its awaits break off after a moment, and the cell ends. Twice is once. */
  interrupt(): void {
    if (this.isInterrupted) return;
    this.#interruptedAt = performance.now();
    this.#controller.abort(new CellInterrupted());
    setTimeout(() => this.breakOff(new CellInterrupted()), GRACE_MS);
  }

  /** Fails the cell at once with `reason`: for an error that nobody awaits. */
  breakOff(reason: unknown): void {
    this.#interruptedAt = Math.min(this.#interruptedAt, performance.now() - GRACE_MS);
    if (!this.isInterrupted) this.#controller.abort(reason);
    for (const reject of this.#waiting) reject(reason);
    this.#waiting.clear();
    this.#end(reason);
  }

  /** Awaits on behalf of the cell's code: as `value` does, or fails when the cell is broken off. */
  guard(value: unknown): unknown {
    if (performance.now() - this.#interruptedAt > LAST_AWAIT_MS) return new Promise(() => {});
    if (typeof (value as PromiseLike<unknown> | null)?.then !== "function") return value;
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      const done =
        <T>(settle: (outcome: T) => void) =>
        (outcome: T) => {
          this.#waiting.delete(reject);
          settle(outcome);
        };
      (value as PromiseLike<unknown>).then(done(resolve), done(reject));
    });
  }
}

/** `await value` of a cell's code becomes `await guard(value)`, so that no loop around it outlives an interrupt. */
export function guard(value: unknown): unknown {
  return currentCell()?.guard(value) ?? value;
}

/** The same for `for await (... of iterable)`. */
export async function* guardEach(iterable: AsyncIterable<unknown> | Iterable<unknown>): AsyncGenerator<unknown> {
  const iterator =
    (iterable as AsyncIterable<unknown>)[Symbol.asyncIterator]?.() ??
    (iterable as Iterable<unknown>)[Symbol.iterator]();
  let isDone = false;
  try {
    for (;;) {
      const step = (await guard(iterator.next())) as IteratorResult<unknown>;
      if (step.done) {
        isDone = true;
        return;
      }
      yield await guard(step.value);
    }
  } finally {
    // A generator that hangs would hang its return() too.
    const closed = isDone ? undefined : iterator.return?.();
    if (currentCell()?.isInterrupted) void Promise.resolve(closed).catch(() => {});
    else await closed;
  }
}
