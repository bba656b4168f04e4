/** From a model's name on the command line to a loaded model. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { resolveModel } from "../hub/resolve.js";
import { formatMemoryPlan, type MemoryPlan } from "../model/memory-plan.js";
import { Model } from "../model/model.js";
import { interventionsOf } from "./intervene.js";
import type { Terminal } from "./io.js";
import type { ModelOptions } from "./options.js";
import { clearStatus, status } from "./progress.js";
import { seededModelFolder } from "./seeded-model.js";

/** What a person reads while a model is loaded. */
const STAGES: Readonly<Record<string, string>> = {
  opening: "Reading the headers",
  tokenizer: "Building the tokenizer",
  mapping: "Mapping the weights",
};

/**
 * The path of a model. "demo" is the embedded one; in a checkout that has not its weights yet, a seeded model of the same
 * architecture takes its place, and stderr says so.
 */
export function modelPath(terminal: Terminal, name: string, quiet: boolean | undefined): string {
  const path = resolveModel(name);
  if (name !== "demo" || existsSync(join(path, "model.safetensors"))) return path;
  if (!quiet)
    terminal.note("The demo model's weights are not here: an untrained one, made from a seed, takes its place.");
  return seededModelFolder(path);
}

/** Loads a model and shows that it does. The caller disposes it. */
export async function loadModel(terminal: Terminal, name: string, options: ModelOptions): Promise<Model> {
  const { quiet, ...loadOptions } = options;
  const { device, threads, ropeScaling, maxContext, cacheType, precision, kvCacheMib } = loadOptions;
  // Other names keep their form: Model.load reads what stands beside a model of ollama.
  const path = name === "demo" ? modelPath(terminal, name, quiet) : name;
  try {
    return await Model.load(path, {
      ...{ device, threads, ropeScaling, maxContext, cacheType, precision },
      kvCacheBytes: kvCacheMib && kvCacheMib * 2 ** 20,
      signal: terminal.signal,
      onMemoryPlan: (plan) => {
        clearStatus(terminal, quiet);
        const isShown = terminal.stderr.isTTY || takesMuch(plan);
        if (isShown && !quiet) terminal.note(formatMemoryPlan(plan));
      },
      onProgress: (stage) => stage in STAGES && status(terminal, `${STAGES[stage]} of ${name} ...`, quiet),
    });
  } finally {
    clearStatus(terminal, quiet);
  }
}

/** Whether a program's log should say what a model takes, too: more than a tenth of what is free. */
function takesMuch({ weights, kvFullContext, workspace, available }: MemoryPlan): boolean {
  return weights + kvFullContext + workspace > available.bytes / 10;
}

/** Runs `use` on a loaded model, with the interventions that the options name, and disposes it. */
export async function withModel<T>(
  terminal: Terminal,
  name: string,
  options: ModelOptions,
  use: (model: Model) => Promise<T>,
): Promise<T> {
  // Before the model: a mistake in the option need not wait for it.
  const interventions = options.intervene === undefined ? [] : await interventionsOf(options.intervene);
  const model = await loadModel(terminal, name, options);
  for (const warning of model.tokenizer.warnings) if (!options.quiet) terminal.note(warning);
  try {
    return await use(interventions.length === 0 ? model : model.with(interventions));
  } finally {
    await model.dispose();
  }
}
