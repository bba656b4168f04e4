import type { Checkpoint, Licence, OpenOptions } from "./checkpoint.js";
import { ggufGenerationDefaults } from "./generation-defaults.js";
import { parseGgufConfig } from "./gguf-config.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import { readGgufModel } from "./gguf-split.js";
import { planTensors } from "./load-plan.js";
import { countParameters, planConfigOf } from "./model-config.js";
import { sumBytes } from "./storage-types.js";
import { ggufNaming } from "./tensor-names.js";

/** Opens a GGUF file, or any part of a split set. @param path absolute. @throws CheckpointError */
export function openGgufCheckpoint(path: string, options: OpenOptions): Checkpoint {
  const model = readGgufModel(path);
  const config = parseGgufConfig(model, options);
  config.eosTokenIds = [...new Set(config.eosTokenIds)].sort((a, b) => a - b);
  const tensors = planTensors(config, model.tensors, ggufNaming, path);
  return {
    path,
    format: "gguf",
    architecture: config.architecture,
    config,
    plan: { config: planConfigOf(config), files: model.files, tensors },
    tokenizer: { kind: "gguf", metadata: model.metadata },
    generationDefaults: ggufGenerationDefaults(model.metadata),
    licence: licenceOf(model.metadata),
    weightBytes: sumBytes(tensors),
    ...countParameters(config),
  };
}

function licenceOf(metadata: GgufMetadata): Licence | null {
  const name = metadata.text("general.license.name") ?? metadata.text("general.license");
  const link = metadata.text("general.license.link");
  if (name === undefined && link === undefined) return null;
  return { ...(name === undefined ? {} : { name }), ...(link === undefined ? {} : { link }) };
}
