/** Medians with their spread. */
import { median, quantile } from "simple-statistics";

export interface Spread {
  median: number;
  min: number;
  max: number;
  /** Third less first quartile. */
  iqr: number;
  values: number[];
}

/** Null where there is no value. */
export function spreadOf(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const list = [...values];
  return {
    median: median(list),
    min: Math.min(...list),
    max: Math.max(...list),
    iqr: quantile(list, 0.75) - quantile(list, 0.25),
    values: list,
  };
}

/** How many times as good the first is as the second, pair by pair. `lessIsBetter`: of times and memory. */
export function pairedRatios(ours: readonly number[], theirs: readonly number[], lessIsBetter: boolean): number[] {
  return ours
    .slice(0, theirs.length)
    .map((value, pair) => (lessIsBetter ? theirs[pair]! / value : value / theirs[pair]!));
}
