/**
 * Bars for long calls whose caller did not ask for reports, and sentences to note: a notebook's kernel shows them in the cell that
 * called. Elsewhere nothing is shown, for a library does not write on the terminal of a program.
 */

/** A bar that a long call moves. */
export interface ProgressBar {
  /** `total` is undefined where nobody knows it; `detail` stands behind the numbers, e.g. a running score. */
  update(done: number, total: number | undefined, detail?: string): void;
  /** Leaves the bar as it is. Afterwards nothing moves it. */
  end(outcome: "done" | "stopped"): void;
}

export interface ProgressOptions {
  /** What is counted, e.g. "samples". */
  unit: string;
  /** Whether nothing is shown, of the calls below this one neither: the caller has reports of its own. */
  isSilent?: boolean;
}

export type ProgressSource = (label: string, options: ProgressOptions) => ProgressBar | undefined;

/** Registered, so that a second copy of this package in the process finds the same one. */
const SOURCE = Symbol.for("moescope.ambient-progress");
const NOTICES = Symbol.for("moescope.ambient-notices");

type Notices = (text: string) => void;

/** Makes `notices` the place where a person reads what calls have to say beside their result. */
export function setAmbientNotices(notices: Notices | undefined): void {
  (globalThis as { [NOTICES]?: Notices })[NOTICES] = notices;
}

/** Says one sentence in the cell that calls; nothing elsewhere. */
export function notice(text: string): void {
  (globalThis as { [NOTICES]?: Notices })[NOTICES]?.(text);
}

/** Makes `source` the one that long calls get their bars from. */
export function setAmbientProgress(source: ProgressSource | undefined): void {
  (globalThis as { [SOURCE]?: ProgressSource })[SOURCE] = source;
}

/**
 * Runs `work` with what it shall report to: the caller's `own` function, or else a bar named `label`, which `move` makes of a report.
 * Calls inside of `work` have no bars of their own: what they do stands at this one.
 */
export async function withProgress<Report extends unknown[], Result>(
  own: ((...report: Report) => void) | undefined,
  { label, unit, move }: { label: string; unit: string; move: (bar: ProgressBar, ...report: Report) => void },
  work: (report: (...report: Report) => void) => Promise<Result>,
): Promise<Result> {
  const source = (globalThis as { [SOURCE]?: ProgressSource })[SOURCE];
  const bar = source?.(label, { unit, isSilent: own !== undefined });
  if (bar === undefined) return work(own ?? (() => {}));
  let outcome: "done" | "stopped" = "stopped";
  try {
    const result = await work(own ?? ((...report) => move(bar, ...report)));
    outcome = "done";
    return result;
  } finally {
    bar.end(outcome);
  }
}
