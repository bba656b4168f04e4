import type { GgufMetadata } from "../checkpoint/gguf-metadata.js";
import { CheckpointError } from "../errors.js";
import type { GgufTokenizerMetadata } from "./gguf-tokens.js";

/** Reads the tokenizer's keys of a GGUF file. Throws BAD_FILE where one is missing or has the wrong type, by its name. */
export function readGgufTokenizerMetadata(metadata: GgufMetadata): GgufTokenizerMetadata {
  const key = (name: string): string => `tokenizer.ggml.${name}`;
  const required = <Value>(name: string, value: Value | undefined): Value => {
    if (value !== undefined) return value;
    throw new CheckpointError("BAD_FILE", `Expected ${key(name)} in ${metadata.path}, got a file without it.`);
  };
  if (metadata.has(key("precompiled_charsmap"))) {
    throw new CheckpointError(
      "UNSUPPORTED",
      `Expected no ${key("precompiled_charsmap")} in ${metadata.path}: its normalisation is not implemented.`,
    );
  }
  return {
    model: required("model", metadata.text(key("model"))),
    pre: metadata.text(key("pre")),
    architecture: metadata.text("general.architecture"),
    tokens: required("tokens", metadata.strings(key("tokens"))),
    tokenTypes: Int32Array.from(required("token_type", metadata.numbers(key("token_type"), "integers")), Number),
    scores: metadata.numbers(key("scores"), "floats") as Float32Array | undefined,
    merges: metadata.strings(key("merges")),
    bosTokenId: metadata.integer(key("bos_token_id")),
    eosTokenId: metadata.integer(key("eos_token_id")),
    eotTokenId: metadata.integer(key("eot_token_id")),
    unknownTokenId: metadata.integer(key("unknown_token_id")),
    paddingTokenId: metadata.integer(key("padding_token_id")),
    addBosToken: metadata.boolean(key("add_bos_token")),
    addEosToken: metadata.boolean(key("add_eos_token")),
    addSpacePrefix: metadata.boolean(key("add_space_prefix")),
    removeExtraWhitespaces: metadata.boolean(key("remove_extra_whitespaces")),
    chatTemplate: metadata.text("tokenizer.chat_template"),
  };
}
