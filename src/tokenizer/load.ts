import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { CheckpointError, fromSystemError, MoescopeError } from "../errors.js";
import { ChatTemplate, type SpecialTokenTexts, type TemplateSource } from "./chat-template.js";
import { Tokenizer, type TokenizerOptions } from "./tokenizer.js";
import { checkTokenizerJson, parseJsonObject, type TokenizerConfigJson } from "./tokenizer-json.js";

/** The text side of a model: its tokenizer, and its chat template where it has one. */
export interface ModelText {
  tokenizer: Tokenizer;
  chatTemplate: ChatTemplate | null;
}

export interface LoadTokenizerOptions {
  /** Whether text after a special token gets its own prefix space; default from the files. */
  spaceAfterSpecial?: boolean;
  /** Use this template in place of the model's. */
  chatTemplate?: string;
  eosTokenIds?: TokenizerOptions["eosTokenIds"];
}

/**
 * Reads tokenizer.json, tokenizer_config.json and chat_template.jinja of a Hugging Face model folder; the last two may be
 * missing. Throws NOT_FOUND, NO_PERMISSION, BAD_FILE or UNSUPPORTED, naming the file.
 */
export async function loadTokenizer(folder: string, options: LoadTokenizerOptions = {}): Promise<ModelText> {
  const path = join(folder, "tokenizer.json");
  const text = await readText(path);
  if (text === null) {
    throw new CheckpointError("NOT_FOUND", `Expected a tokenizer.json in ${folder}, got a folder without one.`);
  }
  const json = checkTokenizerJson(parseJsonObject(text, path), path);
  const configPath = join(folder, "tokenizer_config.json");
  const configText = await readText(configPath);
  const config: TokenizerConfigJson = configText === null ? {} : parseJsonObject(configText, configPath);
  const tokenizer = new Tokenizer(json, path, {
    config,
    spaceAfterSpecial: options.spaceAfterSpecial,
    eosTokenIds: options.eosTokenIds,
  });
  const specialTokens = specialTokenTexts(config);
  const found = await findTemplate(folder, config, options.chatTemplate);
  return {
    tokenizer,
    chatTemplate: found === null ? null : new ChatTemplate(found.text, found.source, specialTokens),
  };
}

/** The special tokens that a template may name, as transformers hands them over. */
export function specialTokenTexts(config: TokenizerConfigJson): SpecialTokenTexts {
  const texts: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "pad_token", "unk_token"] as const) {
    const token = config[name];
    if (token !== null && token !== undefined) texts[name] = typeof token === "string" ? token : token.content;
  }
  return texts;
}

/** The caller's template, else chat_template.jinja, else the one in tokenizer_config.json (of several: "default"). */
async function findTemplate(
  folder: string,
  config: TokenizerConfigJson,
  given: string | undefined,
): Promise<{ text: string; source: TemplateSource } | null> {
  if (given !== undefined) return { text: given, source: "caller" };
  const file = await readText(join(folder, "chat_template.jinja"));
  if (file !== null) return { text: file, source: "chat_template.jinja" };
  const { chat_template: inConfig } = config;
  const text = Array.isArray(inConfig) ? inConfig.find(({ name }) => name === "default")?.template : inConfig;
  return typeof text === "string" ? { text, source: "tokenizer_config.json" } : null;
}

/** A file's text, or null where there is none. Bytes that are not UTF-8 are an error: a tokenizer must not guess. */
async function readText(path: string): Promise<string | null> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const known = fromSystemError(error, `read ${path}`);
    if (known instanceof MoescopeError && known.code === "NOT_FOUND") return null;
    throw known;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError("BAD_FILE", `Expected UTF-8 text in ${basename(path)} (${path}), got other bytes.`, {
      cause,
    });
  }
}
