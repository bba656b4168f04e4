/** Bars of the library's long calls in cells. One at a time in each cell: a call that is made by another moves that one's detail. */
import type { ProgressBar, ProgressSource } from "../ambient-progress.js";
import type { Cell } from "./cell.js";
import { DisplayBar, type SendDisplay } from "./progress.js";

/** What takes no longer shows no bar, in ms. */
const SHOW_AFTER_MS = 500;

/** What a cell has had of bars. */
interface CellBars {
  open: { bar: DisplayBar | undefined; report: [number, number | undefined, string] } | undefined;
  /** Displays of bars that have ended, by label: a loop that calls the same thing again does not fill the page. */
  displays: Map<string, string>;
}

/**
 * @param cellNow the cell whose code calls.
 * @param send shows in a cell, also one that was interrupted: the bar says so, once.
 */
export function cellProgress(
  cellNow: () => Cell | undefined,
  send: (cell: Cell, ...message: Parameters<SendDisplay>) => void,
): ProgressSource {
  const cells = new WeakMap<Cell, CellBars>();
  return (label, { unit, isSilent = false }) => {
    const cell = cellNow();
    if (cell === undefined || cell.isInterrupted) return undefined;
    const bars: CellBars = cells.get(cell) ?? { open: undefined, displays: new Map() };
    cells.set(cell, bars);
    return bars.open === undefined ? openBar() : nestedBar(bars.open);

    function openBar(): ProgressBar {
      const shownAs = bars.displays.get(label);
      const bar = isSilent
        ? undefined
        : new DisplayBar(label, unit, (message) => send(cell!, message), { delayMs: SHOW_AFTER_MS, shownAs });
      const open: NonNullable<CellBars["open"]> = { bar, report: [0, undefined, ""] };
      bars.open = open;
      const end = (outcome: "done" | "stopped"): void => {
        cell!.signal.removeEventListener("abort", stop);
        bar?.end(outcome);
        if (bar?.isShown) bars.displays.set(label, bar.displayId);
        if (bars.open === open) bars.open = undefined;
      };
      const stop = (): void => end("stopped");
      cell!.signal.addEventListener("abort", stop, { once: true });
      return {
        update: (done, total, detail = "") => {
          open.report = [done, total, detail];
          bar?.update(done, total, detail);
        },
        end,
      };
    }

    function nestedBar({ bar, report }: NonNullable<CellBars["open"]>): ProgressBar {
      return {
        update: (done, total) => {
          const [outerDone, outerTotal, detail] = report;
          const own = `${label} ${done}${total === undefined ? "" : `/${total}`} ${unit}`;
          bar?.update(outerDone, outerTotal, detail === "" ? own : `${detail} · ${own}`);
        },
        end: () => {},
      };
    }
  };
}
