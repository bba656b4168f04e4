/** Trace arrays to an Arrow table and back. The large columns of the table are views of the arrays that native code filled. */

import {
  Bool,
  type Data,
  type DataType,
  type Dictionary,
  type FixedSizeList,
  Float32,
  Int16,
  Int32,
  makeData,
  RecordBatch,
  Struct,
  Table,
  Uint16,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { MoescopeError } from "../errors.js";
import { type HiddenColumns, pickColumns } from "./hidden-columns.js";
import {
  decodeMetadata,
  fixedList,
  KEY_COLUMNS,
  ORIGINS,
  type TraceKey,
  type TraceLayout,
  traceSchema,
} from "./schema.js";
import { internKey, type TraceColumns, type TraceParts } from "./trace-columns.js";

/**
 * One record batch with the schema of `traceSchema`. The residual stream behind a dense layer has no row in it. Throws INVALID_ARGUMENT
 * for a trace at level hidden whose residual stream lacks one of its layers.
 */
export function tableOf({ layout, keys, columns, hidden }: TraceParts): Table {
  const { layers } = layout;
  const rows = columns.tokenIds.length * layers.length;
  const perRow = <T extends Int32Array | Uint8Array>(values: T): T => repeatEach(values, layers.length);
  const keyIndexes = perRow(columns.keys);
  const schema = traceSchema(layout, hidden?.hiddenSize);
  const plain = (type: DataType, data: ArrayBufferView) =>
    makeData({ type, length: rows, nullCount: 0, data } as Parameters<typeof makeData>[0]);
  const list = (item: DataType, size: number, data: ArrayBufferView) => {
    const child = makeData({ type: item, length: rows * size, nullCount: 0, data } as Parameters<typeof makeData>[0]);
    return makeData({ type: fixedList(item, size), length: rows, nullCount: 0, child });
  };
  const typeOf = (name: string) => schema.fields.find((field) => field.name === name)!.type as Dictionary<Utf8, Int32>;

  const built: Record<string, Data> = {
    position: plain(new Int32(), perRow(columns.positions)),
    layer: plain(new Int16(), cycle(layers, rows)),
    token_id: plain(new Int32(), perRow(columns.tokenIds)),
    origin: labels(typeOf("origin"), Int32Array.from(perRow(columns.origins)), ORIGINS),
    segment: labels(typeOf("segment"), perRow(columns.segments), layout.segments),
    computed: plain(new Bool(), packBits(perRow(columns.computed))),
    topk_experts: list(new Uint16(), layout.topK, columns.topkExperts),
    topk_weights: list(new Float32(), layout.topK, columns.topkWeights),
    shared_gate: layout.metadata.hasSharedExpert
      ? plain(new Float32(), columns.sharedGate)
      : allNull(new Float32(), rows),
    margin: plain(new Float32(), columns.margin),
    intervened: plain(new Bool(), packBits(columns.intervened)),
    router_logits: list(new Float32(), layout.metadata.numExperts, columns.routerLogits),
  };
  if (hidden !== undefined) {
    const { hiddenSize, residualLayers } = hidden;
    const residual = pickColumns(hidden.residual, residualLayers.length * hiddenSize, residualLayers, layers);
    built.router_input = list(new Float32(), hiddenSize, hidden.routerInput);
    built.expert_norms = list(new Float32(), layout.topK, hidden.expertNorms);
    built.shared_norm = layout.metadata.hasSharedExpert
      ? plain(new Float32(), hidden.sharedNorm)
      : allNull(new Float32(), rows);
    built.residual = list(new Float32(), hiddenSize, residual);
  }
  for (const [name, property, type] of KEY_COLUMNS) {
    const values = keys.map((key) => key[property]);
    built[name] =
      type === "text"
        ? textKeys(typeOf(name), keyIndexes, values as (string | undefined)[])
        : numberKeys(keyIndexes, values as (number | undefined)[]);
  }
  const children = schema.fields.map((field) => built[field.name]!);
  const struct = makeData({ type: new Struct(schema.fields), length: rows, nullCount: 0, children });
  return new Table(schema, [new RecordBatch(schema, struct)]);
}

/** The arrays of a table that `tableOf` made, as stored and read back; a table of one batch is not copied. */
export function partsOf(table: Table): TraceParts {
  const decoded = decodeMetadata(table.schema);
  const { layers, metadata, level, segments } = decoded;
  const topK = (column(table, "topk_experts").type as FixedSizeList).listSize;
  const numTokens = layers.length === 0 ? 0 : table.numRows / layers.length;
  const layerOfRow = numbersOf<Int16Array>(table, "layer");
  const misplaced = layerOfRow.findIndex((layer, row) => layer !== layers[row % layers.length]);
  if (misplaced >= 0 || !Number.isInteger(numTokens)) {
    throw new MoescopeError(
      "BAD_FILE",
      `Expected the rows of a trace in the order of tokens and layers ${layers.join(", ")}, got ${
        misplaced < 0 ? `${table.numRows} rows` : `layer ${layerOfRow[misplaced]} in row ${misplaced}`
      }.`,
    );
  }
  const perToken = <T extends Int32Array | Uint8Array>(values: T): T => everyNth(values, layers.length, numTokens);
  const labelsOf = (name: string, names: readonly string[]) => {
    const vector = column(table, name);
    return Int32Array.from({ length: numTokens }, (_, token) => names.indexOf(vector.get(token * layers.length)));
  };
  const { keys, keyIndexes } = keysOf(table, layers.length, numTokens);
  const columns: TraceColumns = {
    tokenIds: perToken(numbersOf<Int32Array>(table, "token_id")),
    positions: perToken(numbersOf<Int32Array>(table, "position")),
    origins: Uint8Array.from(labelsOf("origin", ORIGINS)),
    segments: labelsOf("segment", segments),
    computed: perToken(flagsOf(table, "computed")),
    keys: keyIndexes,
    topkExperts: itemsOf<Uint16Array>(table, "topk_experts"),
    topkWeights: itemsOf<Float32Array>(table, "topk_weights"),
    sharedGate: metadata.hasSharedExpert ? numbersOf<Float32Array>(table, "shared_gate") : new Float32Array(0),
    margin: numbersOf<Float32Array>(table, "margin"),
    intervened: flagsOf(table, "intervened"),
    routerLogits: level === "topk" ? new Float32Array(0) : itemsOf<Float32Array>(table, "router_logits"),
  };
  return {
    layout: { ...decoded, topK },
    keys,
    columns,
    hidden: level === "hidden" ? hiddenOf(table, decoded) : undefined,
  };
}

function hiddenOf(table: Table, { layers, metadata }: Omit<TraceLayout, "topK">): HiddenColumns {
  return {
    hiddenSize: (column(table, "residual").type as FixedSizeList).listSize,
    residualLayers: layers,
    routerInput: itemsOf<Float32Array>(table, "router_input"),
    expertNorms: itemsOf<Float32Array>(table, "expert_norms"),
    sharedNorm: metadata.hasSharedExpert ? numbersOf<Float32Array>(table, "shared_norm") : new Float32Array(0),
    residual: itemsOf<Float32Array>(table, "residual"),
  };
}

function keysOf(table: Table, stride: number, numTokens: number): { keys: TraceKey[]; keyIndexes: Int32Array } {
  const vectors = KEY_COLUMNS.map(([name, property]) => [property, column(table, name)] as const);
  const keys: TraceKey[] = [];
  const indexes = new Map<string, number>();
  const keyIndexes = Int32Array.from({ length: numTokens }, (_, token) => {
    const values = vectors.map(([property, vector]) => [property, vector.get(token * stride) ?? undefined]);
    return internKey(Object.fromEntries(values.filter(([, value]) => value !== undefined)), keys, indexes);
  });
  return { keys, keyIndexes };
}

function column(table: Table, name: string): Vector {
  const vector = table.getChild(name);
  if (vector === null) throw new MoescopeError("BAD_FILE", `Expected a column ${name} in the trace, found none.`);
  return vector;
}

function numbersOf<T>(table: Table, name: string): T {
  return column(table, name).toArray() as T;
}

function itemsOf<T extends Uint16Array | Float32Array>(table: Table, name: string): T {
  const vector = column(table, name);
  const { listSize } = vector.type as FixedSizeList;
  const items = new Vector(vector.data.map((chunk) => chunk.children[0]!.slice(0, chunk.length * listSize)));
  return items.toArray() as T;
}

function flagsOf(table: Table, name: string): Uint8Array {
  const vector = column(table, name);
  return Uint8Array.from({ length: vector.length }, (_, row) => (vector.get(row) ? 1 : 0));
}

function labels(type: Dictionary<Utf8, Int32>, data: Int32Array, names: readonly string[]): Data {
  return makeData({ type, length: data.length, nullCount: 0, data, dictionary: vectorFromArray(names, new Utf8()) });
}

function textKeys(type: Dictionary<Utf8, Int32>, keyIndexes: Int32Array, values: (string | undefined)[]): Data {
  const names = [...new Set(values.filter((value) => value !== undefined))];
  const codeOf = new Map(names.map((name, code) => [name, code]));
  const codes = values.map((value) => (value === undefined ? 0 : codeOf.get(value)!));
  const dictionary = vectorFromArray(names, new Utf8());
  const data = keyIndexes.map((index) => codes[index]!);
  return makeData({ type, length: data.length, ...validity(keyIndexes, values), data, dictionary });
}

function numberKeys(keyIndexes: Int32Array, values: (number | undefined)[]): Data {
  const data = keyIndexes.map((index) => values[index] ?? 0);
  return makeData({ type: new Int32(), length: data.length, ...validity(keyIndexes, values), data });
}

function validity(keyIndexes: Int32Array, values: unknown[]): { nullCount: number; nullBitmap: Uint8Array | null } {
  const valid = Uint8Array.from(keyIndexes, (index) => (values[index] === undefined ? 0 : 1));
  const nullCount = valid.reduce((sum, flag) => sum + 1 - flag, 0);
  return { nullCount, nullBitmap: nullCount === 0 ? null : packBits(valid) };
}

function allNull(type: Float32, rows: number): Data {
  const nullBitmap = new Uint8Array(Math.ceil(rows / 8));
  return makeData({ type, length: rows, nullCount: rows, nullBitmap, data: new Float32Array(rows) });
}

function packBits(flags: Uint8Array): Uint8Array {
  const bits = new Uint8Array(Math.ceil(flags.length / 8));
  for (let i = 0; i < flags.length; i++) if (flags[i] !== 0) bits[i >> 3]! |= 1 << (i & 7);
  return bits;
}

function repeatEach<T extends Int32Array | Uint8Array>(values: T, times: number): T {
  const repeated = new (values.constructor as new (length: number) => T)(values.length * times);
  for (let i = 0; i < values.length; i++) repeated.fill(values[i]!, i * times, (i + 1) * times);
  return repeated;
}

function everyNth<T extends Int32Array | Uint8Array>(values: T, step: number, count: number): T {
  const picked = new (values.constructor as new (length: number) => T)(count);
  for (let i = 0; i < count; i++) picked[i] = values[i * step]!;
  return picked;
}

function cycle(values: readonly number[], length: number): Int16Array {
  return Int16Array.from({ length }, (_, i) => values[i % values.length]!);
}
