/** `show`: anything that the library returns, as one output with all forms that a front end may want. */
import { invalidArgument } from "../../errors.js";
import { ExpertLoad } from "../../router/expert-load.js";
import { RouterTrace } from "../../router/trace.js";
import { display } from "../display.js";
import { bundleOf } from "../result.js";
import { comparisonBundle, isComparison } from "./comparison.js";
import { generationBundle, isGenerationLike } from "./generation.js";
import { isModelLike, modelBundle } from "./model.js";
import { plotBundle } from "./plot.js";
import { isRunLike, runBundle } from "./run.js";
import { isTableLike, tableBundle } from "./table.js";
import { loadBundle, traceBundle } from "./trace.js";

export interface ShowOptions {
  /** Above the table, or in the place of the plot's own title where it is drawn from a trace. */
  title?: string;
  /** Tables: rows to print; default 20, at most 1000. Traces with `tokens`: tokens, default 500. */
  rows?: number;
  /** The first row or token to print, from 0. */
  from?: number;
  /** Tables: the column to sort by, ascending; "-NAME" descending. Values that are missing or NaN come last. */
  sort?: string;
  /** Traces: the texts of the tokens, to print them coloured by their first-choice expert. */
  tokens?: readonly string[];
  /** Traces with `tokens`: the layer whose experts colour them; default the first one with a router. */
  layer?: number;
  /** A name under which a later call with `update` takes this output's place. */
  displayId?: string;
  update?: boolean;
}

/**
 * Shows `value` in the running cell, or its text on stdout where there is no notebook: Arrow tables and arrays of objects as tables (so also
 * effects and claims), comparisons, runs, traces, loads, models, generations, plots and their data; anything else as `console.log` would
 * print it. What is cut is counted in the output.
 *
 * @throws MoescopeError INVALID_ARGUMENT for options that do not fit the value.
 */
export async function show(value: unknown, options: ShowOptions = {}): Promise<void> {
  const { displayId, update } = options;
  display({ data: await showBundle(value, options), displayId, update });
}

/** What `show` displays, by MIME type; `text/plain` is always there. */
export async function showBundle(value: unknown, options: ShowOptions = {}): Promise<Record<string, unknown>> {
  const { rows = 20, from = 0 } = options;
  if (!(Number.isInteger(rows) && rows >= 1 && rows <= 1000)) throw invalidArgument("rows", "1 to 1000", rows);
  if (!(Number.isInteger(from) && from >= 0)) throw invalidArgument("from", "a row's number, 0 or more", from);
  if (value instanceof RouterTrace) return traceBundle(value, options);
  if (value instanceof ExpertLoad) return loadBundle(value, options.title);
  if (isComparison(value)) return comparisonBundle(value, options);
  if (isTableLike(value)) return tableBundle(value, options);
  if (isRunLike(value)) return runBundle(value, options);
  if (isModelLike(value)) return modelBundle(value, options);
  if (isGenerationLike(value)) return generationBundle(value, options);
  return (await plotBundle(value)) ?? bundleOf(value);
}
