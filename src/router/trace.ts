/** What the router did, token by token and layer by layer. */

import { type Table, tableFromIPC, tableToIPC } from "apache-arrow";
import { InvalidArgumentError, invalidArgument } from "../errors.js";
import type { StepTrace } from "../native/binding.js";
import { ExpertLoad } from "./expert-load.js";
import { checkHidden, type HiddenColumns, hiddenOfStep, pickColumns } from "./hidden-columns.js";
import { type RecordedRoute, routeOf } from "./route.js";
import {
  EMPTY_SLOT,
  type RecordedLevel,
  STANDARD_SEGMENTS,
  type TraceKey,
  type TraceLayout,
  type TraceMetadata,
} from "./schema.js";
import {
  columnsOfStep,
  columnWidths,
  joinParts,
  pickLayers,
  sliceTokens,
  type TokenRun,
  type TraceColumns,
  type TraceParts,
} from "./trace-columns.js";
import { partsOf, tableOf } from "./trace-table.js";

/** A trace of no tokens. `layers` as a capture names them; absent: all. */
export function emptyTrace(of: {
  metadata: TraceMetadata;
  level: RecordedLevel;
  layers?: readonly number[];
  hiddenSize: number;
}): RouterTrace {
  const { metadata, level, layers: wanted, hiddenSize } = of;
  const isWanted = (layer: number) => wanted === undefined || wanted.includes(layer);
  const residualLayers = Array.from({ length: metadata.numLayers }, (_, layer) => layer).filter(isWanted);
  const [ints, floats, bytes] = [new Int32Array(0), new Float32Array(0), new Uint8Array(0)];
  return new RouterTrace({
    layout: {
      ...{ metadata, level, topK: metadata.numExpertsPerToken, segments: STANDARD_SEGMENTS },
      layers: metadata.moeLayers.filter(isWanted),
    },
    keys: [],
    columns: {
      ...{ tokenIds: ints, positions: ints, origins: bytes, segments: ints, computed: bytes, keys: ints },
      ...{ topkExperts: new Uint16Array(0), topkWeights: floats, sharedGate: floats, margin: floats },
      ...{ intervened: bytes, routerLogits: floats },
    },
    hidden:
      level !== "hidden"
        ? undefined
        : {
            hiddenSize,
            residualLayers,
            routerInput: floats,
            expertNorms: floats,
            sharedNorm: floats,
            residual: floats,
          },
  });
}

const LEVELS: readonly RecordedLevel[] = ["topk", "logits", "hidden"];

/**
 * A router trace. Its arrays are those that native code filled, or views of them: treat them as read-only. Rows are (token, layer),
 * tokens outermost; `EMPTY_SLOT` marks a slot that a top-k intervention left empty.
 */
export class RouterTrace implements TraceParts {
  readonly layout: TraceLayout;
  readonly keys: readonly TraceKey[];
  readonly columns: TraceColumns;
  readonly hidden: HiddenColumns | undefined;

  /** Throws INVALID_ARGUMENT where an array's length does not follow from the layout and the number of tokens. */
  constructor({ layout, keys, columns, hidden }: TraceParts) {
    const numTokens = columns.tokenIds.length;
    const widths = columnWidths(layout);
    for (const name of Object.keys(widths) as (keyof TraceColumns)[]) {
      const expected = numTokens * widths[name];
      if (columns[name].length === expected) continue;
      throw invalidArgument(name, `${numTokens} tokens x ${widths[name]} values`, columns[name].length);
    }
    checkHidden({ layout, keys, columns, hidden });
    this.layout = layout;
    this.keys = keys;
    this.columns = columns;
    this.hidden = hidden;
  }

