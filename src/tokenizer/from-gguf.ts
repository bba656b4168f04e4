import { CheckpointError } from "../errors.js";
import { ChatTemplate } from "./chat-template.js";
import { byteLevelJson } from "./gguf-byte-level.js";
import { sentencePieceJson } from "./gguf-sentencepiece.js";
import {
  bytesAndText,
  type GeneratedTokenizer,
  type GgufToken,
  type GgufTokenizerMetadata,
  TOKEN_TYPE,
} from "./gguf-tokens.js";
import { type ModelText, type ModelTextOptions, specialTokenTexts } from "./model-text.js";
import { Tokenizer } from "./tokenizer.js";
import { checkTokenizerJson, type TokenizerConfigJson } from "./tokenizer-json.js";

/**
 * Builds the tokenizer, and the chat template if there is one, from GGUF metadata alone, by writing the tokenizer.json that
 * Hugging Face's converters would have written. `source` names the file in errors.
 *
 * Throws UNSUPPORTED for a `model` or `pre` that is not known, by its name, and BAD_FILE for metadata that contradict themselves.
 */
export function tokenizerFromGguf(
  metadata: GgufTokenizerMetadata,
  source: string,
  options: ModelTextOptions = {},
): ModelText {
  const tokens = readTokens(metadata, source);
  const rules = specialRules(metadata, tokens);
  const { json, decodeOnly } = generate(metadata, tokens, rules.addSpacePrefix, source);
  const config = configOf(metadata, tokens, rules, source);
  const tokenizer = new Tokenizer(checkTokenizerJson(json, source), source, {
    config,
    spaceAfterSpecial: options.spaceAfterSpecial,
    eosTokenIds: [...turnEnds(metadata, tokens), ...(options.eosTokenIds ?? [])],
    decodeOnly,
    warnings: rules.warnings,
  });
  return { tokenizer, chatTemplate: findTemplate(metadata, config, options) };
}

/** The caller's template, else ollama's layer, else the one in the metadata. A caller's template stands for itself. */
function findTemplate(
  metadata: GgufTokenizerMetadata,
  config: TokenizerConfigJson,
  { chatTemplate: given, ollama }: ModelTextOptions,
): ChatTemplate | null {
  const specialTokens = specialTokenTexts(config);
  if (given !== undefined) return new ChatTemplate(given, "caller", { specialTokens });
  const leading = ollama?.messages;
  if (typeof ollama?.template === "string") return new ChatTemplate(ollama.template, "ollama layer", { leading });
  if (metadata.chatTemplate === undefined) return null;
  return new ChatTemplate(metadata.chatTemplate, "GGUF metadata", { specialTokens, leading });
}

function generate(
  metadata: GgufTokenizerMetadata,
  tokens: readonly GgufToken[],
  addSpacePrefix: boolean,
  source: string,
): GeneratedTokenizer {
  if (metadata.removeExtraWhitespaces === true) {
    throw new CheckpointError(
      "UNSUPPORTED",
      `Expected no tokenizer.ggml.remove_extra_whitespaces in ${source}, got true, which is not implemented.`,
    );
  }
  switch (metadata.model) {
    case "gpt2":
      return byteLevelJson(metadata, tokens, source);
    case "llama":
      return sentencePieceJson(metadata, tokens, addSpacePrefix, source);
    default:
      throw new CheckpointError(
        "UNSUPPORTED",
        `Expected "gpt2" or "llama" for tokenizer.ggml.model in ${source}, got ${JSON.stringify(metadata.model)}.`,
      );
  }
}

function readTokens(metadata: GgufTokenizerMetadata, source: string): GgufToken[] {
  const { tokens, tokenTypes } = metadata;
  if (tokenTypes.length !== tokens.length) {
    throw new CheckpointError(
      "BAD_FILE",
      `Expected one tokenizer.ggml.token_type for each of ${tokens.length} tokens in ${source}, got ${tokenTypes.length}.`,
    );
  }
  return Array.from({ length: tokens.length }, (_, id) => ({
    id,
    ...bytesAndText(tokens.at(id)!),
    type: tokenTypes[id]!,
  }));
}

