import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { CheckpointError, fromSystemError, MoescopeError } from "../errors.js";
import { ChatTemplate, type TemplateSource } from "./chat-template.js";
import { type ModelText, type ModelTextOptions, specialTokenTexts } from "./model-text.js";
import { Tokenizer } from "./tokenizer.js";
import { checkTokenizerJson, parseJsonObject, type TokenizerConfigJson, withAddedTokens } from "./tokenizer-json.js";

/** The text files of a Hugging Face model; null where the folder has no such file. */
export interface TokenizerFiles {
  tokenizerJson: string | null;
  tokenizerConfig: string | null;
  chatTemplate: string | null;
}

/**
 * Builds the tokenizer and the chat template from tokenizer.json, tokenizer_config.json and chat_template.jinja; `source` is the
 * folder, for errors. Throws NOT_FOUND, NO_PERMISSION, BAD_FILE or UNSUPPORTED, naming the file.
 */
export async function tokenizerFromFiles(
  files: TokenizerFiles,
  source: string,
  options: ModelTextOptions = {},
): Promise<ModelText> {
  const path = files.tokenizerJson;
  if (path === null) {
    throw new CheckpointError("NOT_FOUND", `Expected a tokenizer.json in ${source}, got a folder without one.`);
  }
  const text = await readText(path);
  const json = checkTokenizerJson(parseJsonObject(text, path), path);
  const config: TokenizerConfigJson =
    files.tokenizerConfig === null ? {} : parseJsonObject(await readText(files.tokenizerConfig), files.tokenizerConfig);
  const tokenizer = new Tokenizer(withAddedTokens(json, config, files.tokenizerConfig ?? path), path, {
    config,
    sha256: createHash("sha256").update(text, "utf8").digest("hex"),
    spaceAfterSpecial: options.spaceAfterSpecial,
    eosTokenIds: options.eosTokenIds,
  });
  const found = await findTemplate(files.chatTemplate, config, options.chatTemplate);
  return {
    tokenizer,
    chatTemplate:
      found === null ? null : new ChatTemplate(found.text, found.source, { specialTokens: specialTokenTexts(config) }),
  };
}

/** The caller's template, else chat_template.jinja, else the one in tokenizer_config.json (of several: "default"). */
async function findTemplate(
  path: string | null,
  config: TokenizerConfigJson,
  given: string | undefined,
): Promise<{ text: string; source: TemplateSource } | null> {
  if (given !== undefined) return { text: given, source: "caller" };
  if (path !== null) return { text: await readText(path), source: "chat_template.jinja" };
  const { chat_template: inConfig } = config;
  const text = Array.isArray(inConfig) ? inConfig.find(({ name }) => name === "default")?.template : inConfig;
  return typeof text === "string" ? { text, source: "tokenizer_config.json" } : null;
}

/** A file's text. Bytes that are not UTF-8 are an error: a tokenizer must not guess. */
async function readText(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const known = fromSystemError(error, `read ${path}`);
    if (!(known instanceof MoescopeError)) throw known;
    const { code } = known;
    throw code === "NOT_FOUND" || code === "NO_PERMISSION"
      ? new CheckpointError(code, known.message, { cause: error })
      : known;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError("BAD_FILE", `Expected UTF-8 text in ${path}, got other bytes.`, { cause });
  }
}
