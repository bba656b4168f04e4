/** Progress for the person who waits: a bar on a terminal, a line now and then elsewhere, nothing with --quiet. Always on stderr. */
import { terminalBar } from "../notebook/terminal-bar.js";
import type { Terminal } from "./io.js";

/** Seconds between two lines where stderr is not a terminal. */
const LINE_INTERVAL_S = 15;

export interface ProgressBar {
  /** `detail` stands behind the numbers, e.g. a running score. */
  update(done: number, total: number, detail?: string): void;
  /** Takes the bar away or closes it. */
  stop(): void;
}

/** A bar named `label`; it shows from the first call of `update`. */
export function progressBar(
  terminal: Terminal,
  label: string,
  options: { quiet?: boolean; unit: string },
): ProgressBar {
  if (options.quiet) return { update: () => {}, stop: () => {} };
  return terminal.stderr.isTTY
    ? terminalBar(terminal.stderr, label, options.unit)
    : lines(terminal, label, options.unit);
}

/** A line on a terminal that is overwritten by what follows: "loading", with nothing to count. */
export function status(terminal: Terminal, text: string, quiet: boolean | undefined): void {
  if (!quiet && terminal.stderr.isTTY) terminal.stderr.write(`\r\x1b[K${text}`);
}

/** Takes the line of `status` away. */
export function clearStatus(terminal: Terminal, quiet: boolean | undefined): void {
  if (!quiet && terminal.stderr.isTTY) terminal.stderr.write("\r\x1b[K");
}

function lines(terminal: Terminal, label: string, unit: string): ProgressBar {
  let lastLine = performance.now();
  return {
    update(done, total, detail = "") {
      if (performance.now() - lastLine < LINE_INTERVAL_S * 1000) return;
      lastLine = performance.now();
      terminal.note(`${label}: ${done} of ${total} ${unit}${detail === "" ? "" : `, ${detail}`}`);
    },
    stop: () => {},
  };
}
