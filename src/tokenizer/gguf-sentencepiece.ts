import { CheckpointError } from "../errors.js";
import {
  addedToken,
  type GeneratedTokenizer,
  type GgufToken,
  type GgufTokenizerMetadata,
  TOKEN_TYPE,
  VocabularyBuilder,
} from "./gguf-tokens.js";

const SPACE_MARK = "\u2581";

/** The tokenizer.json of a SentencePiece BPE vocabulary with byte fallback (`tokenizer.ggml.model = llama`). */
export function sentencePieceJson(
  metadata: GgufTokenizerMetadata,
  tokens: readonly GgufToken[],
  addSpacePrefix: boolean,
  source: string,
): GeneratedTokenizer {
  const { scores } = metadata;
  if (scores === undefined || scores.length !== tokens.length) {
    throw new CheckpointError(
      "BAD_FILE",
      `Expected one of tokenizer.ggml.scores for each of ${tokens.length} tokens in ${source}, got ${scores?.length ?? "none"}.`,
    );
  }
  const vocabulary = new VocabularyBuilder();
  const used = tokens.filter(({ type }) => type !== TOKEN_TYPE.UNUSED);
  for (const token of used) vocabulary.add(token);
  const isAdded = ({ type }: GgufToken): boolean =>
    type === TOKEN_TYPE.UNKNOWN || type === TOKEN_TYPE.CONTROL || type === TOKEN_TYPE.USER_DEFINED;
  const unknown =
    used.find(({ type }) => type === TOKEN_TYPE.UNKNOWN)?.text ?? tokens[metadata.unknownTokenId ?? -1]?.text;
  const json = {
    added_tokens: used.filter((token) => isAdded(token) && token.text !== undefined).map(addedToken),
    normalizer: {
      type: "Sequence",
      normalizers: [
        ...(addSpacePrefix ? [{ type: "Prepend", prepend: SPACE_MARK }] : []),
        { type: "Replace", pattern: { String: " " }, content: SPACE_MARK },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: SPACE_MARK }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addSpacePrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      unk_token: unknown ?? null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: vocabulary.vocab,
      merges: mergesFromScores(tokens, scores),
    },
  };
  return { json, decodeOnly: vocabulary.decodeOnly };
}

/**
 * SentencePiece joins the adjacent pair whose union has the highest score; a list of merges says the same when every way to
 * cut a piece into two is ranked by the piece's score. Equal scores: longer left part first, then longer right part, then the
 * order of the vocabulary, as Hugging Face's converter sorts them. Only normal pieces are made of, and make, others.
 */
function mergesFromScores(tokens: readonly GgufToken[], scores: ArrayLike<number>): [string, string][] {
  const ids = new Map<string, number>();
  for (const { id, text, type } of tokens) {
    if (type === TOKEN_TYPE.NORMAL && text !== undefined && !ids.has(text)) ids.set(text, id);
  }
  const merges: { left: string; right: string; score: number; lengths: [number, number] }[] = [];
  for (const [piece, id] of ids) {
    const points = [...piece];
    const ways = [];
    for (let cut = 1, end = 0; cut < points.length; cut++) {
      end += points[cut - 1]!.length;
      const [left, right] = [piece.slice(0, end), piece.slice(end)];
      if (!ids.has(left) || !ids.has(right)) continue;
      const lengths: [number, number] = [cut, points.length - cut];
      ways.push({ left, right, score: scores[id]!, lengths });
    }
    ways.sort((a, b) => ids.get(a.left)! - ids.get(b.left)! || ids.get(a.right)! - ids.get(b.right)!);
    merges.push(...ways);
  }
  merges.sort((a, b) => b.score - a.score || b.lengths[0] - a.lengths[0] || b.lengths[1] - a.lengths[1]);
  return merges.map(({ left, right }) => [left, right]);
}
