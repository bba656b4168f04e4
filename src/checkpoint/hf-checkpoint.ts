import { join } from "node:path";
import type { Checkpoint, Licence, OpenOptions } from "./checkpoint.js";
import { withFile } from "./file-source.js";
import { type GenerationConfig, parseGenerationConfig } from "./generation-defaults.js";
import { parseHfConfig } from "./hf-config.js";
import { readJsonFile } from "./json-file.js";
import { planTensors } from "./load-plan.js";
import { checkTokenId, countParameters, planConfigOf } from "./model-config.js";
import { notFound } from "./refuse.js";
import { readSafetensorsModel } from "./shards.js";
import { sumBytes } from "./storage-types.js";
import { hfNaming } from "./tensor-names.js";
import { tokenizerEos } from "./tokenizer-eos.js";

/** Opens a folder with config.json and safetensors files. @param names the folder's files. @throws CheckpointError */
export function openHfCheckpoint(folder: string, names: readonly string[], options: OpenOptions): Checkpoint {
  const pathOf = (name: string) => (names.includes(name) ? join(folder, name) : null);
  const configPath = pathOf("config.json");
  if (configPath === null)
    throw notFound(`${folder} holds safetensors files but no config.json: download that file too.`);
  const config = parseHfConfig(readJsonFile(configPath), configPath, options);
  const { files, tensors } = readSafetensorsModel(folder, names);
  // As in transformers: a head that is there is used, even where the config calls for tied embeddings.
  if (tensors.some((tensor) => tensor.name === "lm_head.weight")) config.tieWordEmbeddings = false;
  const planned = planTensors(config, tensors, hfNaming(config.architecture === "mixtral"), folder);

  const generationPath = pathOf("generation_config.json");
  const generation: GenerationConfig =
    generationPath === null
      ? { defaults: {}, eosTokenIds: [] }
      : parseGenerationConfig(readJsonFile(generationPath), generationPath);
  for (const id of generation.eosTokenIds) checkTokenId(id, "eos_token_id", config.vocabSize, generationPath!);
  const tokenizer = {
    kind: "files" as const,
    tokenizerJson: pathOf("tokenizer.json"),
    tokenizerConfig: pathOf("tokenizer_config.json"),
    chatTemplate: pathOf("chat_template.jinja"),
    generationConfig: generationPath,
  };
  const namedEos = tokenizerEos(tokenizer);
  for (const id of namedEos) checkTokenId(id, "eos_token", config.vocabSize, tokenizer.tokenizerConfig!);
  const stopTokens = new Set([...config.eosTokenIds, ...generation.eosTokenIds, ...namedEos]);
  config.eosTokenIds = [...stopTokens].sort((a, b) => a - b);
  return {
    path: folder,
    format: "safetensors",
    architecture: config.architecture,
    config,
    plan: { config: planConfigOf(config), files, tensors: planned },
    tokenizer,
    generationDefaults: generation.defaults,
    licence: licenceOf(folder, names),
    weightBytes: sumBytes(planned),
    ...countParameters(config),
  };
}

const LICENCE_FILE = /^licen[cs]e(\.(txt|md))?$/i;

/** The first part of a model card, which states the licence. */
const CARD_BYTES = 65_536;

/** The licence file, and the name that the model card states in its first lines. */
function licenceOf(folder: string, names: readonly string[]): Licence | null {
  const file = names.find((name) => LICENCE_FILE.test(name));
  const card = names.includes("README.md") ? frontMatter(join(folder, "README.md")) : "";
  const name = /^license(?:_name)?:\s*["']?([^\s"'#]+)/m.exec(card)?.[1];
  const link = /^license_link:\s*["']?([^\s"'#]+)/m.exec(card)?.[1];
  const licence: Licence = {};
  if (name !== undefined) licence.name = name;
  if (link !== undefined) licence.link = link;
  if (file !== undefined) licence.file = join(folder, file);
  return Object.keys(licence).length === 0 ? null : licence;
}

/** The YAML between the first two lines of dashes. A card that cannot be read only costs us the licence's name. */
function frontMatter(path: string): string {
  try {
    const start = withFile(path, (source) => source.read(0, Math.min(source.sizeBytes, CARD_BYTES)).toString("utf8"));
    return /^---\r?\n([\s\S]*?)\r?\n---/.exec(start)?.[1] ?? "";
  } catch {
    return "";
  }
}
