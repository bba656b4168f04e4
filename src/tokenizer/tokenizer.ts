import { createHash } from "node:crypto";
import { Tokenizer as NativeTokenizer } from "tokenizers";
import { CheckpointError, describe, invalidArgument } from "../errors.js";
import { prefixRule, surroundingIds, withoutPrefix, withToken } from "./around-text.js";
import { type Piece, SpecialTokenSplitter } from "./special-tokens.js";
import { type PieceStyle, pieceBytes, pieceStyleOf } from "./token-bytes.js";
import type { AddedTokenJson, TokenizerConfigJson, TokenizerJson } from "./tokenizer-json.js";

/** What the caller of `encode` chooses. */
export interface EncodeOptions {
  /** Add the tokens that the model expects around a text (BOS for Mixtral, nothing for Qwen). Default true, as in transformers. */
  addSpecial?: boolean;
  /** Read special-token text in `text` as special tokens. Default false: text of users never becomes a special token. */
  parseSpecial?: boolean;
}

export interface DecodeOptions {
  /** Leave special tokens out. Default false. */
  skipSpecial?: boolean;
  /** Drop the one leading space that encoding has put before the text. Default: as the vocabulary's own decoder does. */
  stripLeadingSpace?: boolean;
}

/** Settings that a file does not state, or that the caller knows better. */
export interface TokenizerOptions {
  /** tokenizer_config.json, for BOS, EOS and the `legacy` rule. */
  config?: TokenizerConfigJson;
  /** Whether text after a special token gets its own prefix space (SentencePiece vocabularies only). */
  spaceAfterSpecial?: boolean;
  /** Ids that end a turn beside EOS, where the source names them. */
  eosTokenIds?: readonly number[];
  /** Of the file that `json` was read from, in hexadecimal. */
  sha256?: string;
  /** Pieces, or plain bytes, of tokens that text never gives and `json` cannot name, but a model may generate. */
  decodeOnly?: ReadonlyMap<number, string | Uint8Array>;
  /** What the loader wants its user to know, in sentences. */
  warnings?: readonly string[];
}

/**
 * A BPE tokenizer, byte-level (Qwen) or SentencePiece with byte fallback (Mixtral, Yi), on Hugging Face's `tokenizers` package.
 *
 * Text is encoded by an instance of the package that does not know the special tokens. Those are found by this class, and
 * only in text for which the caller allows it, so no text of a user can become one. Decoding works on bytes, so that a
 * stream (StreamDecoder) and a whole text give the same characters.
 */
export class Tokenizer {
  /** Where the tokenizer came from, for error sentences and provenance. */
  readonly source: string;
  /** Of tokenizer.json, or of the same generated from other metadata; in hexadecimal. */
  readonly sha256: string;
  /** One more than the largest id. Embeddings may have more rows: padding that stands for no text. */
  readonly vocabSize: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly padTokenId: number | null;
  readonly unkTokenId: number | null;
  /** All ids that end a generation, as far as the tokenizer's files say; generation_config may add more. */
  readonly eosTokenIds: readonly number[];
  /** Whether text after a special token gets its own prefix space; false where the vocabulary has no prefix space at all. */
  readonly spaceAfterSpecial: boolean;
  /** Whether decoding from the start drops one leading space. */
  readonly stripsLeadingSpace: boolean;
  /** What its loader wants the user to know, in sentences. */
  readonly warnings: readonly string[];

  private readonly style: PieceStyle;
  private readonly pieces: (string | undefined)[];
  private readonly idOfPiece: ReadonlyMap<string, number>;
  private readonly addedById: ReadonlyMap<number, AddedTokenJson>;
  private readonly bytesById: (Uint8Array | undefined)[] = [];
  private readonly splitter: SpecialTokenSplitter;
  private readonly prefixIds: readonly number[];
  private readonly suffixIds: readonly number[];
  /** Encodes the start of a text. */
  private readonly atStart: NativeTokenizer;
  /** Encodes text that continues after a special token; another instance only where the prefix space must not be put there. */
  private readonly afterSpecial: NativeTokenizer;

