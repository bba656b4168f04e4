import { ConfigFields } from "./config-fields.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import { badFile } from "./refuse.js";
import type { JsonObject } from "./strict-json.js";

/** How the makers of a model suggest to sample from it; each only if stated. */
export interface GenerationDefaults {
  /** False: greedy, whatever the rest says. */
  doSample?: boolean;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  maxNewTokens?: number;
}

/** A generation_config.json as far as it is used here. */
export interface GenerationConfig {
  defaults: GenerationDefaults;
  eosTokenIds: number[];
}

/** @param where the file, for messages. @throws CheckpointError */
export function parseGenerationConfig(json: JsonObject, where: string): GenerationConfig {
  const fields = new ConfigFields(json, where);
  const defaults = withoutUndefined({
    doSample: fields.boolean("do_sample", undefined),
    temperature: fields.number("temperature", undefined),
    topK: withoutLimit(fields.integer("top_k", undefined, -1)),
    topP: fields.number("top_p", undefined),
    minP: fields.number("min_p", undefined),
    repetitionPenalty: fields.number("repetition_penalty", undefined),
    maxNewTokens: fields.integer("max_new_tokens", undefined, 0) || undefined,
  });
  return { defaults: checkDefaults(defaults, where), eosTokenIds: fields.tokenIds("eos_token_id") };
}

/** Recent converters copy the suggestions into `general.sampling.*`. @throws CheckpointError */
export function ggufGenerationDefaults(metadata: GgufMetadata): GenerationDefaults {
  const number = (name: string) => {
    const key = `general.sampling.${name}`;
    const type = metadata.get(key)?.type;
    return type === "f32" || type === "f64" ? metadata.float(key) : metadata.integer(key);
  };
  // llama.cpp takes every number below 1 as off.
  const topK = number("top_k");
  const defaults = withoutUndefined({
    temperature: number("temp"),
    topK: topK === undefined ? undefined : Math.max(topK, 0),
    topP: number("top_p"),
    minP: number("min_p"),
    repetitionPenalty: number("penalty_repeat"),
  });
  return checkDefaults(defaults, metadata.path);
}

/** vLLM writes "no limit" as -1. */
function withoutLimit(topK: number | undefined): number | undefined {
  return topK === -1 ? 0 : topK;
}

function checkDefaults(defaults: GenerationDefaults, where: string): GenerationDefaults {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = defaults;
  const faults: Array<[boolean, string, number]> = [
    [temperature < 0, "a temperature of at least 0", temperature],
    [topK < 0, "top_k of at least 0", topK],
    [!(topP >= 0 && topP <= 1), "top_p from 0 to 1", topP],
    [!(minP >= 0 && minP <= 1), "min_p from 0 to 1", minP],
    [!(repetitionPenalty > 0), "a repetition_penalty above 0", repetitionPenalty],
  ];
  const fault = faults.find(([isWrong]) => isWrong);
  if (fault !== undefined) throw badFile(`Expected ${fault[1]} in ${where}, found ${fault[2]}.`);
  return defaults;
}

function withoutUndefined(defaults: GenerationDefaults): GenerationDefaults {
  return Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== undefined));
}
