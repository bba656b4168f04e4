/**
 * The router trace as an Arrow table, version 1: the single definition of its columns and of its metadata.
 *
 * One row per (token, MoE layer), tokens in order, the layers of a token side by side in ascending order. Fixed-size lists hold the
 * slots of a row, so that the arrays that native code fills become columns without a copy.
 */

import {
  Bool,
  type DataType,
  Dictionary,
  Field,
  FixedSizeList,
  Float32,
  Int16,
  Int32,
  Schema,
  Uint16,
  Utf8,
} from "apache-arrow";
import { MoescopeError } from "../errors.js";
import type { CaptureLevel, Precision } from "../native/binding.js";
import type { RouterShape } from "./shape.js";

export const TRACE_SCHEMA_VERSION = 1;

/** In `topk_experts`: a slot that a top-k intervention left empty. Its weight is 0. */
export const EMPTY_SLOT = 65535;

/** Labels of the parts of a text that the library itself uses; a caller may add its own behind them. */
export const STANDARD_SEGMENTS: readonly string[] = ["prefix", "question", "choice", "generated"];

/** What a token is, however it was computed; the index is the number that native code uses. */
export const ORIGINS: readonly ["prompt", "generated"] = ["prompt", "generated"];

/** Levels that record rows; at level `counts` there is no trace. */
export type RecordedLevel = Exclude<CaptureLevel, "counts">;

/** Where the tokens of a trace belong. All absent outside a run. */
export interface TraceKey {
  run?: string;
  task?: string;
  sampleId?: string;
  epoch?: number;
  request?: number;
  turn?: number;
  /** The shared prefix that these rows are (without `sampleId`) or that comes before them (with it). */
  prefixId?: string;
}

/** What a reader must know of the model to interpret a trace. */
export interface TraceMetadata extends RouterShape {
  /** Name or path of the model as it was asked for. */
  model: string;
  architecture: string;
  /** Storage type of most weights, e.g. "BF16", "Q5_K". */
  dtype: string;
  precision: Precision;
  /** The device that computed, e.g. "cpu avx512". */
  device: string;
  /** Canonical JSON of the interventions that acted; absent: none. */
  interventions?: string;
  /** Anything else that tells where the trace comes from: versions, hashes, dates. */
  provenance?: Readonly<Record<string, string>>;
}

/** The columns that identify a row, with the property of `TraceKey` that each holds. */
export const KEY_COLUMNS: readonly (readonly [column: string, property: keyof TraceKey, type: "text" | "int32"])[] = [
  ["run", "run", "text"],
  ["task", "task", "text"],
  ["sample_id", "sampleId", "text"],
  ["epoch", "epoch", "int32"],
  ["request", "request", "int32"],
  ["turn", "turn", "int32"],
  ["prefix_id", "prefixId", "text"],
];

/** A list of exactly `length` values, none of them null. */
export function fixedList<T extends DataType>(type: T, length: number): FixedSizeList<T> {
  return new FixedSizeList(length, new Field("item", type, false));
}

/** Text that few distinct values fill; `id` must differ between the columns of a schema. */
function label(id: number): Dictionary<Utf8, Int32> {
  return new Dictionary(new Utf8(), new Int32(), id);
}

/** What the shapes and labels of a trace's columns mean. */
export interface TraceLayout {
  metadata: TraceMetadata;
  level: RecordedLevel;
  /** Slots per row: the model's top-k, or more where a top-k intervention asks for more. */
  topK: number;
  /** Global numbers of the MoE layers that are in this trace, ascending. */
  layers: readonly number[];
  /** Names of the segment labels, by number. */
  segments: readonly string[];
}

/**
 * The schema of a trace. `router_logits` is there at levels `logits` and `hidden`; at level `hidden`, where `hiddenSize` is needed, also
 * what the router read, what its experts gave, and the residual stream behind the layer.
 */
