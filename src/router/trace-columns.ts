/** The arrays behind a trace, and the operations on them that know only their shapes: slice, join, pick layers. */

import { invalidArgument } from "../errors.js";
import type { StepTrace } from "../native/binding.js";
import { type HiddenColumns, joinHidden, pickColumns, pickHidden, sliceHidden, widenHidden } from "./hidden-columns.js";
import { EMPTY_SLOT, type TraceKey, type TraceLayout } from "./schema.js";

/** One array per column, tokens outermost; L layers, k slots, E experts. */
export interface TraceColumns {
  tokenIds: Int32Array; // [tokens]
  positions: Int32Array; // [tokens]
  origins: Uint8Array; // [tokens] 0 prompt, 1 generated
  segments: Int32Array; // [tokens] index into TraceLayout.segments
  computed: Uint8Array; // [tokens] 1 where the row ran for this trace, 0 where it came with a cached prefix
  keys: Int32Array; // [tokens] index into TraceParts.keys
  topkExperts: Uint16Array; // [tokens, L, k]
  topkWeights: Float32Array; // [tokens, L, k]
  sharedGate: Float32Array; // [tokens, L]; empty without a shared expert
  margin: Float32Array; // [tokens, L]
  intervened: Uint8Array; // [tokens, L]
  routerLogits: Float32Array; // [tokens, L, E]; empty at level `topk`
}

/** A trace without methods. */
export interface TraceParts {
  layout: TraceLayout;
  keys: readonly TraceKey[];
  columns: TraceColumns;
  /** Absent below level `hidden`. */
  hidden?: HiddenColumns;
}

/** Consecutive tokens of one sequence, as a step was asked to run them. */
export interface TokenRun {
  tokenIds: Int32Array;
  /** Position of the first token in its sequence. */
  firstPosition: number;
  origin: 0 | 1;
  /** Index into the segment names. */
  segment: number;
  key?: TraceKey;
}

type ColumnName = keyof TraceColumns;

/** Values per token of each column. */
export function columnWidths({ layers, topK, metadata, level }: TraceLayout): Record<ColumnName, number> {
  const perToken = { tokenIds: 1, positions: 1, origins: 1, segments: 1, computed: 1, keys: 1 };
  const numLayers = layers.length;
  return {
    ...perToken,
    topkExperts: numLayers * topK,
    topkWeights: numLayers * topK,
    sharedGate: metadata.hasSharedExpert ? numLayers : 0,
    margin: numLayers,
    intervened: numLayers,
    routerLogits: level === "topk" ? 0 : numLayers * metadata.numExperts,
  };
}

/** The columns of a step: native arrays as they are, and what the runs say about each row. */
export function columnsOfStep(step: StepTrace, runs: readonly TokenRun[]): Pick<TraceParts, "columns" | "keys"> {
  const numTokens = runs.reduce((sum, run) => sum + run.tokenIds.length, 0);
  if (numTokens !== step.rows) throw invalidArgument("runs", `runs of ${step.rows} tokens in all`, numTokens);
  const { topkExperts, topkWeights, sharedGate, margin, intervened, routerLogits } = step;
  const columns = {
    tokenIds: new Int32Array(numTokens),
    positions: new Int32Array(numTokens),
    origins: new Uint8Array(numTokens),
    segments: new Int32Array(numTokens),
    computed: new Uint8Array(numTokens).fill(1),
    keys: new Int32Array(numTokens),
    ...{ topkExperts, topkWeights, sharedGate, margin, intervened, routerLogits },
  };
  const keys: TraceKey[] = [];
  const indexOfKey = new Map<string, number>();
  let start = 0;
  for (const { tokenIds, firstPosition, origin, segment, key = {} } of runs) {
    const end = start + tokenIds.length;
    columns.tokenIds.set(tokenIds, start);
    for (let row = start; row < end; row++) columns.positions[row] = firstPosition + row - start;
    columns.origins.fill(origin, start, end);
    columns.segments.fill(segment, start, end);
    columns.keys.fill(internKey(key, keys, indexOfKey), start, end);
    start = end;
  }
  return { columns, keys };
}

