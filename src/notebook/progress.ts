/** Progress bars in notebooks and in terminals: one display that is updated, at most ten times a second. */
import { randomUUID } from "node:crypto";
import type { ProgressBar, ProgressOptions } from "../ambient-progress.js";
import { display, isNotebook } from "./display.js";
import type { DisplayMessage } from "./host.js";
import { escapeHtml } from "./show/html.js";
import { terminalBar } from "./terminal-bar.js";

/** Between two updates, in ms. */
const INTERVAL_MS = 100;
/** Characters of a bar in text. */
const BAR_SIZE = 24;
const MOST_DETAIL = 120;

export type SendDisplay = (message: DisplayMessage) => void;

/** A bar as a display. It appears with the first report that comes `delayMs` after its start, and what ends sooner never appears. */
export class DisplayBar implements ProgressBar {
  readonly displayId: string;
  isEnded = false;
  readonly #label: string;
  readonly #unit: string;
  readonly #send: SendDisplay;
  readonly #delayMs: number;
  readonly #started: number = performance.now();
  #isShown: boolean;
  #sent = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #report: { done: number; total: number | undefined; detail: string } = { done: 0, total: undefined, detail: "" };
  #isMoved = false;

  /** @param shownAs the display that an earlier bar has left, whose place this one takes. */
  constructor(label: string, unit: string, send: SendDisplay, { delayMs = 0, shownAs }: DisplayBarOptions = {}) {
    this.#label = label;
    this.#unit = unit;
    this.#send = send;
    this.#delayMs = delayMs;
    this.displayId = shownAs ?? `progress-${randomUUID()}`;
    this.#isShown = shownAs !== undefined;
  }

  /** Whether there is something to see of it. */
  get isShown(): boolean {
    return this.#isShown;
  }

  update(done: number, total: number | undefined, detail: string = ""): void {
    if (this.isEnded) return;
    this.#report = { done, total, detail };
    this.#isMoved = true;
    const wait = Math.max(this.#sent + INTERVAL_MS, this.#started + this.#delayMs) - performance.now();
    if (wait <= 0) this.#show();
    else this.#timer ??= setTimeout(() => this.#show(), wait).unref();
  }

  end(outcome: "done" | "stopped"): void {
    if (this.isEnded) return;
    this.isEnded = true;
    clearTimeout(this.#timer);
    if (this.#isShown && this.#isMoved) this.#emit(outcome);
  }

  #show(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.isEnded) return;
    this.#sent = performance.now();
    this.#emit("running");
  }

  #emit(state: "running" | "done" | "stopped"): void {
    const { done, total, detail } = this.#report;
    const seconds = (performance.now() - this.#started) / 1000;
    const text = statusText({ done, total, unit: this.#unit, seconds, state });
    const tail = detail === "" ? "" : ` · ${detail.slice(0, MOST_DETAIL)}`;
    const share = total === undefined || total === 0 ? undefined : Math.min(1, done / total);
    const data = {
      "text/plain": `${this.#label} ${textBar(share)}${text}${tail}`,
      "text/html": `<div>${escapeHtml(this.#label)} ${htmlBar(share, state)}${escapeHtml(text + tail)}</div>`,
    };
    this.#send({ data, displayId: this.displayId, update: this.#isShown });
    this.#isShown = true;
  }
}

export interface DisplayBarOptions {
  delayMs?: number;
  shownAs?: string;
}

function statusText(at: {
  done: number;
  total: number | undefined;
  unit: string;
  seconds: number;
  state: "running" | "done" | "stopped";
}): string {
  const { done, total, unit, seconds, state } = at;
  const number = (value: number) => value.toLocaleString("en", { maximumFractionDigits: 1 });
  const count = `${number(done)}${total === undefined ? "" : `/${number(total)}`} ${unit}`;
  if (state !== "running") return `${count} · ${state === "done" ? "" : "stopped after "}${durationText(seconds)}`;
  if (total === undefined || done === 0) return `${count} · ${durationText(seconds)}`;
  return `${count} · ${durationText((seconds * (total - done)) / done)} left`;
}

/** 0.4 s, 12 s, 3 min 20 s, 2 h 5 min. */
export function durationText(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function textBar(share: number | undefined): string {
  if (share === undefined) return "";
  const full = Math.floor(share * BAR_SIZE);
  return `${"█".repeat(full)}${"░".repeat(BAR_SIZE - full)} `;
}

/** Without a value the browser shows that something happens. */
function htmlBar(share: number | undefined, state: "running" | "done" | "stopped"): string {
  if (share === undefined) return state === "running" ? "<progress></progress> " : "";
  return `<progress value="${share.toFixed(4)}" max="1"></progress> `;
}

/**
 * A bar for long work of one's own: one updating display in a notebook, a line that redraws itself where stderr is a terminal, and
 * nothing elsewhere. Call `end` when the work has ended, however it did.
 *
 *     const bar = progressBar("counting", { unit: "texts" });
 *     for (const [i, text] of texts.entries()) { count(text); bar.update(i + 1, texts.length); }
 *     bar.end("done");
 */
export function progressBar(
  label: string,
  { unit = "items" }: Partial<Pick<ProgressOptions, "unit">> = {},
): ProgressBar {
  if (isNotebook()) return new DisplayBar(label, unit, display);
  if (!process.stderr.isTTY) return { update: () => {}, end: () => {} };
  const bar = terminalBar(process.stderr, label, unit);
  return { update: (done, total = done, detail) => bar.update(done, total, detail), end: () => bar.stop() };
}