const TURN_ENDS: ReadonlySet<string | undefined> = new Set(["<|im_end|>", "<|endoftext|>", "</s>"]);

/**
 * Tokens that end a generation beside EOS: a GGUF file names one, where generation_config.json of the same model lists all
 * (Qwen: two; Yi: the text's end in the config, the turn's end in chats). Control tokens only: Qwen has an ordinary `</s>`.
 */
function turnEnds(metadata: GgufTokenizerMetadata, tokens: readonly GgufToken[]): number[] {
  const known = tokens
    .filter(({ text, type }) => type === TOKEN_TYPE.CONTROL && TURN_ENDS.has(text))
    .map(({ id }) => id);
  return metadata.eotTokenId === undefined ? known : [metadata.eotTokenId, ...known];
}

interface SpecialRules {
  addBosToken: boolean;
  addEosToken: boolean;
  addSpacePrefix: boolean;
  warnings: string[];
}

/**
 * Defaults of keys that a file lacks: BOS and a space prefix for `llama`, neither for `gpt2`, as in llama.cpp.
 *
 * One exception: Yi's vocabulary was trained without a prefix space and is used without BOS, but older conversions write
 * neither key, and llama.cpp's defaults then give wrong ids for almost every text. Such a file is read by Yi's rule, with a
 * warning.
 */
function specialRules(metadata: GgufTokenizerMetadata, tokens: readonly GgufToken[]): SpecialRules {
  const { addBosToken, addSpacePrefix, addEosToken = false } = metadata;
  const isLlama = metadata.model === "llama";
  const stated = addBosToken !== undefined && addSpacePrefix !== undefined;
  const yiLike = isLlama && !stated && looksLikeYi(metadata, tokens);
  const fallback = isLlama && !yiLike;
  const rules = {
    addBosToken: addBosToken ?? fallback,
    addSpacePrefix: addSpacePrefix ?? fallback,
    addEosToken,
  };
  const missing = [
    ...(addBosToken === undefined ? ["tokenizer.ggml.add_bos_token"] : []),
    ...(addSpacePrefix === undefined ? ["tokenizer.ggml.add_space_prefix"] : []),
  ].join(" and ");
  const warnings = yiLike
    ? [
        `The vocabulary looks like Yi's, but the file lacks ${missing}: read as Yi is used (false), ` +
          "where llama.cpp would assume true; compare token ids with the original tokenizer before you trust scores.",
      ]
    : [];
  return { ...rules, warnings };
}

function looksLikeYi(metadata: GgufTokenizerMetadata, tokens: readonly GgufToken[]): boolean {
  const hasTurns = tokens.some(({ text, type }) => text === "<|im_start|>" && type !== TOKEN_TYPE.NORMAL);
  return hasTurns && (tokens.length === 64000 || tokens[metadata.bosTokenId ?? 1]?.text === "<|startoftext|>");
}

function configOf(
  metadata: GgufTokenizerMetadata,
  tokens: readonly GgufToken[],
  rules: SpecialRules,
  source: string,
): TokenizerConfigJson {
  const named = (id: number | undefined, key: string): string | null => {
    if (id === undefined) return null;
    const text = tokens[id]?.text;
    if (text !== undefined) return text;
    throw new CheckpointError(
      "BAD_FILE",
      `Expected a token's id, 0 to ${tokens.length - 1}, for tokenizer.ggml.${key}_token_id in ${source}, got ${id}.`,
    );
  };
  return {
    bos_token: named(metadata.bosTokenId, "bos"),
    eos_token: named(metadata.eosTokenId, "eos"),
    pad_token: named(metadata.paddingTokenId, "padding"),
    unk_token: named(metadata.unknownTokenId, "unknown"),
    add_bos_token: rules.addBosToken,
    add_eos_token: rules.addEosToken,
  };
}
