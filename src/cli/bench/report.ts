/** Figures as a person reads them. */
import type { ProfileRow, StepProfile } from "../../model/step-profile.js";
import { formatBytes, textTable } from "../text-table.js";
import type { Machine, MeasuredCeiling } from "./ceilings.js";
import type { FigureResult } from "./measure.js";
import type { Spread } from "./spread.js";
import type { Figure } from "./works.js";

export function machineText({ cpu, cores, memoryBytes, node, loadAverage }: Machine, threads: number): string {
  const load = `load ${loadAverage.toFixed(1)} at the start`;
  return `${cpu}, ${cores} cores, ${formatBytes(memoryBytes)}; Node ${node}; ${threads} threads; ${load}`;
}

export function ceilingsTable(ceilings: readonly MeasuredCeiling[], threads: number): string {
  const giga = (value: number) => (value / 1e9).toFixed(1);
  const rows = ceilings.map(({ kind, instructions, oneThread, allThreads }) => [
    kind === "read" ? "read memory, GB/s" : `${kind} products, 10^9/s (${instructions})`,
    giga(oneThread),
    giga(allThreads),
  ]);
  return textTable([["ceiling", "1 thread", `${threads} threads`], ...rows], [1, 2]);
}

export function figuresTable(results: readonly FigureResult[], peer: string | null): string {
  const percent = (part: number | null | undefined) => (part == null ? "" : `${(100 * part).toFixed(0)} %`);
  const rows = results.map(({ figure, unit, ours, peer: theirs, ratio, ceiling }) => {
    const mine = [figure, unitText(unit), spreadText(ours, unit), percent(ceiling?.ours)];
    if (peer === null) return mine;
    const times = ratio === null ? "" : `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}-${ratio.max.toFixed(2)})`;
    return [...mine, spreadText(theirs, unit), percent(ceiling?.peer), times];
  });
  const header = ["figure", "unit", "moescope", "of ceiling"];
  const columns = peer === null ? header : [...header, peer, "of ceiling", "ratio"];
  return textTable([columns, ...rows], [2, 3, 4, 5, 6]);
}

function unitText(unit: Figure["unit"]): string {
  return unit === "bytes" ? "GB" : unit;
}

/** Median (least-most). */
function spreadText(spread: Spread | null, unit: Figure["unit"]): string {
  if (spread === null) return "";
  const text = (value: number) => {
    const scaled = unit === "bytes" ? value / 1e9 : value;
    return scaled.toFixed(scaled >= 100 ? 0 : scaled >= 10 ? 1 : 3);
  };
  return `${text(spread.median)} (${text(spread.min)}-${text(spread.max)})`;
}

/** `rows`: how many are shown, the longest first. */
export function profileTable(profile: StepProfile, rows: readonly ProfileRow[]): string {
  const { tokens, steps, threads, stepSeconds, wallSeconds } = profile;
  const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
  const lines = rows.map(({ op, layer, calls, seconds, share, bytes, gigabytesPerSecond, ...row }) => [
    layer === null ? op : `${op} ${layer}`,
    String(calls),
    (seconds * 1000).toFixed(2),
    percent(share),
    (bytes / 1e6).toFixed(1),
    gigabytesPerSecond.toFixed(1),
    row.gigamacsPerSecond.toFixed(1),
    percent(row.waiting),
  ]);
  const header = ["op", "calls", "ms", "share", "MB", "GB/s", "10^9 products/s", "waiting"];
  const outside = Math.max(0, wallSeconds - stepSeconds);
  const sum = `${tokens} tokens in ${steps} steps, ${threads} threads: ${(stepSeconds * 1000).toFixed(1)} ms in native steps`;
  return `${textTable([header, ...lines], [1, 2, 3, 4, 5, 6, 7])}\n${sum}, ${(outside * 1000).toFixed(1)} ms outside them`;
}