  /**
   * The trace of one step; its large arrays are the step's own. `runs` say what the rows are, in the order of the step's segments.
   * `segments` names the labels that the runs use.
   */
  static fromStep(
    step: StepTrace,
    runs: readonly TokenRun[],
    options: {
      metadata: TraceMetadata;
      level: RecordedLevel;
      segments?: readonly string[];
      /** Layers that the step was asked to record. Default all. */
      layers?: readonly number[];
    },
  ): RouterTrace {
    const { metadata, level, segments = STANDARD_SEGMENTS } = options;
    const { numExperts, numLayers } = metadata;
    const every = Array.from({ length: numLayers }, (_, layer) => layer);
    const residualLayers =
      options.layers === undefined ? every : every.filter((layer) => options.layers!.includes(layer));
    const layers = metadata.moeLayers.filter((layer) => residualLayers.includes(layer));
    if (step.numMoeLayers !== layers.length)
      throw invalidArgument("step", `${layers.length} MoE layers`, step.numMoeLayers);
    if (step.numExperts !== numExperts) throw invalidArgument("step", `${numExperts} experts`, step.numExperts);
    const layout = { metadata, level, topK: step.topK, layers, segments };
    const hidden = hiddenOfStep(step.hidden, layout, step.rows, residualLayers);
    return new RouterTrace({ layout, ...columnsOfStep(step, runs), hidden });
  }

  /**
   * All tokens of several traces of one model, level and set of layers, in the given order. Copies each array once; one trace is
   * returned as it is. Throws INVALID_ARGUMENT where they cannot be joined.
   */
  static concat(traces: readonly RouterTrace[]): RouterTrace {
    const [first, ...others] = traces;
    if (first === undefined) throw new InvalidArgumentError("Expected at least one trace to join, got none.");
    if (others.length === 0) return first;
    for (const { layout } of others) {
      const differing = [
        ["levels", first.layout.level, layout.level],
        ["layers", first.layout.layers.join(", "), layout.layers.join(", ")],
        ["models", first.layout.metadata.model, layout.metadata.model],
        ["experts", first.layout.metadata.numExperts, layout.metadata.numExperts],
      ].find(([, a, b]) => a !== b);
      if (differing === undefined) continue;
      const [what, a, b] = differing;
      throw new InvalidArgumentError(`Expected traces of the same ${what} to join, got ${a} and ${b}.`);
    }
    return new RouterTrace(joinParts(traces));
  }

  /**
   * The trace of a request whose first tokens came from a cached prefix: the prefix's rows as they were stored, attributed to the
   * request and not computed, then the rows that ran. Throws INVALID_ARGUMENT where the prefix was stored at a lower level than the
   * computed rows, or does not end where they start.
   */
  static fromParts(storedPrefix: RouterTrace, computed: RouterTrace): RouterTrace {
    if (storedPrefix.numTokens === 0) return computed;
    const prefix = storedPrefix.attributedTo(computed.keys[computed.columns.keys[0] ?? 0] ?? {});
    if (computed.numTokens === 0) return prefix;
    const end = storedPrefix.columns.positions[storedPrefix.numTokens - 1]! + 1;
    const start = computed.columns.positions[0]!;
    if (start !== end) throw invalidArgument("the first computed position", `${end}, the end of the prefix,`, start);
    return RouterTrace.concat([prefix.atLevel(computed.layout.level), computed]);
  }

  get numTokens(): number {
    return this.columns.tokenIds.length;
  }

