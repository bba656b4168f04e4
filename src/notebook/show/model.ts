/** A model in a dozen lines. */
import type { ShowOptions } from "./show.js";
import { tableBundle } from "./table.js";

/** What is read of a `Model`; the notebook stands beside `model` and does not import it. */
interface ModelLike {
  config: { architecture: string; vocabSize: number; hiddenSize: number };
  traceMetadata: Readonly<Record<string, unknown>>;
  interventions: readonly unknown[];
}

export function isModelLike(value: unknown): value is ModelLike {
  return typeof value === "object" && value !== null && "traceMetadata" in value && "memoryPlan" in value;
}

export function modelBundle(model: ModelLike, options: ShowOptions = {}): Record<string, unknown> {
  const facts = { vocabSize: model.config.vocabSize, hiddenSize: model.config.hiddenSize, ...model.traceMetadata };
  const { model: path, ...others } = facts as Record<string, unknown>;
  const name = String(path).split("/").slice(-1)[0];
  const rows = Object.entries({ model: name, ...others, interventions: model.interventions.length }).map(
    ([property, value]) => ({ property, value: value === undefined ? "none" : value }),
  );
  return tableBundle(rows, { rows: 100, ...options });
}
