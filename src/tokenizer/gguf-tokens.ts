import type { AddedTokenJson } from "./tokenizer-json.js";

/** A list of strings as bytes: a plain array, or the packed form of the GGUF reader. */
export interface ByteStrings {
  readonly length: number;
  at(index: number): Uint8Array | undefined;
}

/** What a GGUF file says about its tokenizer: the keys `tokenizer.ggml.*`, absent where the file lacks them. */
export interface GgufTokenizerMetadata {
  /** "gpt2" or "llama". */
  model: string;
  pre?: string;
  /** `general.architecture`: stands in for a missing `pre`. */
  architecture?: string;
  tokens: ByteStrings | readonly string[];
  /** 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  tokenTypes: ArrayLike<number>;
  scores?: ArrayLike<number>;
  merges?: ByteStrings | readonly string[];
  bosTokenId?: number;
  eosTokenId?: number;
  eotTokenId?: number;
  unknownTokenId?: number;
  paddingTokenId?: number;
  addBosToken?: boolean;
  addEosToken?: boolean;
  addSpacePrefix?: boolean;
  /** Normalisation that only other model families use; refused where set. */
  removeExtraWhitespaces?: boolean;
  chatTemplate?: string;
}

/** The types of tokens. */
export const TOKEN_TYPE = { NORMAL: 1, UNKNOWN: 2, CONTROL: 3, USER_DEFINED: 4, UNUSED: 5, BYTE: 6 } as const;

/** One entry of the vocabulary. */
export interface GgufToken {
  id: number;
  bytes: Uint8Array;
  /** Undefined where the bytes are not UTF-8. */
  text: string | undefined;
  type: number;
}

/** A tokenizer.json's content, and the tokens that its vocabulary cannot hold: doubles and bytes that are not UTF-8. */
export interface GeneratedTokenizer {
  json: Record<string, unknown>;
  decodeOnly: ReadonlyMap<number, string | Uint8Array>;
}

/** A string of GGUF metadata in both forms. */
export function bytesAndText(value: string | Uint8Array): { bytes: Uint8Array; text: string | undefined } {
  if (typeof value === "string") return { bytes: Buffer.from(value), text: value };
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8");
  // Only where U+FFFD came out can the bytes have been something else.
  const isText = !text.includes("\uFFFD") || Buffer.from(text).equals(value);
  return { bytes: value, text: isText ? text : undefined };
}

/**
 * Collects a vocabulary for tokenizer.json, whose keys must be different texts. A token that is not UTF-8, or whose text an
 * earlier token has, is never the result of encoding, but a model may still generate it.
 */
export class VocabularyBuilder {
  readonly vocab: Record<string, number> = Object.create(null) as Record<string, number>;
  readonly decodeOnly: Map<number, string | Uint8Array> = new Map();

  add(token: GgufToken): void {
    if (token.text === undefined || token.text in this.vocab) this.decodeOnly.set(token.id, token.text ?? token.bytes);
    else this.vocab[token.text] = token.id;
  }
}

/** Control and unknown tokens are special; user-defined ones count in any text. */
export function addedToken(token: GgufToken): AddedTokenJson {
  return {
    id: token.id,
    content: token.text!,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: token.type !== TOKEN_TYPE.USER_DEFINED,
  };
}
