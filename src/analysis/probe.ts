/**
 * Do routes say more about correctness than length and subject do? A logistic regression on routing features against one on the
 * baseline, by cross-validated AUC. Ours.
 */

import { invalidArgument } from "../errors.js";
import type { RouterTrace } from "../router/trace.js";
import { fitLogistic, logOdds } from "./logistic-regression.js";
import { addScaled } from "./numbers.js";
import { type JoinedOutcome, joinDocuments, type Outcome } from "./outcomes.js";
import { rocAuc, rocAucStandardError } from "./rank.js";
import { loadOf, type RoutingLoad } from "./routing-load.js";

/** The 97.5 % quantile of the normal distribution. */
const Z95 = 1.959963984540054;

/** What one set of features predicts. */
export interface ProbeResult {
  /** Pooled out-of-fold AUC; 1/2 is chance, NaN where a training fold has one outcome alone. */
  auc: number;
  /** 95 % interval of the AUC over samples (DeLong), cut at 0 and 1; it does not know that the folds were fitted. */
  interval: readonly [lower: number, upper: number];
  /** Out-of-fold ln odds of a right answer, in the order of task, sample and epoch. */
  scores: Float64Array;
}

export interface OutcomeProbe {
  /** Number of tokens, one column per subject, and the entropy of the answer where every outcome has it. */
  baseline: ProbeResult;
  /** The rates h_e(s) of all slots. */
  routing: ProbeResult;
  both: ProbeResult;
  samples: number;
  folds: number;
}

/**
 * The probe. Sample number i in the order of task, sample and epoch is in fold i mod `folds`; columns are standardised by the training
 * folds, and constant ones stay 0.
 *
 * @throws InvalidArgumentError where samples and routes do not match one to one, or there are fewer samples than folds.
 */
export function probeOutcomes(
  routes: RoutingLoad | RouterTrace | Iterable<RouterTrace>,
  outcomes: readonly Outcome[],
  options: { folds?: number } = {},
): OutcomeProbe {
  const load = loadOf(routes);
  const { folds = 5 } = options;
  const joined = joinDocuments(load, outcomes);
  if (!(Number.isInteger(folds) && folds >= 2 && folds <= joined.length)) {
    throw invalidArgument("folds", `a whole number from 2 to the ${joined.length} samples`, folds);
  }
  const baseline = baselineFeatures(joined);
  const routing = joined.map(({ document }) => load.documentRate(document));
  const both = routing.map((rates, i) => Float64Array.of(...rates, ...baseline[i]!));
  const labels = joined.map(({ correct }) => (correct ? 1 : 0));
  const probe = (rows: readonly Float64Array[]) => crossValidate(rows, labels, folds);
  return { baseline: probe(baseline), routing: probe(routing), both: probe(both), samples: joined.length, folds };
}

function baselineFeatures(joined: readonly JoinedOutcome[]): Float64Array[] {
  const subjects = [...new Set(joined.map(({ subject = "" }) => subject))].sort();
  const hasEntropy = joined.every(({ answerEntropy }) => answerEntropy !== undefined);
  return joined.map(({ numTokens, subject = "", answerEntropy }) =>
    Float64Array.of(
      numTokens,
      ...subjects.map((name) => (name === subject ? 1 : 0)),
      ...(hasEntropy ? [answerEntropy!] : []),
    ),
  );
}

function crossValidate(rows: readonly Float64Array[], labels: readonly number[], folds: number): ProbeResult {
  const scores = new Float64Array(rows.length).fill(Number.NaN);
  for (let fold = 0; fold < folds; fold++) {
    const training = [...rows.keys()].filter((i) => i % folds !== fold);
    const trainingLabels = training.map((i) => labels[i]!);
    if (new Set(trainingLabels).size < 2)
      return { auc: Number.NaN, interval: [Number.NaN, Number.NaN], scores: scores.fill(Number.NaN) };
    const standardise = standardiser(training.map((i) => rows[i]!));
    const model = fitLogistic(
      training.map((i) => standardise(rows[i]!)),
      trainingLabels,
    );
    for (let i = fold; i < rows.length; i += folds) scores[i] = logOdds(model, standardise(rows[i]!));
  }
  // Samples with the same features must stay tied, whatever the rounding of their sums.
  const rounded = scores.map((score) => Math.round(score * 1e6) / 1e6);
  const auc = rocAuc(rounded, labels);
  const half = Z95 * rocAucStandardError(rounded, labels);
  return { auc, interval: [Math.max(0, auc - half), Math.min(1, auc + half)], scores };
}

/** (x - mean) / sd with the divisor n of the given rows; 0 for a constant column. */
function standardiser(rows: readonly Float64Array[]): (row: Float64Array) => Float64Array {
  const width = rows[0]!.length;
  const mean = new Float64Array(width);
  const variance = new Float64Array(width);
  for (const row of rows) addScaled(mean, row, 1 / rows.length);
  for (const row of rows) {
    for (let i = 0; i < width; i++) variance[i]! += (row[i]! - mean[i]!) ** 2 / rows.length;
  }
  // A constant column has rounding alone left, far below a millionth of its size.
  const isConstant = variance.map((value, i) => (value <= (1e-12 * mean[i]!) ** 2 ? 1 : 0));
  return (row) => row.map((value, i) => (isConstant[i] === 1 ? 0 : (value - mean[i]!) / Math.sqrt(variance[i]!)));
}
