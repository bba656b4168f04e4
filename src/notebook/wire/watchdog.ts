/**
 * Interrupts that always work. The cells' thread is told first; where it does not listen, because a loop keeps it, V8 is asked to end the
 * JavaScript that runs. SIGINT would not do: Node takes its listeners away around the code of a cell, and one that comes in between ends
 * the process.
 */
import { Session } from "node:inspector";
import { setTimeout as delay } from "node:timers/promises";
import { PHASE_COMPILING, SHARED_CELL, SHARED_INTERRUPT, SHARED_PHASE } from "./protocol.js";

const POLL_MS = 50;
const WARM_UP_MS = 200;
/** A thread that has not answered for so long is in a loop. */
const DEAF_MS = 300;
/** The same while it compiles: breaking that off costs a new compiler, and most compilations end sooner. */
const DEAF_COMPILING_MS = 1000;
/** Between two attempts to end the same code. */
const TERMINATE_INTERVAL_MS = 500;
/** How long after an interrupt the cell is watched, in ms. */
const WATCH_MS = 2500;

export class Watchdog {
  readonly #shared: Int32Array;
  readonly #ask: (kind: "interrupt" | "ping", id: number) => void;
  #asked = 0;
  #heard = 0;
  #watchUntil = 0;
  #isWatching = false;

  /** @param ask hands an interrupt or a ping of a number to the cells' thread, which calls `heard` with it. */
  constructor(shared: Int32Array, ask: (kind: "interrupt" | "ping", id: number) => void) {
    this.#shared = shared;
    this.#ask = ask;
    // The first connection takes a second on a busy machine; an interrupt has not that much time.
    setTimeout(() => {
      const session = new Session();
      session.connectToMainThread();
      session.disconnect();
    }, WARM_UP_MS).unref();
  }

  interrupt(): void {
    Atomics.add(this.#shared, SHARED_INTERRUPT, 1);
    this.#ask("interrupt", ++this.#asked);
    this.#watchUntil = performance.now() + WATCH_MS;
    if (!this.#isWatching) void this.#watch();
  }

  heard(id: number): void {
    this.#heard = Math.max(this.#heard, id);
  }

  /** Until the cell has ended, or a while after it has heard: code that an interrupt fails may go on in a loop that hears nothing. */
  async #watch(): Promise<void> {
    this.#isWatching = true;
    const cell = Atomics.load(this.#shared, SHARED_CELL);
    let deaf = 0;
    let terminated = Number.NEGATIVE_INFINITY;
    for (;;) {
      await delay(POLL_MS);
      if (this.#heard >= this.#asked) {
        if (performance.now() > this.#watchUntil || Atomics.load(this.#shared, SHARED_CELL) !== cell) break;
        deaf = 0;
        this.#ask("ping", ++this.#asked);
      } else if (Atomics.load(this.#shared, SHARED_CELL) !== cell)
        break; // the next cell may be busy: nobody asked to stop that
      else if (deaf < this.#patience()) deaf += POLL_MS;
      else if (performance.now() - terminated > TERMINATE_INTERVAL_MS) {
        terminated = performance.now();
        terminateMainThread();
      }
    }
    this.#isWatching = false;
  }

  #patience(): number {
    return Atomics.load(this.#shared, SHARED_PHASE) === PHASE_COMPILING ? DEAF_COMPILING_MS : DEAF_MS;
  }
}

/** Ends the JavaScript that the main thread runs; the thread itself goes on with its next event. */
function terminateMainThread(): void {
  const session = new Session();
  session.connectToMainThread();
  // The session is closed in any case: one that stays open keeps the process waiting for a debugger at its end.
  session.post("Runtime.terminateExecution", () => session.disconnect());
  setTimeout(() => session.disconnect(), TERMINATE_INTERVAL_MS / 2).unref();
}
