/** Logistic regression with an L2 penalty: min 1/2 |w|² + sum of log-losses, the intercept free (scikit-learn's C = 1). */

import { InvalidArgumentError } from "../errors.js";

/** ln odds of a row: intercept + weights · row. */
export interface LogisticModel {
  weights: Float64Array;
  intercept: number;
}

/** Newton steps end where the gradient is this small: the scores are then right to far below their 6 printed decimals. */
const GRADIENT_TOLERANCE = 1e-9;
const MOST_STEPS = 100;

/**
 * Fits by Newton's method (iteratively reweighted least squares), each step solved by conjugate gradients: no d x d matrix is formed, so
 * thousands of columns are as good as ten. Deterministic.
 *
 * @param rows n rows of d features. @param labels 0 or 1.
 * @throws InvalidArgumentError unless both labels are there: the free intercept would have no minimum.
 */
export function fitLogistic(rows: readonly Float64Array[], labels: ArrayLike<number>): LogisticModel {
  const positives = Array.from(labels).filter((label) => label === 1).length;
  if (positives === 0 || positives === rows.length) {
    throw new InvalidArgumentError(`Expected both labels to fit, got ${positives} of ${rows.length} positive.`);
  }
  const width = rows[0]!.length;
  // The last parameter is the intercept.
  let parameters = new Float64Array(width + 1);
  let value = objective(rows, labels, parameters);
  for (let step = 0; step < MOST_STEPS; step++) {
    const { gradient, curvature } = derivatives(rows, labels, parameters);
    if (norm(gradient) <= GRADIENT_TOLERANCE) break;
    const direction = solveNewton(rows, curvature, gradient);
    let scale = 1;
    let next = parameters;
    for (; scale > 1e-10; scale /= 2) {
      next = parameters.map((parameter, i) => parameter - scale * direction[i]!);
      const nextValue = objective(rows, labels, next);
      // Rounding may keep the last steps from lowering the value visibly.
      if (!(nextValue <= value + 1e-12 * Math.abs(value))) continue;
      value = nextValue;
      break;
    }
    parameters = next;
  }
  return { weights: parameters.slice(0, width), intercept: parameters[width]! };
}

/** The ln odds of a row. */
export function logOdds({ weights, intercept }: LogisticModel, row: Float64Array): number {
  return row.reduce((sum, value, i) => sum + value * weights[i]!, intercept);
}

function objective(rows: readonly Float64Array[], labels: ArrayLike<number>, parameters: Float64Array): number {
  const width = parameters.length - 1;
  let value = 0;
  for (let i = 0; i < width; i++) value += parameters[i]! ** 2 / 2;
  for (const [i, row] of rows.entries()) {
    const signed = (labels[i] === 1 ? -1 : 1) * margin(row, parameters);
    value += Math.max(0, signed) + Math.log1p(Math.exp(-Math.abs(signed)));
  }
  return value;
}

/** The gradient, and p (1 - p) of each row. */
function derivatives(
  rows: readonly Float64Array[],
  labels: ArrayLike<number>,
  parameters: Float64Array,
): { gradient: Float64Array; curvature: Float64Array } {
  const width = parameters.length - 1;
  const gradient = parameters.slice();
  gradient[width] = 0;
  const curvature = new Float64Array(rows.length);
  for (const [i, row] of rows.entries()) {
    const p = 1 / (1 + Math.exp(-margin(row, parameters)));
    curvature[i] = p * (1 - p);
    addRow(gradient, row, p - labels[i]!);
  }
  return { gradient, curvature };
}

/** Solves (I + X' D X) step = gradient, the identity without its entry for the intercept, by conjugate gradients. */
function solveNewton(rows: readonly Float64Array[], curvature: Float64Array, gradient: Float64Array): Float64Array {
  const width = gradient.length - 1;
  const apply = (vector: Float64Array): Float64Array => {
    const result = vector.slice();
    result[width] = 0;
    for (const [i, row] of rows.entries()) addRow(result, row, curvature[i]! * margin(row, vector));
    return result;
  };
  const solution = new Float64Array(gradient.length);
  const residual = gradient.slice();
  const direction = gradient.slice();
  let squared = dot(residual, residual);
  const enough = squared * 1e-20;
  for (let i = 0; i < 10 * gradient.length && squared > enough; i++) {
    const applied = apply(direction);
    const step = squared / dot(direction, applied);
    for (let j = 0; j < solution.length; j++) {
      solution[j]! += step * direction[j]!;
      residual[j]! -= step * applied[j]!;
    }
    const nextSquared = dot(residual, residual);
    for (let j = 0; j < direction.length; j++) direction[j] = residual[j]! + (nextSquared / squared) * direction[j]!;
    squared = nextSquared;
  }
  return solution;
}

function margin(row: Float64Array, parameters: Float64Array): number {
  let sum = parameters[row.length]!;
  for (let i = 0; i < row.length; i++) sum += row[i]! * parameters[i]!;
  return sum;
}

/** target += scale (row, 1). */
function addRow(target: Float64Array, row: Float64Array, scale: number): void {
  for (let i = 0; i < row.length; i++) target[i]! += scale * row[i]!;
  target[row.length]! += scale;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function norm(vector: Float64Array): number {
  return Math.sqrt(dot(vector, vector));
}