  /** `json` must have passed checkTokenizerJson; `source` names its file. Throws BAD_FILE or UNSUPPORTED. */
  constructor(json: TokenizerJson, source: string, options: TokenizerOptions = {}) {
    const { config = {} } = options;
    this.source = source;
    this.warnings = options.warnings ?? [];
    this.sha256 = options.sha256 ?? createHash("sha256").update(JSON.stringify(json)).digest("hex");
    this.style = pieceStyleOf(json, source);
    this.stripsLeadingSpace = this.style.stripsLeadingSpace;
    this.addedById = new Map(json.added_tokens.map((token) => [token.id, token]));
    this.pieces = piecesById(json);
    for (const [id, piece] of options.decodeOnly ?? []) {
      this.bytesById[id] = typeof piece === "string" ? pieceBytes(piece, this.style) : piece;
    }
    this.vocabSize = Math.max(this.pieces.length, this.bytesById.length);
    this.idOfPiece = new Map(this.pieces.flatMap((piece, id) => (piece === undefined ? [] : [[piece, id] as const])));
    this.splitter = new SpecialTokenSplitter(json.added_tokens.filter((token) => token.special));
    this.bosTokenId = this.namedToken(config.bos_token, "bos_token");
    this.eosTokenId = this.namedToken(config.eos_token, "eos_token");
    this.padTokenId = this.namedToken(config.pad_token, "pad_token");
    this.unkTokenId = this.namedToken(config.unk_token ?? (json.model.unk_token as string | null), "unk_token");
    this.eosTokenIds = [...new Set([this.eosTokenId, ...(options.eosTokenIds ?? [])])].filter((id) => id !== null);
    const around = surroundingIds(json.post_processor, source);
    this.prefixIds = withToken(around.prefix, this.bosTokenId, config.add_bos_token);
    this.suffixIds = withToken(around.suffix, this.eosTokenId, config.add_eos_token);
    const prefix = prefixRule(json);
    this.spaceAfterSpecial =
      prefix !== "none" && (options.spaceAfterSpecial ?? config.legacy ?? prefix === "every fragment");
    this.atStart = createNative(json, source);
    this.afterSpecial =
      prefix === "none" || this.spaceAfterSpecial ? this.atStart : createNative(withoutPrefix(json), source);
  }

  /** Token ids of `text`. A lone surrogate is read as U+FFFD. */
  async encode(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    if (typeof text !== "string") throw invalidArgument("text", "a string", text);
    const { addSpecial = true, parseSpecial = false } = options;
    const pieces = parseSpecial ? this.splitter.split(text) : [{ text }];
    return this.join(await this.encodePieces(pieces), addSpecial);
  }

  /**
   * Token ids of a rendered chat: special tokens are found only where `fromTemplate` (one entry per UTF-16 code unit of `text`)
   * is 1. `addSpecial` as in `encode`; a template that writes its own BOS does not want it.
   */
  async encodeTrusted(text: string, fromTemplate: Uint8Array, addSpecial: boolean = false): Promise<Int32Array> {
    if (fromTemplate.length !== text.length) {
      throw invalidArgument("fromTemplate", `${text.length} entries, one for each code unit`, fromTemplate.length);
    }
    return this.join(await this.encodePieces(this.splitter.split(text, fromTemplate)), addSpecial);
  }

  /** The text of `ids`. Bytes that are not UTF-8 become U+FFFD (WHATWG rule); padding rows stand for nothing. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { skipSpecial = false, stripLeadingSpace = this.stripsLeadingSpace } = options;
    const chunks: Uint8Array[] = [];
    for (let i = 0; i < ids.length; i++) {
      if (!(skipSpecial && this.isSpecial(ids[i]!))) chunks.push(this.tokenBytes(ids[i]!));
    }
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Buffer.concat(chunks));
    return stripLeadingSpace && text.startsWith(" ") ? text.slice(1) : text;
  }

  /** The piece as the vocabulary writes it ("Ġthe", "▁the", "<0x0A>"), or undefined for a padding row. */
  tokenPiece(id: number): string | undefined {
    return this.pieces[this.checkId(id)];
  }

