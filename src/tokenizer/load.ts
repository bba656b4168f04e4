import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TokenizerSource } from "../checkpoint/checkpoint.js";
import { tokenizerFromFiles } from "./from-files.js";
import { tokenizerFromGguf } from "./from-gguf.js";
import { readGgufTokenizerMetadata } from "./gguf-keys.js";
import type { ModelText, ModelTextOptions } from "./model-text.js";

/**
 * The tokenizer and the chat template of an opened checkpoint; `modelPath` names it in errors. Throws NOT_FOUND, NO_PERMISSION,
 * BAD_FILE or UNSUPPORTED, naming the file.
 */
export async function loadModelText(
  source: TokenizerSource,
  modelPath: string,
  options: ModelTextOptions = {},
): Promise<ModelText> {
  if (source.kind === "files") return tokenizerFromFiles(source, modelPath, options);
  return tokenizerFromGguf(readGgufTokenizerMetadata(source.metadata), source.metadata.path, options);
}

/** As loadModelText, for a Hugging Face folder of which only the text files matter. */
export async function loadTokenizer(folder: string, options: ModelTextOptions = {}): Promise<ModelText> {
  const find = (name: string): string | null => (existsSync(join(folder, name)) ? join(folder, name) : null);
  const files = {
    tokenizerJson: find("tokenizer.json"),
    tokenizerConfig: find("tokenizer_config.json"),
    chatTemplate: find("chat_template.jinja"),
  };
  return tokenizerFromFiles(files, folder, options);
}

export type { ModelText, ModelTextOptions };
