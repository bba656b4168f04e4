import { readJsonFile } from "./json-file.js";
import type { JsonObject, JsonValue } from "./strict-json.js";

/**
 * The id of the end-of-text token that tokenizer_config.json names, in a list of one; empty where the files do not say. Only a
 * stop token is looked for here: what is wrong with a tokenizer is said when it is built.
 * @throws CheckpointError for files that are no JSON
 */
export function tokenizerEos(files: { tokenizerJson: string | null; tokenizerConfig: string | null }): number[] {
  if (files.tokenizerConfig === null) return [];
  const config = readJsonFile(files.tokenizerConfig);
  const text = contentOf(config.eos_token);
  if (text === undefined) return [];
  for (const [id, token] of Object.entries(objectOf(config.added_tokens_decoder))) {
    if (contentOf(token) === text) return [Number(id)];
  }
  if (files.tokenizerJson === null) return [];
  const tokenizer = readJsonFile(files.tokenizerJson);
  const added = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens : [];
  const id = added.map(objectOf).find((token) => token.content === text)?.id;
  const fromVocabulary = objectOf(objectOf(tokenizer.model).vocab)[text];
  return [id, fromVocabulary].filter((value) => typeof value === "number").slice(0, 1);
}

/** Special tokens are written as text, or as an object that holds it. */
function contentOf(token: JsonValue | undefined): string | undefined {
  const content = typeof token === "string" ? token : objectOf(token).content;
  return typeof content === "string" ? content : undefined;
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}