  /** The bytes that a token stands for; empty for a padding row. Do not change them: they are shared. */
  tokenBytes(id: number): Uint8Array {
    const known = this.bytesById[this.checkId(id)];
    if (known !== undefined) return known;
    const added = this.addedById.get(id);
    const piece = this.pieces[id];
    const bytes =
      added !== undefined
        ? Buffer.from(added.content)
        : piece === undefined
          ? new Uint8Array()
          : pieceBytes(piece, this.style);
    this.bytesById[id] = bytes;
    return bytes;
  }

  /** The id of a piece as the vocabulary writes it, or undefined. */
  tokenId(piece: string): number | undefined {
    return this.idOfPiece.get(piece);
  }

  /** Whether this is a special token: one that `skipSpecial` leaves out and that text alone never gives. */
  isSpecial(id: number): boolean {
    return this.addedById.get(id)?.special === true;
  }

  private checkId(id: number): number {
    if (!Number.isInteger(id) || id < 0) throw invalidArgument("a token id", "a whole number from 0", id);
    return id;
  }

  private namedToken(name: string | { content: string } | null | undefined, field: string): number | null {
    if (name === null || name === undefined) return null;
    const content = typeof name === "string" ? name : name.content;
    const id = this.idOfPiece.get(content);
    // A missing padding or unknown token changes nothing here; without its BOS or EOS a model does not stop where it should.
    if (id === undefined && (field === "pad_token" || field === "unk_token")) return null;
    if (id === undefined) {
      throw new CheckpointError(
        "BAD_FILE",
        `Expected ${field} of the tokenizer's config to be in the vocabulary of ${this.source}, got ${describe(content)}.`,
      );
    }
    return id;
  }

  private async encodePieces(pieces: readonly Piece[]): Promise<(readonly number[])[]> {
    return Promise.all(
      pieces.map(async (piece, index) => {
        if ("id" in piece) return [piece.id];
        const encoder = index === 0 ? this.atStart : this.afterSpecial;
        return encodeText(encoder, piece.text, this.source);
      }),
    );
  }

  private join(lists: readonly (readonly number[])[], addSpecial: boolean): Int32Array {
    const all = addSpecial ? [this.prefixIds, ...lists, this.suffixIds] : lists;
    const ids = new Int32Array(all.reduce((sum, list) => sum + list.length, 0));
    let offset = 0;
    for (const list of all) {
      ids.set(list, offset);
      offset += list.length;
    }
    return ids;
  }
}

function piecesById(json: TokenizerJson): (string | undefined)[] {
  const pieces: (string | undefined)[] = [];
  for (const [piece, id] of Object.entries(json.model.vocab)) pieces[id] = piece;
  for (const token of json.added_tokens) pieces[token.id] = token.content;
  // An array with holes is slow to read, so the rows between are said to be undefined.
  return Array.from(pieces);
}

/** Some contradictions of a tokenizer.json show only when a text meets them. Throws BAD_FILE. */
async function encodeText(encoder: NativeTokenizer, text: string, source: string): Promise<number[]> {
  try {
    return (await encoder.encode(text, null, { addSpecialTokens: false })).getIds();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError("BAD_FILE", `Expected a tokenizer that can encode any text in ${source}: ${reason}.`, {
      cause,
    });
  }
}

/**
 * The native instance for text. It knows the added tokens that are not special (they count in any text) but no special one.
 * Non-special tokens are put into the vocabulary too: the package numbers added tokens by itself where it finds none there.
 */
function createNative(json: TokenizerJson, source: string): NativeTokenizer {
  const known = json.added_tokens.filter((token) => !token.special);
  const vocab = { ...json.model.vocab };
  for (const token of known) vocab[token.content] = token.id;
  const text = JSON.stringify({
    ...json,
    added_tokens: known,
    post_processor: null,
    model: { ...json.model, vocab },
  });
  try {
    return NativeTokenizer.fromString(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError(
      "BAD_FILE",
      `Expected a tokenizer that the tokenizers package can read in ${source}: ${reason}.`,
      {
        cause,
      },
    );
  }
}
