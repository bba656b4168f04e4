/** What a GGUF file says about text, from a model's tokenizer.json, tokenizer_config.json and chat template. */
import { readFile } from "node:fs/promises";
import type { Checkpoint, TokenizerSource } from "../checkpoint/checkpoint.js";
import type { GgufValue } from "../checkpoint/gguf-values.js";
import { unsupported } from "../checkpoint/refuse.js";
import { prefixRule, surroundingIds, withToken } from "../tokenizer/around-text.js";
import { preTokenizerName } from "../tokenizer/gguf-byte-level.js";
import { TOKEN_TYPE } from "../tokenizer/gguf-tokens.js";
import { loadModelText } from "../tokenizer/load.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import {
  checkTokenizerJson,
  flatten,
  parseJsonObject,
  type TokenizerConfigJson,
  type TokenizerJson,
  withAddedTokens,
} from "../tokenizer/tokenizer-json.js";
import { countValue, flagValue, textsValue, textValue } from "./gguf-entries.js";

const BYTE_PIECE = /^<0x[0-9A-F]{2}>$/;
/** Texts that end a turn of a chat. */
const TURN_END = /^<\|(im_end|eot_id|im_sep)\|>$/;

type Files = Extract<TokenizerSource, { kind: "files" }>;

/** The keys `tokenizer.*`. Throws UNSUPPORTED where GGUF has no word for the way a tokenizer works. */
export async function tokenizerKeys(checkpoint: Checkpoint, files: Files): Promise<Map<string, GgufValue>> {
  const { tokenizer, chatTemplate } = await loadModelText(files, checkpoint.path);
  const json = await readTokenizer(files);
  const keys = new Map<string, GgufValue>();
  const put = (key: string, value: GgufValue) => keys.set(`tokenizer.ggml.${key}`, value);
  const isSentencePiece = json.tokenizer.model.byte_fallback === true;
  const vocabulary = vocabularyOf(json.tokenizer, checkpoint.config.vocabSize, isSentencePiece);
  put("model", textValue(isSentencePiece ? "llama" : "gpt2"));
  put("pre", textValue(isSentencePiece ? "default" : byteLevelName(json.tokenizer, files.tokenizerJson!)));
  put("tokens", textsValue(vocabulary.texts));
  if (isSentencePiece) {
    refuseOtherNormalisers(json.tokenizer, files.tokenizerJson!);
    put("scores", { type: "array", of: "f32", value: scoresOf(vocabulary.texts, mergesOf(json.tokenizer)) });
  }
  put("token_type", { type: "array", of: "i32", value: vocabulary.types });
  if (!isSentencePiece) put("merges", textsValue(mergesOf(json.tokenizer).map((pair) => pair.join(" "))));
  for (const [key, value] of specialTokenKeys(checkpoint, tokenizer, vocabulary.texts)) put(key, value);
  for (const [key, value] of aroundTextKeys(json, tokenizer, isSentencePiece)) put(key, value);
  if (chatTemplate !== null) keys.set("tokenizer.chat_template", textValue(chatTemplate.text));
  return keys;
}

interface TokenizerFilesJson {
  tokenizer: TokenizerJson;
  config: TokenizerConfigJson;
  path: string;
}

async function readTokenizer({ tokenizerJson, tokenizerConfig }: Files): Promise<TokenizerFilesJson> {
  const path = tokenizerJson!; // loadModelText has refused a folder without it
  const json = checkTokenizerJson(parseJsonObject(await readFile(path, "utf8"), path), path);
  const config: TokenizerConfigJson =
    tokenizerConfig === null ? {} : parseJsonObject(await readFile(tokenizerConfig, "utf8"), tokenizerConfig);
  return { tokenizer: withAddedTokens(json, config, tokenizerConfig ?? path), config, path };
}

function byteLevelName(json: TokenizerJson, path: string): string {
  const name = preTokenizerName(json);
  if (name !== undefined) return name;
  throw unsupported(`The way in which ${path} cuts text into words has no name in GGUF that moescope reads.`);
}

/** SentencePiece in GGUF only marks spaces. */
function refuseOtherNormalisers(json: TokenizerJson, path: string): void {
  const other = flatten(json.normalizer).find(({ type }) => type !== "Prepend" && type !== "Replace");
  if (other !== undefined) throw unsupported(`The normaliser ${other.type} of ${path} has no place in a GGUF file.`);
}

