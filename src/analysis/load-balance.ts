/**
 * How evenly the experts of one layer are used: figures of its counts c_e, e = 1..N. f_e = c_e / sum of c. With k distinct experts per
 * token no share exceeds 1/k, so most figures cannot reach the end of their usual scale: `LOAD_METRICS` holds what they can reach, and
 * what tokens that choose uniformly would give. A layer without tokens has no distribution: NaN.
 *
 * Sources named below: NeMo Automodel's load-balance metrics; Tinker's expert metrics; SGLang and vLLM (balancedness, there of GPUs);
 * chuk's router analysis; aux-loss-free balancing, arXiv 2408.15664 [mem]; Shazeer et al. 2017 [mem]; Switch Transformer, arXiv
 * 2101.03961 [mem]. [mem]: quoted from memory, not checked against the paper.
 */

import { entropy } from "./information.js";
import { sumOf } from "./numbers.js";

type Counts = ArrayLike<number>;

/** Share of experts never chosen, #{c_e = 0} / N. It falls with T: give T, or the rarefaction curve. NeMo Automodel. */
export function deadFraction(counts: Counts): number {
  return shareOfExperts(counts, (count) => count === 0);
}

/** Share of experts above the even share, N c_e > sum of c, compared as integers: the float N f > 1 misjudges an even expert. Tinker. */
export function oversubscribedFraction(counts: Counts): number {
  const total = sumOf(counts);
  return shareOfExperts(counts, (count) => count * counts.length > total);
}

/** (max c - mean c) / mean c. Tinker; aux-loss-free balancing, arXiv 2408.15664 [mem]. */
export function maxViolation(counts: Counts): number {
  const mean = sumOf(counts) / counts.length;
  return (maxOf(counts) - mean) / mean;
}

/** mean c / max c of the experts of one layer. SGLang and vLLM say it of GPUs and ranks; this is of experts. */
export function balancedness(counts: Counts): number {
  return sumOf(counts) / counts.length / maxOf(counts);
}

/** Coefficient of variation sd(c) / mean(c), divisor N. */
export function loadCv(counts: Counts): number {
  return Math.sqrt(squaredCv(counts, counts.length));
}

/** sd(c) / mean(c) with divisor N - 1, the default of `torch.std`: NeMo Automodel's figure. */
export function loadCvSampleSd(counts: Counts): number {
  return Math.sqrt(squaredCv(counts, counts.length - 1));
}

/** (sd(m) / mean(m))², divisor N, of the gate mass m, not of counts. Shazeer et al. 2017 [mem]. */
export function importanceCv2(gateMass: Counts): number {
  return squaredCv(gateMass, gateMass.length);
}

/** H = -sum f ln f, in nats. NeMo Automodel, ds4 #307. */
export function loadEntropy(counts: Counts): number {
  return entropy(counts);
}

/** H / ln N. Its floor is ln k / ln N, 0.5 at 8 of 64: rescale before comparing models. NeMo Automodel. */
export function loadEntropyNormalized(counts: Counts): number {
  return entropy(counts) / Math.log(counts.length);
}

/** (H - ln k) / (ln N - ln k): 0 where k experts take all, 1 where all are even. Derived. */
export function loadEntropyRescaled(counts: Counts, numExpertsPerToken: number): number {
  const floor = Math.log(numExpertsPerToken);
  return (entropy(counts) - floor) / (Math.log(counts.length) - floor);
}

/** exp(H), from k to N. NeMo Automodel calls it diversity. */
export function effectiveExperts(counts: Counts): number {
  return Math.exp(entropy(counts));
}

/** exp(H) / N. */
export function effectiveExpertsFraction(counts: Counts): number {
  return effectiveExperts(counts) / counts.length;
}

/** Kullback-Leibler divergence of f from the uniform distribution, ln N - H. Derived. */
export function klFromUniform(counts: Counts): number {
  return Math.log(counts.length) - entropy(counts);
}

/** 1 - 1/2 sum |f_e - 1/N|. chuk `load_balance_score`. */
export function tvBalance(counts: Counts): number {
  const total = sumOf(counts);
  let distance = 0;
  for (let e = 0; e < counts.length; e++) distance += Math.abs(counts[e]! / total - 1 / counts.length);
  return 1 - distance / 2;
}

