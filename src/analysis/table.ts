/**
 * Router traces from Arrow tables of any origin: another engine's, a query's, one whose rows lost their order. A table that moescope
 * wrote is better read by `RouterTrace.fromArrow`, which copies nothing.
 */

import type { Table, Vector } from "apache-arrow";
import { InvalidArgumentError, invalidArgument, MoescopeError } from "../errors.js";
import { EMPTY_SLOT, KEY_COLUMNS, ORIGINS, type TraceKey, type TraceMetadata } from "../router/schema.js";
import { RouterTrace } from "../router/trace.js";
import { internKey, type TraceColumns } from "../router/trace-columns.js";

export interface TableOptions {
  /** Routed experts per layer; needed where the table has no `router_logits`. */
  numExperts?: number;
  /** Whether the k weights of a token were divided by their sum. Default false. */
  normTopkProb?: boolean;
  /** The name to give the model. */
  model?: string;
}

/**
 * The trace of a table with one row per (token, layer), in any order, with the columns of the trace schema: `position`, `layer` and
 * `topk_experts` (best first) must be there; key columns, `token_id`, `origin` or `phase` (decode means generated), `segment`,
 * `topk_weights`, `router_logits` and `margin` are read where they are. Missing weights and margins become NaN, missing token ids -1.
 *
 * @throws MoescopeError BAD_FILE for a missing column, a token without a row for each layer, or lists of unequal length;
 *     INVALID_ARGUMENT where the number of experts cannot be told.
 */
export function traceOfTable(table: Table, options: TableOptions = {}): RouterTrace {
  const layerOfRow = integersOf(required(table, "layer"));
  const layers = [...new Set(layerOfRow)].sort((a, b) => a - b);
  const { keys, keyOfRow } = keysOf(table);
  const positions = integersOf(required(table, "position"));
  const order = sortedRows(keyOfRow, positions, layerOfRow);
  checkComplete(order, layers, keyOfRow, positions, layerOfRow);

  const logits = table.getChild("router_logits");
  const topkExperts = Uint16Array.from(listsOf(required(table, "topk_experts"), "topk_experts", order));
  const routerLogits = logits === null ? new Float32Array(0) : listsOf(logits, "router_logits", order);
  const rows = table.numRows;
  const topK = rows === 0 ? 0 : topkExperts.length / rows;
  const numExperts = options.numExperts ?? routerLogits.length / rows;
  if (!(numExperts > 0)) {
    throw new InvalidArgumentError("Expected numExperts for a table without router_logits, got none.");
  }
  const stray = topkExperts.findIndex((expert) => expert >= numExperts && expert !== EMPTY_SLOT);
  if (stray >= 0) throw badTable(`experts below ${numExperts}`, `expert ${topkExperts[stray]}`);

  const first = Int32Array.from({ length: rows / (layers.length || 1) }, (_, token) => order[token * layers.length]!);
  const labels = labelsOf(table.getChild("segment"), first, ["unnamed"]);
  const weights = table.getChild("topk_weights");
  const columns: TraceColumns = {
    tokenIds: gather(table.getChild("token_id"), first, -1),
    positions: first.map((row) => positions[row]!),
    origins: originsOf(table, first),
    segments: labels.codes,
    computed: new Uint8Array(first.length).fill(1),
    keys: first.map((row) => keyOfRow[row]!),
    topkExperts,
    topkWeights:
      weights === null
        ? new Float32Array(topkExperts.length).fill(Number.NaN)
        : listsOf(weights, "topk_weights", order),
    sharedGate: new Float32Array(0),
    margin: marginsOf(table.getChild("margin"), order),
    intervened: new Uint8Array(rows),
    routerLogits,
  };
  const metadata: TraceMetadata = {
    model: options.model ?? "unnamed",
    architecture: "unknown",
    numLayers: (layers.at(-1) ?? -1) + 1,
    moeLayers: layers,
    numExperts,
    numExpertsPerToken: topK,
    normTopkProb: options.normTopkProb ?? false,
    hasSharedExpert: false,
    dtype: "unknown",
    precision: "ref",
    device: "unknown",
  };
  const layout = {
    metadata,
    level: logits === null ? "topk" : "logits",
    topK,
    layers,
    segments: labels.names,
  } as const;
  return new RouterTrace({ layout, keys, columns });
}

function required(table: Table, name: string): Vector {
  const vector = table.getChild(name);
  if (vector === null) throw badTable(`a column ${name}`, `columns ${table.schema.names.join(", ")}`);
  return vector;
}

