import { mean as average, sampleStandardDeviation } from "simple-statistics";
import { invalidArgument } from "../errors.js";
import { PythonRandom } from "./python-random.js";

/**
 * The statistics of scores. Three rules for degenerate input: an argument that cannot be right throws (NaN, unequal lengths,
 * more successes than trials); a question without an answer gives NaN, never 0; an interval that is still true is returned
 * (Wilson at n = 0 is [0, 1]).
 *
 * Sources: Wilson 1927; McNemar 1947 (exact form); Chen et al. 2021 (pass@k); Miller 2024, "Adding Error Bars to Evals"
 * (arXiv 2411.00640); lm-evaluation-harness `api/metrics.py` (pooled standard error).
 */

export type Interval = readonly [lower: number, upper: number];

/** Mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  checkNumbers("values", values);
  return values.length === 0 ? Number.NaN : average(values as number[]);
}

/** Standard error of the mean, sd with divisor n - 1 over √n; NaN below two values. */
export function standardError(values: readonly number[]): number {
  checkNumbers("values", values);
  return values.length < 2 ? Number.NaN : sampleStandardDeviation(values as number[]) / Math.sqrt(values.length);
}

/**
 * Standard error of a mean whose items come in clusters (paraphrases of one question, questions on one text): residuals are summed
 * per cluster before they are squared, with the correction C / (C - 1). NaN below two clusters.
 */
export function clusteredStandardError(values: readonly number[], clusters: readonly (string | number)[]): number {
  checkNumbers("values", values);
  checkSameLength("clusters", clusters.length, values.length);
  const centre = mean(values);
  const sums = new Map<string | number, number>();
  values.forEach((value, i) => {
    sums.set(clusters[i]!, (sums.get(clusters[i]!) ?? 0) + value - centre);
  });
  const count = sums.size;
  if (count < 2) return Number.NaN;
  const squares = [...sums.values()].reduce((total, sum) => total + sum * sum, 0);
  return Math.sqrt((squares * count) / (count - 1)) / values.length;
}

/** Standard error of the mean difference of two systems on the same items. */
export function pairedStandardError(a: readonly number[], b: readonly number[]): number {
  checkSameLength("b", b.length, a.length);
  return standardError(a.map((value, i) => value - b[i]!));
}

/** Size and standard error of one group of items. */
export interface GroupError {
  n: number;
  stderr: number;
}

/** Standard error of a mean over groups weighted by size, from the groups' own: lm-evaluation-harness's pooled variance. */
export function pooledStandardError(groups: readonly GroupError[]): number {
  const total = groups.reduce((sum, group) => sum + group.n, 0);
  const pooled =
    groups.reduce((sum, { n, stderr }) => sum + (n - 1) * n * stderr * stderr, 0) / (total - groups.length);
  return Math.sqrt(pooled / total);
}

/** Standard error of the unweighted mean of group means. */
export function macroStandardError(stderrs: readonly number[]): number {
  return Math.sqrt(stderrs.reduce((sum, stderr) => sum + stderr * stderr, 0)) / stderrs.length;
}

/** Wilson's score interval of a proportion: right at small n and at 0 and 1, where mean ± 1.96 SE is not. */
export function wilson(successes: number, n: number, level: number = 0.95): Interval {
  checkCount("n", n);
  checkCount("successes", successes);
  if (successes > n) throw invalidArgument("successes", `at most n = ${n}`, successes);
  if (n === 0) return [0, 1];
  const z = normalQuantile(0.5 + level / 2);
  const p = successes / n;
  const centre = p + (z * z) / (2 * n);
  const half = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  const scale = 1 + (z * z) / n;
  return [successes === 0 ? 0 : (centre - half) / scale, successes === n ? 1 : (centre + half) / scale];
}

/** mean ± z SE; for scores that are not 0 or 1. */
export function normalInterval(centre: number, stderr: number, level: number = 0.95): Interval {
  const z = normalQuantile(0.5 + level / 2);
  return [centre - z * stderr, centre + z * stderr];
}

