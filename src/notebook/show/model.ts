/** A model in a dozen lines: what it is, how large, how it runs, and what was changed in it. */
import type { ShowOptions } from "./show.js";
import { tableBundle } from "./table.js";

/** What is read of a `Model`; the notebook stands beside `model` and does not import it. Sizes in bytes. */
interface ModelLike {
  config: Readonly<Record<string, unknown>>;
  traceMetadata: Readonly<Record<string, unknown>>;
  interventions: readonly unknown[];
  memoryPlan: { weights: number; kvPerToken: number; contextTokens: number; kvCacheBytes: number; paging: unknown };
}

export function isModelLike(value: unknown): value is ModelLike {
  return typeof value === "object" && value !== null && "traceMetadata" in value && "memoryPlan" in value;
}

export function modelBundle(model: ModelLike, options: ShowOptions = {}): Record<string, unknown> {
  const { config, traceMetadata, memoryPlan, interventions } = model;
  const { model: path, moeLayers, interventions: changes, ...rest } = traceMetadata;
  const facts: Record<string, unknown> = {
    ...{ model: String(path).split(/[\\/]/).at(-1), architecture: rest.architecture, dtype: rest.dtype },
    ...{ vocabSize: config.vocabSize, hiddenSize: config.hiddenSize },
    ...rest,
    "layers with experts": rangesText((moeLayers ?? []) as readonly number[]),
    ...{ context: `${memoryPlan.contextTokens.toLocaleString("en")} tokens`, weights: bytesText(memoryPlan.weights) },
    "keys and values": `${bytesText(memoryPlan.kvPerToken)} a token, at most ${bytesText(memoryPlan.kvCacheBytes)}`,
    "fits in memory": memoryPlan.paging === null ? "yes" : "no: weights are read again from their files",
    interventions: interventions.length === 0 ? "none" : String(changes ?? `${interventions.length} callbacks`),
  };
  const rows = Object.entries(facts).map(([property, value]) => ({ property, value: String(value ?? "none") }));
  return tableBundle(rows, { rows: 100, ...options });
}

function bytesText(bytes: number): string {
  const unit = bytes < 2 ** 20 ? "KiB" : bytes < 2 ** 30 ? "MiB" : "GiB";
  const value = bytes / { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[unit];
  return `${value.toLocaleString("en", { maximumFractionDigits: 1 })} ${unit}`;
}

/** 0 to 3, 5, 7 to 9. */
function rangesText(numbers: readonly number[]): string {
  const starts = numbers.filter((value) => !numbers.includes(value - 1));
  const ranges = starts.map((start) => {
    let end = start;
    while (numbers.includes(end + 1)) end++;
    return end === start ? String(start) : `${start} to ${end}`;
  });
  return ranges.join(", ") || "none";
}