/** A token for each row of the embedding; rows without one are padding. */
function vocabularyOf(
  json: TokenizerJson,
  rows: number,
  isSentencePiece: boolean,
): { texts: string[]; types: Int32Array } {
  const texts = Array.from({ length: rows }, (_, id) => `[PAD${id}]`);
  const types = new Int32Array(rows).fill(TOKEN_TYPE.UNUSED);
  for (const [text, id] of Object.entries(json.model.vocab)) {
    if (id >= rows) continue;
    texts[id] = text;
    types[id] = isSentencePiece && BYTE_PIECE.test(text) ? TOKEN_TYPE.BYTE : TOKEN_TYPE.NORMAL;
  }
  for (const { id, content, special } of json.added_tokens) {
    if (id >= rows) continue;
    texts[id] = content;
    types[id] = special ? TOKEN_TYPE.CONTROL : TOKEN_TYPE.USER_DEFINED;
  }
  const unknown = json.model.unk_token;
  const unknownId = typeof unknown === "string" ? json.model.vocab[unknown] : undefined;
  if (isSentencePiece && unknownId !== undefined && unknownId < rows) types[unknownId] = TOKEN_TYPE.UNKNOWN;
  return { texts, types };
}

function mergesOf(json: TokenizerJson): [string, string][] {
  return json.model.merges.map((merge) => {
    if (typeof merge !== "string") return merge;
    const space = merge.indexOf(" ", 1);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

/**
 * SentencePiece joins the pair whose union scores highest. tokenizer.json has the order of the unions, not the scores: each
 * union that was not there before scores one less than the last; what no merge gives scores lowest.
 */
function scoresOf(texts: readonly string[], merges: readonly [string, string][]): Float32Array {
  const rank = new Map<string, number>();
  for (const [left, right] of merges) {
    const union = left + right;
    if (!rank.has(union)) rank.set(union, rank.size);
  }
  return Float32Array.from(texts, (text) => -(rank.get(text) ?? rank.size));
}

/** Ids of special tokens. A GGUF file has one place each for the ends of a text, a turn and a message; all three end a generation. */
function* specialTokenKeys(
  { config }: Checkpoint,
  tokenizer: Tokenizer,
  texts: readonly string[],
): Generator<[string, GgufValue]> {
  const eos = tokenizer.eosTokenId ?? config.eosTokenIds[0];
  const bos = tokenizer.bosTokenId ?? config.bosTokenId;
  if (eos !== undefined) yield ["eos_token_id", countValue(eos)];
  if (bos !== null) yield ["bos_token_id", countValue(bos)];
  const others = config.eosTokenIds.filter((id) => id !== eos);
  const turn = others.find((id) => TURN_END.test(texts[id] ?? ""));
  const message = others.find((id) => id !== turn);
  if (turn !== undefined) yield ["eot_token_id", countValue(turn)];
  if (message !== undefined) yield ["eom_token_id", countValue(message)];
  if (tokenizer.unkTokenId !== null) yield ["unknown_token_id", countValue(tokenizer.unkTokenId)];
  if (tokenizer.padTokenId !== null) yield ["padding_token_id", countValue(tokenizer.padTokenId)];
}

/** BOS, EOS and the space before a text. Byte-level files leave unsaid what nobody stated. */
function* aroundTextKeys(
  { tokenizer: json, config, path }: TokenizerFilesJson,
  tokenizer: Tokenizer,
  isSentencePiece: boolean,
): Generator<[string, GgufValue]> {
  const around = surroundingIds(json.post_processor, path);
  const { bosTokenId: bos, eosTokenId: eos } = tokenizer;
  const addsBos = bos !== null && withToken(around.prefix, bos, config.add_bos_token).includes(bos);
  const addsEos = eos !== null && withToken(around.suffix, eos, config.add_eos_token).includes(eos);
  if (isSentencePiece || addsBos || config.add_bos_token !== undefined) yield ["add_bos_token", flagValue(addsBos)];
  if (isSentencePiece || addsEos || config.add_eos_token !== undefined) yield ["add_eos_token", flagValue(addsEos)];
  if (isSentencePiece) yield ["add_space_prefix", flagValue(prefixRule(json) !== "none")];
}
