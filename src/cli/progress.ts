/** Progress for the person who waits: a bar on a terminal, a line now and then elsewhere, nothing with --quiet. Always on stderr. */
import { Presets, SingleBar } from "cli-progress";
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
  return terminal.stderr.isTTY ? terminalBar(terminal, label, options.unit) : lines(terminal, label, options.unit);
}

/** A line on a terminal that is overwritten by what follows: "loading", with nothing to count. */
export function status(terminal: Terminal, text: string, quiet: boolean | undefined): void {
  if (!quiet && terminal.stderr.isTTY) terminal.stderr.write(`\r\x1b[K${text}`);
}

/** Takes the line of `status` away. */
export function clearStatus(terminal: Terminal, quiet: boolean | undefined): void {
  if (!quiet && terminal.stderr.isTTY) terminal.stderr.write("\r\x1b[K");
}

function terminalBar(terminal: Terminal, label: string, unit: string): ProgressBar {
  const bar = new SingleBar(
    {
      stream: terminal.stderr,
      format: `${label} {bar} {value}/{total} ${unit} · {eta_formatted} left {detail}`,
      barsize: 24,
      clearOnComplete: true,
      hideCursor: null,
      etaBuffer: 20,
      fps: 10,
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  let total = -1;
  return {
    update(done, newTotal, detail = "") {
      if (total < 0) bar.start(newTotal, done, { detail });
      else if (newTotal !== total) bar.setTotal(newTotal);
      total = newTotal;
      bar.update(done, { detail });
    },
    stop: () => bar.stop(),
  };
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