export function traceSchema(layout: TraceLayout, hiddenSize: number = 0): Schema {
  const column = (name: string, type: DataType, nullable = false) => new Field(name, type, nullable);
  const fields = [
    ...KEY_COLUMNS.map(([name, , type], id) => column(name, type === "text" ? label(id) : new Int32(), true)),
    column("position", new Int32()),
    column("layer", new Int16()),
    column("token_id", new Int32()),
    column("origin", label(KEY_COLUMNS.length)),
    column("segment", label(KEY_COLUMNS.length + 1)),
    // False where the row was stored with a cached prefix and not run again: attributed, not computed.
    column("computed", new Bool()),
    column("topk_experts", fixedList(new Uint16(), layout.topK)),
    column("topk_weights", fixedList(new Float32(), layout.topK)), // as applied
    column("shared_gate", new Float32(), true), // after the sigmoid; null without a shared expert
    column("margin", new Float32()), // z'_(k) - z'_(k+1); +inf where every expert is chosen
    column("intervened", new Bool()),
  ];
  if (layout.level !== "topk") {
    fields.push(column("router_logits", fixedList(new Float32(), layout.metadata.numExperts))); // raw z
  }
  if (layout.level === "hidden") {
    fields.push(
      column("router_input", fixedList(new Float32(), hiddenSize)), // normed input of the MoE block
      column("expert_norms", fixedList(new Float32(), layout.topK)), // |f_e| before the gate; NaN where it did not run
      column("shared_norm", new Float32(), true), // |f_shared| before its gate; null without a shared expert
      column("residual", fixedList(new Float32(), hiddenSize)), // residual stream after the layer
    );
  }
  return new Schema(fields, encodeMetadata(layout));
}

const PREFIX = "moescope.";

function encodeMetadata({ metadata, level, layers, segments }: TraceLayout): Map<string, string> {
  const values = { schemaVersion: TRACE_SCHEMA_VERSION, level, layers, segments, ...metadata };
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return new Map(
    entries.map(([name, value]) => [
      PREFIX + snakeCase(name),
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  );
}

/** What `traceSchema` wrote into the metadata. Throws BAD_FILE for a table that is not a trace of this version. */
export function decodeMetadata(schema: Schema): Omit<TraceLayout, "topK"> {
  const text = (name: string): string => {
    const value = schema.metadata.get(PREFIX + snakeCase(name));
    if (value !== undefined) return value;
    throw new MoescopeError(
      "BAD_FILE",
      `Expected a router trace with metadata ${PREFIX}${snakeCase(name)}, found none.`,
    );
  };
  const json = <T>(name: string): T => {
    try {
      return JSON.parse(text(name)) as T;
    } catch (cause) {
      if (cause instanceof MoescopeError) throw cause;
      throw new MoescopeError("BAD_FILE", `Expected JSON in metadata ${PREFIX}${snakeCase(name)}, got ${text(name)}.`, {
        cause,
      });
    }
  };
  const version = json<number>("schemaVersion");
  if (version !== TRACE_SCHEMA_VERSION) {
    throw new MoescopeError("BAD_FILE", `Expected trace schema version ${TRACE_SCHEMA_VERSION}, got ${version}.`);
  }
  const has = (name: string) => schema.metadata.has(PREFIX + name);
  return {
    level: text("level") as RecordedLevel,
    layers: json("layers"),
    segments: json("segments"),
    metadata: {
      model: text("model"),
      architecture: text("architecture"),
      numLayers: json("numLayers"),
      moeLayers: json("moeLayers"),
      numExperts: json("numExperts"),
      numExpertsPerToken: json("numExpertsPerToken"),
      normTopkProb: json("normTopkProb"),
      hasSharedExpert: json("hasSharedExpert"),
      dtype: text("dtype"),
      precision: text("precision") as TraceMetadata["precision"],
      device: text("device"),
      interventions: has("interventions") ? text("interventions") : undefined,
      provenance: has("provenance") ? json("provenance") : undefined,
    },
  };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