/** Percentile bootstrap interval of the mean: items drawn with replacement; NaN below two values. */
export function bootstrapInterval(
  values: readonly number[],
  options: { level?: number; resamples?: number; seed?: number } = {},
): Interval {
  checkNumbers("values", values);
  const { level = 0.95, resamples = 10_000, seed = 0 } = options;
  const n = values.length;
  if (n < 2) return [Number.NaN, Number.NaN];
  const random = new PythonRandom(seed);
  const means = new Float64Array(resamples);
  for (let b = 0; b < resamples; b++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[random.below(n)]!;
    means[b] = sum / n;
  }
  means.sort();
  return [quantileOfSorted(means, (1 - level) / 2), quantileOfSorted(means, (1 + level) / 2)];
}

/** Quantile by linear interpolation (type 7, as numpy); NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  checkNumbers("values", values);
  return quantileOfSorted(Float64Array.from(values).sort(), q);
}

/** Exact two-sided McNemar test from the discordant counts; 1 where there are none. */
export function mcnemarExact(b: number, c: number): number {
  checkCount("b", b);
  checkCount("c", c);
  const n = b + c;
  const k = Math.min(b, c);
  let logTerm = -n * Math.LN2;
  for (let i = 1; i <= k; i++) logTerm += Math.log((n - k + i) / i);
  let term = Math.exp(logTerm);
  let tail = 0;
  for (let i = k; i >= 0 && term > 0; i--) {
    tail += term;
    term *= i / (n - i + 1);
  }
  return Math.min(1, 2 * tail);
}

/** Discordant pairs of two systems' 0/1 scores on the same items, b where only the first is right, and McNemar's p. */
export function mcnemarOfItems(a: readonly number[], b: readonly number[]): { b: number; c: number; p: number } {
  checkSameLength("b", b.length, a.length);
  const onlyA = a.filter((value, i) => value === 1 && b[i] === 0).length;
  const onlyB = a.filter((value, i) => value === 0 && b[i] === 1).length;
  return { b: onlyA, c: onlyB, p: mcnemarExact(onlyA, onlyB) };
}

/** Unbiased estimate of the chance that one of k draws passes, from c passes in n samples of one problem. */
export function passAtK(n: number, c: number, k: number): number {
  checkCount("n", n);
  checkCount("c", c);
  checkCount("k", k);
  if (c > n) throw invalidArgument("c", `at most n = ${n}`, c);
  if (k > n) throw invalidArgument("k", `at most n = ${n}`, k);
  if (n - c < k) return 1;
  let allFail = 1;
  for (let i = n - c + 1; i <= n; i++) allFail *= 1 - k / i;
  return 1 - allFail;
}

function quantileOfSorted(sorted: Float64Array, q: number): number {
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)]!;
  const high = sorted[Math.ceil(at)]!;
  return low + (high - low) * (at - Math.floor(at));
}

/**
 * The standard normal quantile, accurate to 1e-12 within ±4: Newton's method on the distribution function, which is summed as a series
 * (Abramowitz and Stegun 26.2.10). `probit` of simple-statistics is off in the fourth digit.
 */
function normalQuantile(p: number): number {
  if (!(p > 0 && p < 1)) throw invalidArgument("level", "a number between 0 and 1", 2 * p - 1);
  let z = 0;
  for (let i = 0; i < 100; i++) {
    const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    const step = (normalDistribution(z, density) - p) / density;
    z -= Math.max(-1, Math.min(1, step));
    if (Math.abs(step) < 1e-15) break;
  }
  return z;
}

function normalDistribution(z: number, density: number): number {
  let term = z;
  let sum = z;
  for (let k = 1; Math.abs(term) > 1e-18 * Math.abs(sum); k++) {
    term *= (z * z) / (2 * k + 1);
    sum += term;
  }
  return 0.5 + density * sum;
}

function checkNumbers(name: string, values: readonly number[]): void {
  const bad = values.find((value) => typeof value !== "number" || Number.isNaN(value));
  if (bad !== undefined) throw invalidArgument(name, "numbers (drop missing scores first, and state n)", bad);
}

function checkSameLength(name: string, actual: number, expected: number): void {
  if (actual !== expected) throw invalidArgument(name, `${expected} values, one for each item`, actual);
}

function checkCount(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 0) throw invalidArgument(name, "a whole number, at least 0", value);
}
