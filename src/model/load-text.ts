/** The text side of a checkpoint: what its files or its GGUF metadata say, handed to the tokenizer folder. */
import { dirname } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { GgufMetadata } from "../checkpoint/gguf-metadata.js";
import { CheckpointError } from "../errors.js";
import { tokenizerFromGguf } from "../tokenizer/from-gguf.js";
import type { GgufTokenizerMetadata } from "../tokenizer/gguf-tokens.js";
import { loadTokenizer } from "../tokenizer/load.js";
import type { ModelText } from "../tokenizer/model-text.js";

/** The tokenizer and the chat template; `chatTemplate`: in place of the model's. */
export async function loadText(checkpoint: Checkpoint, chatTemplate: string | undefined): Promise<ModelText> {
  const { tokenizer: source, config, path } = checkpoint;
  const options = { chatTemplate, eosTokenIds: config.eosTokenIds };
  if (source.kind === "gguf") return tokenizerFromGguf(tokenizerMetadata(source.metadata), path, options);
  if (source.tokenizerJson === null) {
    throw new CheckpointError("NOT_FOUND", `Expected a tokenizer.json in ${path}, the folder has none.`);
  }
  return loadTokenizer(dirname(source.tokenizerJson), options);
}

/** The keys `tokenizer.*` of a GGUF file. */
function tokenizerMetadata(metadata: GgufMetadata): GgufTokenizerMetadata {
  const model = metadata.text("tokenizer.ggml.model");
  const tokens = metadata.strings("tokenizer.ggml.tokens");
  if (model === undefined || tokens === undefined) {
    throw new CheckpointError("BAD_FILE", `Expected a tokenizer in ${metadata.path} (tokenizer.ggml.*), found none.`);
  }
  const types = metadata.numbers("tokenizer.ggml.token_type", "integers");
  const integer = (name: string) => metadata.integer(`tokenizer.ggml.${name}`);
  const boolean = (name: string) => metadata.boolean(`tokenizer.ggml.${name}`);
  return {
    model,
    tokens,
    pre: metadata.text("tokenizer.ggml.pre"),
    architecture: metadata.text("general.architecture"),
    // Without types every token is an ordinary one (llama.cpp's rule).
    tokenTypes:
      types === undefined ? new Int32Array(tokens.length).fill(1) : Int32Array.from(types as ArrayLike<number>, Number),
    scores: metadata.numbers("tokenizer.ggml.scores", "floats") as ArrayLike<number> | undefined,
    merges: metadata.strings("tokenizer.ggml.merges"),
    bosTokenId: integer("bos_token_id"),
    eosTokenId: integer("eos_token_id"),
    eotTokenId: integer("eot_token_id"),
    unknownTokenId: integer("unknown_token_id"),
    paddingTokenId: integer("padding_token_id"),
    addBosToken: boolean("add_bos_token"),
    addEosToken: boolean("add_eos_token"),
    addSpacePrefix: boolean("add_space_prefix"),
    removeExtraWhitespaces: boolean("remove_extra_whitespaces"),
    chatTemplate: metadata.text("tokenizer.chat_template"),
  };
}
