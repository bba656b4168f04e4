import { CheckpointError, describe } from "../errors.js";

/**
 * The part of Hugging Face's tokenizer.json that moescope reads itself. Everything is handed on to the `tokenizers` package,
 * which checks the rest.
 */

/** A normalizer, pre-tokenizer, post-processor or decoder: its `type` and that type's own fields. */
export interface Component {
  type: string;
  [field: string]: unknown;
}

/** A token that is found in raw text before any normalisation or merging. */
export interface AddedTokenJson {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

export interface BpeModelJson {
  type: "BPE";
  vocab: Record<string, number>;
  merges: string[] | [string, string][];
  [field: string]: unknown;
}

export interface TokenizerJson {
  added_tokens: AddedTokenJson[];
  normalizer: Component | null;
  pre_tokenizer: Component | null;
  post_processor: Component | null;
  decoder: Component | null;
  model: BpeModelJson;
  [field: string]: unknown;
}

/** The fields of tokenizer_config.json that change ids or text. */
export interface TokenizerConfigJson {
  add_bos_token?: boolean;
  add_eos_token?: boolean;
  legacy?: boolean;
  bos_token?: string | { content: string } | null;
  eos_token?: string | { content: string } | null;
  pad_token?: string | { content: string } | null;
  unk_token?: string | { content: string } | null;
  /** Added tokens by id; tokenizer.json may lack some of them. */
  added_tokens_decoder?: Record<string, Record<string, unknown>>;
  chat_template?: string | { name: string; template: string }[] | null;
}

/** No vocabulary in use comes near this; a larger id is a broken file, and would make the tables below huge. */
const MAX_TOKEN_ID = 1 << 24;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses JSON text that must hold an object. Throws BAD_FILE with `file` in the sentence. */
export function parseJsonObject(text: string, file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError("BAD_FILE", `Expected JSON in ${file}, got text that does not parse: ${String(cause)}.`, {
      cause,
    });
  }
  if (!isObject(value))
    throw new CheckpointError("BAD_FILE", `Expected a JSON object in ${file}, got ${describe(value)}.`);
  return value;
}

function isTokenId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_TOKEN_ID;
}

function checkAddedToken(value: unknown, index: number, file: string): AddedTokenJson {
  if (!isObject(value) || !isTokenId(value.id) || typeof value.content !== "string" || value.content === "") {
    throw new CheckpointError(
      "BAD_FILE",
      `Expected a token with an id and a non-empty content at added_tokens[${index}] of ${file}, got ${describe(value)}.`,
    );
  }
  const { id, content, single_word = false, lstrip = false, rstrip = false, special = false } = value;
  const normalized = value.normalized ?? !special;
  return { id, content, single_word, lstrip, rstrip, normalized, special } as AddedTokenJson;
}

function checkComponent(value: unknown, name: string, file: string): Component | null {
  if (value === null || value === undefined) return null;
  if (!isObject(value) || typeof value.type !== "string") {
    throw new CheckpointError(
      "BAD_FILE",
      `Expected null or an object with a type for ${name} of ${file}, got ${describe(value)}.`,
    );
  }
  return value as Component;
}

function checkModel(value: unknown, file: string): BpeModelJson {
  if (!isObject(value))
    throw new CheckpointError("BAD_FILE", `Expected an object for model of ${file}, got ${describe(value)}.`);
  // Files written before `type` was added are BPE where they hold merges.
  const type = value.type ?? (Array.isArray(value.merges) ? "BPE" : undefined);
  if (type !== "BPE") {
    throw new CheckpointError(
      "UNSUPPORTED",
      `Expected a tokenizer model of type "BPE" in ${file}, got ${describe(type)}.`,
    );
  }
  if (!isObject(value.vocab) || !Array.isArray(value.merges)) {
    throw new CheckpointError("BAD_FILE", `Expected model.vocab (an object) and model.merges (a list) in ${file}.`);
  }
  for (const [piece, id] of Object.entries(value.vocab)) {
    if (!isTokenId(id)) {
      throw new CheckpointError(
        "BAD_FILE",
        `Expected an id from 0 to ${MAX_TOKEN_ID} for ${describe(piece)} in model.vocab of ${file}, got ${describe(id)}.`,
      );
    }
  }
  return { ...value, type } as unknown as BpeModelJson;
}

/**
 * Checks a parsed tokenizer.json. Throws BAD_FILE where its shape is broken and UNSUPPORTED where its model is not BPE, both
 * with `file` in the sentence. Truncation and padding are dropped: a prompt is never cut in silence.
 */
export function checkTokenizerJson(value: Record<string, unknown>, file: string): TokenizerJson {
  const added = value.added_tokens ?? [];
  if (!Array.isArray(added)) {
    throw new CheckpointError("BAD_FILE", `Expected a list for added_tokens of ${file}, got ${describe(added)}.`);
  }
  return {
    ...value,
    truncation: null,
    padding: null,
    added_tokens: added.map((token, index) => checkAddedToken(token, index, file)),
    normalizer: checkComponent(value.normalizer, "normalizer", file),
    pre_tokenizer: checkComponent(value.pre_tokenizer, "pre_tokenizer", file),
    post_processor: checkComponent(value.post_processor, "post_processor", file),
    decoder: checkComponent(value.decoder, "decoder", file),
    model: checkModel(value.model, file),
  };
}

/**
 * The same tokenizer with the added tokens of tokenizer_config.json's `added_tokens_decoder`, whose flags win, as in transformers.
 * A token that the vocabulary has keeps its id there. Throws BAD_FILE where two tokens want one id.
 */
export function withAddedTokens(json: TokenizerJson, config: TokenizerConfigJson, file: string): TokenizerJson {
  const entries = Object.entries(config.added_tokens_decoder ?? {});
  if (entries.length === 0) return json;
  const added = new Map(json.added_tokens.map((token) => [token.content, token]));
  for (const [key, fields] of entries) {
    const token = checkAddedToken({ ...fields, id: Number(key) }, Number(key), file);
    const known = added.get(token.content)?.id ?? json.model.vocab[token.content];
    added.set(token.content, known === undefined ? token : { ...token, id: known });
  }
  const contents = new Map(Object.entries(json.model.vocab).map(([content, id]) => [id, content]));
  for (const { id, content } of added.values()) {
    const other = contents.get(id) ?? content;
    if (other !== content) {
      throw new CheckpointError(
        "BAD_FILE",
        `Expected one token of id ${id} in ${file}, got ${describe(content)} beside ${describe(other)}.`,
      );
    }
    contents.set(id, content);
  }
  return { ...json, added_tokens: [...added.values()].sort((a, b) => a.id - b.id) };
}

/** A component and, for sequences, all that it holds, in order; the sequences themselves are left out. */
export function flatten(component: Component | null): Component[] {
  if (component === null) return [];
  if (component.type !== "Sequence") return [component];
  const parts = component.normalizers ?? component.pretokenizers ?? component.processors ?? component.decoders;
  return Array.isArray(parts) ? parts.filter(isObject).flatMap((part) => flatten(part as Component)) : [];
}

/** The same component without those parts that `drop` names; null where nothing is left. */
export function without(component: Component | null, drop: (part: Component) => boolean): Component | null {
  if (component === null || drop(component)) return null;
  if (component.type !== "Sequence") return component;
  const copy: Component = { ...component };
  for (const list of ["normalizers", "pretokenizers", "processors", "decoders"]) {
    const parts = component[list];
    if (Array.isArray(parts)) copy[list] = parts.map((part) => without(part, drop)).filter((part) => part !== null);
  }
  return copy;
}
