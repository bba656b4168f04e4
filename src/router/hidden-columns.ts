/** What level `hidden` records beside the routes: the input of each router, the norms of what experts gave, the residual stream. */

import { invalidArgument } from "../errors.js";
import type { StepHidden } from "../native/binding.js";
import type { TraceLayout } from "./schema.js";
import type { TraceParts } from "./trace-columns.js";

/** Tokens outermost; L MoE layers of the trace, k slots. */
export interface HiddenColumns extends StepHidden {
  hiddenSize: number;
  /** Global numbers of the layers in `residual`, ascending; dense ones included. */
  residualLayers: readonly number[];
}

/** Values per token of each array. */
function hiddenWidths(
  { layers, topK, metadata }: TraceLayout,
  { hiddenSize, residualLayers }: Pick<HiddenColumns, "hiddenSize" | "residualLayers">,
): Record<keyof StepHidden, number> {
  return {
    routerInput: layers.length * hiddenSize,
    expertNorms: layers.length * topK,
    sharedNorm: metadata.hasSharedExpert ? layers.length : 0,
    residual: residualLayers.length * hiddenSize,
  };
}

/** Throws INVALID_ARGUMENT where level and arrays do not fit one another. */
export function checkHidden({ layout, columns, hidden }: TraceParts): void {
  const isWanted = layout.level === "hidden";
  if ((hidden !== undefined) !== isWanted) {
    throw invalidArgument(
      "hidden",
      isWanted ? "hidden states at level hidden" : `none at level ${layout.level}`,
      hidden,
    );
  }
  if (hidden === undefined) return;
  const numTokens = columns.tokenIds.length;
  for (const [name, width] of Object.entries(hiddenWidths(layout, hidden))) {
    const { length } = hidden[name as keyof StepHidden];
    if (length !== numTokens * width) throw invalidArgument(name, `${numTokens} tokens x ${width} values`, length);
  }
}

/** The hidden states of a step as native code handed them over. */
export function hiddenOfStep(
  step: StepHidden | undefined,
  layout: TraceLayout,
  numTokens: number,
  residualLayers: readonly number[],
): HiddenColumns | undefined {
  if (step === undefined || layout.level !== "hidden") return undefined;
  const hiddenSize = step.residual.length / (numTokens * residualLayers.length || 1);
  return { ...step, hiddenSize, residualLayers };
}

/** Views of the tokens [start, end). */
export function sliceHidden({ hidden, layout }: TraceParts, start: number, end: number): HiddenColumns | undefined {
  if (hidden === undefined) return undefined;
  const widths = hiddenWidths(layout, hidden);
  return mapHidden(hidden, (values, name) => values.subarray(start * widths[name], end * widths[name]));
}

/** Copies of what belongs to some layers, by global number. */
export function pickHidden({ hidden, layout }: TraceParts, wanted: readonly number[]): HiddenColumns | undefined {
  if (hidden === undefined) return undefined;
  const widths = hiddenWidths(layout, hidden);
  const picked = mapHidden(hidden, (values, name) => {
    const from = name === "residual" ? hidden.residualLayers : layout.layers;
    const own = from.filter((layer) => wanted.includes(layer));
    return pickColumns(values, widths[name], from, own);
  });
  return { ...picked, residualLayers: hidden.residualLayers.filter((layer) => wanted.includes(layer)) };
}

/** The layers `wanted`, ascending, of values [tokens, from.length, any width]; the array itself where those are all. */
export function pickColumns<T extends Float32Array | Int32Array | Uint16Array | Uint8Array>(
  values: T,
  perToken: number,
  from: readonly number[],
  wanted: readonly number[],
): T {
  if (wanted.length === from.length || perToken === 0) return values;
  const width = perToken / from.length;
  const numTokens = values.length / perToken;
  const picked = new (values.constructor as new (length: number) => T)(numTokens * wanted.length * width);
  const places = wanted.map((layer) => from.indexOf(layer));
  for (let token = 0; token < numTokens; token++) {
    for (const [index, place] of places.entries()) {
      const start = token * perToken + place * width;
      picked.set(values.subarray(start, start + width), (token * wanted.length + index) * width);
    }
  }
  return picked;
}

/** All tokens one after another; undefined where the first part has no hidden states. */
export function joinHidden(parts: readonly TraceParts[]): HiddenColumns | undefined {
  const first = parts[0]!.hidden;
  if (first === undefined) return undefined;
  const joined = mapHidden(first, (_, name) => {
    const all = parts.map((part) => part.hidden![name]);
    const values = new Float32Array(all.reduce((sum, { length }) => sum + length, 0));
    let offset = 0;
    for (const part of all) {
      values.set(part, offset);
      offset += part.length;
    }
    return values;
  });
  const hiddenSize = Math.max(...parts.map((part) => part.hidden!.hiddenSize));
  return { ...joined, hiddenSize };
}

/** More slots per row; no expert ran in the new ones. */
export function widenHidden({ hidden, layout }: TraceParts, topK: number): HiddenColumns | undefined {
  if (hidden === undefined) return undefined;
  const rows = hidden.expertNorms.length / layout.topK;
  const expertNorms = new Float32Array(rows * topK).fill(Number.NaN);
  for (let row = 0; row < rows; row++) {
    expertNorms.set(hidden.expertNorms.subarray(row * layout.topK, (row + 1) * layout.topK), row * topK);
  }
  return { ...hidden, expertNorms };
}

function mapHidden(
  hidden: HiddenColumns,
  change: (values: Float32Array, name: keyof StepHidden) => Float32Array,
): HiddenColumns {
  const names = ["routerInput", "expertNorms", "sharedNorm", "residual"] as const;
  return { ...hidden, ...Object.fromEntries(names.map((name) => [name, change(hidden[name], name)])) };
}