/** Views of the tokens [start, end). */
export function sliceTokens(parts: TraceParts, start: number, end: number): TraceParts {
  const widths = columnWidths(parts.layout);
  const columns = mapColumns(parts.columns, (values, name) =>
    values.subarray(start * widths[name], end * widths[name]),
  );
  return { ...parts, columns, hidden: sliceHidden(parts, start, end) };
}

/** Copies of some layers of every token, by global number; a dense layer has a residual stream at most. */
export function pickLayers(parts: TraceParts, wanted: readonly number[]): TraceParts {
  const { layers } = parts.layout;
  const picked = layers.filter((layer) => wanted.includes(layer));
  const widths = columnWidths(parts.layout);
  const columns = mapColumns(parts.columns, (values, name) =>
    PER_TOKEN.has(name) ? values : pickColumns(values, widths[name], layers, picked),
  );
  return { ...parts, columns, layout: { ...parts.layout, layers: picked }, hidden: pickHidden(parts, wanted) };
}

/** All tokens one after another in one set of arrays; the parts' layouts differ in `topK` and `segments` at most. */
export function joinParts(parts: readonly TraceParts[]): TraceParts {
  const topK = Math.max(...parts.map((part) => part.layout.topK));
  const segments = [...new Set(parts.flatMap((part) => part.layout.segments))];
  const aligned = parts.map((part) => relabelSegments(widenSlots(part, topK), segments));
  const keys: TraceKey[] = [];
  const indexOfKey = new Map<string, number>();
  const keyColumns = aligned.map((part) => {
    const newIndexes = part.keys.map((key) => internKey(key, keys, indexOfKey));
    return part.columns.keys.map((index) => newIndexes[index]!);
  });
  const columns = mapColumns(aligned[0]!.columns, (first, name) => {
    const all = name === "keys" ? keyColumns : aligned.map((part) => part.columns[name]);
    const joined = emptyLike(
      first,
      all.reduce((sum, values) => sum + values.length, 0),
    );
    let offset = 0;
    for (const values of all) {
      joined.set(values, offset);
      offset += values.length;
    }
    return joined;
  });
  return { layout: { ...aligned[0]!.layout, topK, segments }, keys, columns, hidden: joinHidden(aligned) };
}

/** The index of a key in a list without repeats, to which it is added where it is new. */
export function internKey(key: TraceKey, keys: TraceKey[], indexes: Map<string, number>): number {
  const name = JSON.stringify([key.run, key.task, key.sampleId, key.epoch, key.request, key.turn, key.prefixId]);
  let index = indexes.get(name);
  if (index === undefined) {
    index = keys.push(key) - 1;
    indexes.set(name, index);
  }
  return index;
}

const PER_TOKEN = new Set<ColumnName>(["tokenIds", "positions", "origins", "segments", "computed", "keys"]);

type Column = TraceColumns[ColumnName];

function mapColumns(columns: TraceColumns, change: (values: Column, name: ColumnName) => Column): TraceColumns {
  const entries = Object.entries(columns) as [ColumnName, Column][];
  return Object.fromEntries(entries.map(([name, values]) => [name, change(values, name)])) as unknown as TraceColumns;
}

function emptyLike(values: Column, length: number): Column {
  return new (values.constructor as new (length: number) => Column)(length);
}

function widenSlots(parts: TraceParts, topK: number): TraceParts {
  const from = parts.layout.topK;
  if (from === topK) return parts;
  const rows = parts.columns.margin.length;
  const topkExperts = new Uint16Array(rows * topK).fill(EMPTY_SLOT);
  const topkWeights = new Float32Array(rows * topK);
  for (let row = 0; row < rows; row++) {
    topkExperts.set(parts.columns.topkExperts.subarray(row * from, (row + 1) * from), row * topK);
    topkWeights.set(parts.columns.topkWeights.subarray(row * from, (row + 1) * from), row * topK);
  }
  const columns = { ...parts.columns, topkExperts, topkWeights };
  return { ...parts, layout: { ...parts.layout, topK }, columns, hidden: widenHidden(parts, topK) };
}

function relabelSegments(parts: TraceParts, names: readonly string[]): TraceParts {
  const numbers = parts.layout.segments.map((name) => names.indexOf(name));
  if (numbers.every((number, index) => number === index)) return parts;
  return { ...parts, columns: { ...parts.columns, segments: parts.columns.segments.map((label) => numbers[label]!) } };
}
