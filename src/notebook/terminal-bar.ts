/** A bar on one line of a terminal, which redraws itself. */
import { Presets, SingleBar } from "cli-progress";

export interface TerminalBar {
  update(done: number, total: number, detail?: string): void;
  /** Takes the bar away. */
  stop(): void;
}

/** A bar named `label`; it shows from the first call of `update`. */
export function terminalBar(stream: NodeJS.WritableStream, label: string, unit: string): TerminalBar {
  const bar = new SingleBar(
    {
      stream,
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
