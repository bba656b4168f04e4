/** All metadata of the GGUF file that a checkpoint becomes. */
import { join } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { GgufMetadata } from "../checkpoint/gguf-metadata.js";
import type { GgufValue } from "../checkpoint/gguf-values.js";
import { readJsonFile } from "../checkpoint/json-file.js";
import { type FileType, fileTypeId } from "./file-type.js";
import { countValue, textValue } from "./gguf-entries.js";
import { architectureKeys, generalKeys } from "./model-keys.js";
import { tokenizerKeys } from "./tokenizer-keys.js";

/** Of ggml's block formats; the only one there has been since 2023. */
const QUANTIZATION_VERSION = 2;

/** In the order of the file. Throws CheckpointError for what cannot be said. */
export async function ggufMetadata(checkpoint: Checkpoint, fileType: FileType): Promise<Map<string, GgufValue>> {
  const source = checkpoint.tokenizer;
  const keys =
    source.kind === "gguf"
      ? copiedKeys(checkpoint, source.metadata)
      : new Map([
          ...generalKeys(checkpoint),
          ...architectureKeys(checkpoint, feedForwardOf(checkpoint)),
          ...(await tokenizerKeys(checkpoint, source)),
        ]);
  keys.set("general.quantization_version", countValue(QUANTIZATION_VERSION));
  keys.set("general.file_type", countValue(fileTypeId(fileType)));
  return keys;
}

/** What the file said, but for its split into parts, and what old files leave unsaid. */
function copiedKeys(checkpoint: Checkpoint, metadata: GgufMetadata): Map<string, GgufValue> {
  const keys = new Map<string, GgufValue>();
  for (const key of metadata.keys()) {
    // Tensors are placed anew, at the format's own alignment.
    if (!key.startsWith("split.") && key !== "general.alignment") keys.set(key, metadata.get(key)!);
  }
  for (const [key, value] of architectureKeys(checkpoint, undefined)) {
    if (!keys.has(key) && !key.includes(".rope.scaling.")) keys.set(key, value);
  }
  const isQwen = checkpoint.architecture.startsWith("qwen2");
  if (isQwen && !keys.has("tokenizer.ggml.pre") && metadata.text("tokenizer.ggml.model") === "gpt2") {
    keys.set("tokenizer.ggml.pre", textValue("qwen2"));
  }
  return keys;
}

/** The width of dense layers that config.json states; llama.cpp reads it even where all layers are MoE. */
function feedForwardOf({ path }: Checkpoint): number | undefined {
  const width = readJsonFile(join(path, "config.json")).intermediate_size;
  return typeof width === "number" ? width : undefined;
}