function badTable(expected: string, actual: string): MoescopeError {
  return new MoescopeError("BAD_FILE", `Expected a table of routes with ${expected}, got ${actual}.`);
}

function integersOf(vector: Vector): Int32Array {
  return Int32Array.from({ length: vector.length }, (_, row) => Number(vector.get(row)));
}

function keysOf(table: Table): { keys: TraceKey[]; keyOfRow: Int32Array } {
  const vectors = KEY_COLUMNS.flatMap(([name, property]) => {
    const vector = table.getChild(name);
    return vector === null ? [] : [[property, vector] as const];
  });
  const keys: TraceKey[] = [];
  const indexes = new Map<string, number>();
  const keyOfRow = Int32Array.from({ length: table.numRows }, (_, row) => {
    const values = vectors.map(([property, vector]) => [property, vector.get(row) ?? undefined]);
    return internKey(Object.fromEntries(values.filter(([, value]) => value !== undefined)), keys, indexes);
  });
  return { keys, keyOfRow };
}

/** Row numbers by sequence, then position, then layer: the order of a trace. */
function sortedRows(keyOfRow: Int32Array, positions: Int32Array, layerOfRow: Int32Array): Int32Array {
  const compare = (a: number, b: number): number =>
    keyOfRow[a]! - keyOfRow[b]! || positions[a]! - positions[b]! || layerOfRow[a]! - layerOfRow[b]!;
  return Int32Array.from({ length: keyOfRow.length }, (_, row) => row).sort(compare);
}

function checkComplete(
  order: Int32Array,
  layers: readonly number[],
  keyOfRow: Int32Array,
  positions: Int32Array,
  layerOfRow: Int32Array,
): void {
  for (let i = 0; i < order.length; i++) {
    const row = order[i]!;
    const first = order[i - (i % layers.length)]!;
    const expected = layers[i % layers.length]!;
    const isSameToken = keyOfRow[row] === keyOfRow[first] && positions[row] === positions[first];
    if (isSameToken && layerOfRow[row] === expected) continue;
    throw badTable(
      `one row of each layer ${layers.join(", ")} for every token`,
      `none or several of layer ${expected} at position ${positions[first]}`,
    );
  }
  if (order.length % (layers.length || 1) !== 0) throw badTable("whole tokens", `${order.length} rows`);
}

/** The items of all rows' lists one after another, in the given order of rows. */
function listsOf(vector: Vector, name: string, order: Int32Array): Float32Array {
  if (vector.length === 0) return new Float32Array(0);
  const length = (vector.get(order[0]!) as Vector | null)?.length ?? 0;
  const items = new Float32Array(vector.length * length);
  for (let i = 0; i < order.length; i++) {
    const list = vector.get(order[i]!) as Vector | null;
    if (list === null || list.length !== length) {
      throw badTable(`${length} values in every list of ${name}`, `${list?.length ?? "no"} in row ${order[i]}`);
    }
    items.set(list.toArray() as ArrayLike<number>, i * length);
  }
  return items;
}

function gather(vector: Vector | null, rows: Int32Array, missing: number): Int32Array {
  return rows.map((row) => (vector === null ? missing : Number(vector.get(row) ?? missing)));
}

function marginsOf(vector: Vector | null, order: Int32Array): Float32Array {
  return Float32Array.from(order, (row) => Number(vector?.get(row) ?? Number.NaN));
}

function labelsOf(vector: Vector | null, rows: Int32Array, missing: string[]): { codes: Int32Array; names: string[] } {
  if (vector === null) return { codes: new Int32Array(rows.length), names: missing };
  const names: string[] = [];
  const codeOf = new Map<string, number>();
  const codes = rows.map((row) => {
    const name = String(vector.get(row) ?? missing[0]);
    const code = codeOf.get(name) ?? names.push(name) - 1;
    codeOf.set(name, code);
    return code;
  });
  return { codes, names };
}

function originsOf(table: Table, rows: Int32Array): Uint8Array {
  const origin = table.getChild("origin");
  const phase = table.getChild("phase");
  return Uint8Array.from(rows, (row) => {
    const value = origin?.get(row) ?? (phase?.get(row) === "decode" ? "generated" : "prompt");
    const code = ORIGINS.indexOf(value);
    if (code < 0) throw invalidArgument(`origin in row ${row}`, ORIGINS.join(" or "), value);
    return code;
  });
}
