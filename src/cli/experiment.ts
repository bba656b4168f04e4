/** What every experiment's command does around the experiment: progress, the result as text or JSON, a folder with result and plots. */
import type { PlotData } from "../plot/draw.js";
import { writeExperiment } from "./experiment-folder.js";
import type { Terminal } from "./io.js";
import { progressBar } from "./progress.js";

export interface ExperimentOptions {
  json?: boolean;
  out?: string;
  quiet?: boolean;
}

export interface Experiment<Found extends object> {
  /** "Ablating", and what is counted meanwhile. */
  label: string;
  unit: string;
  run: (update: (done: number, total: number, detail?: string) => void) => Promise<Found>;
  text: (found: Found) => string;
  plots?: (found: Found) => Record<string, PlotData>;
}

/** Runs an experiment, prints what it found and leaves it in the folder of `--out`. */
export async function runExperiment<Found extends object>(
  terminal: Terminal,
  { json, out, quiet }: ExperimentOptions,
  { label, unit, run, text, plots }: Experiment<Found>,
): Promise<Found> {
  const bar = progressBar(terminal, label, { quiet, unit });
  let found: Found;
  try {
    found = await run((done, total, detail) => bar.update(done, total, detail));
  } finally {
    bar.stop();
  }
  if (json) await terminal.printJson(found);
  else await terminal.print(text(found));
  if (out !== undefined) await writeExperiment(terminal, out, found, plots?.(found) ?? {}, quiet);
  return found;
}