/** sum over i, j of |f_i - f_j| / (2N), from the sorted counts. Gini 1912; in no peer. */
export function gini(counts: Counts): number {
  const sorted = Float64Array.from(counts).sort();
  const n = sorted.length;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += (2 * (i + 1) - n - 1) * sorted[i]!;
  return sum / (n * sumOf(sorted));
}

/** Gini over its reachable maximum 1 - k/N. Derived. */
export function giniRescaled(counts: Counts, numExpertsPerToken: number): number {
  return gini(counts) / (1 - numExpertsPerToken / counts.length);
}

/** Share of routes that the m most used experts take, m = 1..N. MoE-Lens, ds4 #307. [N] */
export function coverageCurve(counts: Counts): Float64Array {
  const total = sumOf(counts);
  const descending = Float64Array.from(counts).sort().reverse();
  let covered = 0;
  return descending.map((count) => {
    covered += count;
    return covered / total;
  });
}

/**
 * Expected dead fraction of a random n of the T tokens, mean over e of C(T - c_e, n) / C(T, n): comparable between traces of unequal
 * length. Hurlbert 1971 (rarefaction). NaN for n > T.
 */
export function deadFractionRarefied(counts: Counts, numTokens: number, n: number): number {
  if (n > numTokens || counts.length === 0) return Number.NaN;
  let sum = 0;
  for (let e = 0; e < counts.length; e++) {
    const count = counts[e]!;
    // C(T - c, n) / C(T, n) = product over i < c of (T - n - i) / (T - i), and symmetric in c and n.
    const [few, many] = count < n ? [count, n] : [n, count];
    let ratio = numTokens - count < n ? 0 : 1;
    for (let i = 0; i < few && ratio > 0; i++) ratio *= (numTokens - many - i) / (numTokens - i);
    sum += ratio;
  }
  return sum / counts.length;
}

/**
 * N sum f_e P_e of one layer, P the mean probability over tokens; 1 where f or P is uniform. Switch Transformer, arXiv 2101.03961 [mem].
 */
export function loadBalanceLoss(counts: Counts, meanProbability: Counts): number {
  const total = sumOf(counts);
  let sum = 0;
  for (let e = 0; e < counts.length; e++) sum += (counts[e]! / total) * meanProbability[e]!;
  return counts.length * sum;
}

/**
 * N sum h_e P_e with h and P averaged over the rows of all layers before the product: `load_balancing_loss_func` of Hugging Face, k
 * times the scale of `loadBalanceLoss` and not its mean over layers. `counts`, `probabilitySums`: [L, N], `rows` = T L.
 */
export function loadBalanceLossPooled(
  counts: Counts,
  probabilitySums: Counts,
  numExperts: number,
  rows: number,
): number {
  const h = new Float64Array(numExperts);
  const p = new Float64Array(numExperts);
  for (let slot = 0; slot < counts.length; slot++) {
    h[slot % numExperts]! += counts[slot]! / rows;
    p[slot % numExperts]! += probabilitySums[slot]! / rows;
  }
  return numExperts * h.reduce((sum, value, e) => sum + value * p[e]!, 0);
}

/** Over layers: the mean of each layer's mean c / max c. SGLang's order of averaging. `counts`: [L, N] */
export function balancednessPerLayerMean(counts: Float64Array, numExperts: number): number {
  const layers = rowsOf(counts, numExperts);
  return sumOf(layers.map(balancedness)) / layers.length;
}

/** Over layers: sum of mean c / sum of max c. vLLM's order of averaging; not equal to the mean over layers. `counts`: [L, N] */
export function balancednessPooled(counts: Float64Array, numExperts: number): number {
  return sumOf(counts) / numExperts / sumOf(rowsOf(counts, numExperts).map(maxOf));
}

/** Views of the rows of a matrix. */
export function rowsOf(matrix: Float64Array, width: number): Float64Array[] {
  return Array.from({ length: matrix.length / width }, (_, row) => matrix.subarray(row * width, (row + 1) * width));
}

function shareOfExperts(counts: Counts, holds: (count: number) => boolean): number {
  if (!(sumOf(counts) > 0)) return Number.NaN;
  let found = 0;
  for (let e = 0; e < counts.length; e++) if (holds(counts[e]!)) found++;
  return found / counts.length;
}

function maxOf(values: Counts): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, values[i]!);
  return largest;
}

function squaredCv(values: Counts, divisor: number): number {
  const mean = sumOf(values) / values.length;
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i]! - mean) ** 2;
  return squares / divisor / mean ** 2;
}
