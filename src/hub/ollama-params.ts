/** The parameters that a model of ollama comes with, in our words. */
import { describe, MoescopeError } from "../errors.js";

export interface OllamaDefaults {
  /** What the parameters say about sampling; each only if stated. */
  sampling: {
    temperature?: number;
    topK?: number;
    topP?: number;
    minP?: number;
    repetitionPenalty?: number;
    presencePenalty?: number;
    frequencyPenalty?: number;
  };
  /** New tokens at most. */
  maxTokens?: number;
  /** Strings that end a text. */
  stop: readonly string[];
}

/** Ollama's name of each number; others (num_ctx, mirostat, ...) say how its own engine runs and are passed over. */
const NAMES: Readonly<Record<string, keyof OllamaDefaults["sampling"]>> = {
  temperature: "temperature",
  top_k: "topK",
  top_p: "topP",
  min_p: "minP",
  repeat_penalty: "repetitionPenalty",
  presence_penalty: "presencePenalty",
  frequency_penalty: "frequencyPenalty",
};

/** Throws BAD_FILE for a parameter of the wrong kind; `model` names it. */
export function ollamaDefaults(params: Readonly<Record<string, unknown>>, model: string): OllamaDefaults {
  const sampling: OllamaDefaults["sampling"] = {};
  for (const [theirs, ours] of Object.entries(NAMES)) {
    const value = params[theirs];
    if (value !== undefined) sampling[ours] = finite(value, theirs, model);
  }
  const limit = params.num_predict === undefined ? -1 : finite(params.num_predict, "num_predict", model);
  const stop = params.stop === undefined ? [] : [params.stop].flat();
  const wrong = stop.find((text) => typeof text !== "string");
  if (wrong !== undefined) throw badParameter("stop", "a string or a list of strings", wrong, model);
  return { sampling, maxTokens: limit > 0 ? limit : undefined, stop: stop as string[] };
}

function finite(value: unknown, name: string, model: string): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw badParameter(name, "a number", value, model);
}

function badParameter(name: string, expected: string, value: unknown, model: string): MoescopeError {
  return new MoescopeError(
    "BAD_FILE",
    `Expected ${expected} for ${name} in the parameters of ${model}, found ${describe(value)}.`,
  );
}
