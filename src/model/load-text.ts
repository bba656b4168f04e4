/** The text side of a checkpoint. */
import { dirname } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { CheckpointError } from "../errors.js";
import { loadTokenizer, type ModelText } from "../tokenizer/load.js";

/** The tokenizer and the chat template; `chatTemplate`: in place of the model's. */
export async function loadText(checkpoint: Checkpoint, chatTemplate: string | undefined): Promise<ModelText> {
  const { tokenizer: source, config } = checkpoint;
  const options = { chatTemplate, eosTokenIds: config.eosTokenIds };
  if (source.kind === "files") {
    if (source.tokenizerJson === null) {
      throw new CheckpointError("NOT_FOUND", `Expected a tokenizer.json in ${checkpoint.path}, the folder has none.`);
    }
    return loadTokenizer(dirname(source.tokenizerJson), options);
  }
  throw new CheckpointError("UNSUPPORTED", "GGUF tokenizers.");
}