  /** Of all arrays. */
  get byteLength(): number {
    const arrays: ArrayBufferView[] = Object.values(this.columns);
    const { hidden } = this;
    if (hidden !== undefined) arrays.push(hidden.routerInput, hidden.expertNorms, hidden.sharedNorm, hidden.residual);
    return arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Global numbers of the MoE layers in this trace. */
  get layers(): readonly number[] {
    return this.layout.layers;
  }

  /** Slots per row. */
  get topK(): number {
    return this.layout.topK;
  }

  /** The tokens [start, end) as views, with the meaning of `Array.prototype.slice` for one or two non-negative numbers. */
  slice(start: number, end: number = this.numTokens): RouterTrace {
    const last = Math.min(end, this.numTokens);
    return new RouterTrace(sliceTokens(this, Math.min(start, last), last));
  }

  /**
   * These layers alone, by global number, in ascending order; at level hidden also dense ones, which have a residual stream and no
   * routes. Throws INVALID_ARGUMENT for a layer that is not in the trace.
   */
  selectLayers(layers: readonly number[]): RouterTrace {
    const residual = this.hidden?.residualLayers ?? [];
    const unknown = layers.find((layer) => !this.layers.includes(layer) && !residual.includes(layer));
    if (unknown !== undefined) {
      const known = [...new Set([...this.layers, ...residual])].sort((a, b) => a - b);
      throw invalidArgument("layer", `one of ${known.join(", ")}`, unknown);
    }
    return new RouterTrace(pickLayers(this, layers));
  }

  /** The same rows without what a higher level adds. Throws INVALID_ARGUMENT where this trace has less. */
  atLevel(level: RecordedLevel): RouterTrace {
    const { layout } = this;
    if (level === layout.level) return this;
    if (LEVELS.indexOf(level) > LEVELS.indexOf(layout.level)) {
      throw new InvalidArgumentError(`Expected routes stored at level ${level} or above, got level ${layout.level}.`);
    }
    const columns = { ...this.columns };
    if (level === "topk") columns.routerLogits = new Float32Array(0);
    return new RouterTrace({ ...this, layout: { ...layout, level }, columns, hidden: undefined });
  }

  /** The same rows under another key. */
  withKey(key: TraceKey): RouterTrace {
    return new RouterTrace({
      ...this,
      keys: [key],
      columns: { ...this.columns, keys: new Int32Array(this.numTokens) },
    });
  }

  /** The same rows as a request owns them that did not run them: attributed, not computed. */
  attributedTo(key: TraceKey): RouterTrace {
    const { columns } = this.withKey(key);
    return new RouterTrace({ ...this, keys: [key], columns: { ...columns, computed: new Uint8Array(this.numTokens) } });
  }

  /**
   * Assignments per layer and expert, by the selected ids. `attributed` counts every row, those of a prefix hit included; `computed`
   * only the rows that ran.
   */
  expertLoad(rows: "attributed" | "computed" = "attributed"): ExpertLoad {
    const { topK, layers, metadata } = this.layout;
    const counts = new Float64Array(layers.length * metadata.numExperts);
    const { topkExperts, computed } = this.columns;
    for (let token = 0, slot = 0; token < this.numTokens; token++) {
      for (let layer = 0; layer < layers.length; layer++) {
        for (const end = slot + topK; slot < end; slot++) {
          const expert = topkExperts[slot]!;
          if (expert === EMPTY_SLOT || (rows === "computed" && computed[token] === 0)) continue;
          counts[layer * metadata.numExperts + expert]!++;
        }
      }
    }
    return new ExpertLoad(counts, layers, metadata.numExperts);
  }

  /** The residual stream after a recorded layer, dense ones included. [tokens, hiddenSize] */
  hiddenAfter(layer: number): Float32Array {
    const { hidden } = this;
    if (hidden === undefined) {
      throw new InvalidArgumentError(`Expected a trace at level hidden, got level ${this.layout.level}.`);
    }
    const { residualLayers, hiddenSize, residual } = hidden;
    if (!residualLayers.includes(layer)) {
      throw invalidArgument("layer", `one of the recorded layers ${residualLayers.join(", ")}`, layer);
    }
    return pickColumns(residual, residualLayers.length * hiddenSize, residualLayers, [layer]);
  }

  /** What a replay intervention takes. Throws INVALID_ARGUMENT unless the rows are consecutive positions. */
  route(): RecordedRoute {
    return routeOf(this);
  }

  /** The Arrow table of `schema.ts`; lists and floats are views of the trace's arrays. */
  toArrow(): Table {
    return tableOf(this);
  }

  /** The trace of a table that `toArrow` made, also after it was stored. Throws BAD_FILE for any other. */
  static fromArrow(table: Table): RouterTrace {
    return new RouterTrace(partsOf(table));
  }

  /** The table as an Arrow IPC file. */
  toIPC(): Uint8Array {
    return tableToIPC(this.toArrow(), "file");
  }

  /** Reads an Arrow IPC file or stream that `toIPC` wrote. */
  static fromIPC(bytes: Uint8Array): RouterTrace {
    return RouterTrace.fromArrow(tableFromIPC(bytes));
  }
}
