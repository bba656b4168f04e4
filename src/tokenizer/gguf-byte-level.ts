import { CheckpointError } from "../errors.js";
import {
  addedToken,
  bytesAndText,
  type GeneratedTokenizer,
  type GgufToken,
  type GgufTokenizerMetadata,
  TOKEN_TYPE,
  VocabularyBuilder,
} from "./gguf-tokens.js";
import { type Component, flatten, type TokenizerJson } from "./tokenizer-json.js";

/** Qwen's split into words; contractions without case, every digit alone. */
const QWEN2_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };

/** How text is normalised and cut into words, by `tokenizer.ggml.pre`. */
const PRE_TOKENIZERS: Readonly<Record<string, { normalizer: unknown; pre_tokenizer: unknown }>> = {
  qwen2: {
    // llama.cpp leaves NFC out; the model was trained with it.
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: QWEN2_PATTERN }, behavior: "Isolated", invert: false },
        { ...BYTE_LEVEL, use_regex: false },
      ],
    },
  },
  smollm: {
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Digits", individual_digits: true },
        { ...BYTE_LEVEL, use_regex: true },
      ],
    },
  },
};

/** Padding up to the rows of the embedding; older converters type it as user-defined, newer ones as unused. */
const PADDING = /^\[PAD\d+\]$/;

/** The tokenizer.json of a byte-level BPE vocabulary (`tokenizer.ggml.model = gpt2`). */
export function byteLevelJson(
  metadata: GgufTokenizerMetadata,
  tokens: readonly GgufToken[],
  source: string,
): GeneratedTokenizer {
  const vocabulary = new VocabularyBuilder();
  const added = [];
  for (const token of tokens) {
    if (token.type === TOKEN_TYPE.UNUSED || (token.text !== undefined && PADDING.test(token.text))) continue;
    const isAdded =
      token.type === TOKEN_TYPE.CONTROL || token.type === TOKEN_TYPE.USER_DEFINED || token.type === TOKEN_TYPE.UNKNOWN;
    if (isAdded && token.text !== undefined) added.push(addedToken(token));
    else vocabulary.add(token);
  }
  const json = {
    added_tokens: added,
    ...preTokenizer(metadata, source),
    post_processor: null,
    decoder: { ...BYTE_LEVEL, use_regex: false },
    model: { type: "BPE", vocab: vocabulary.vocab, merges: readMerges(metadata, source) },
  };
  return { json, decodeOnly: vocabulary.decodeOnly };
}

/** The `tokenizer.ggml.pre` whose rules are those of a tokenizer.json; undefined where there is none. */
export function preTokenizerName(json: TokenizerJson): string | undefined {
  const rules = rulesOf(json.normalizer, json.pre_tokenizer);
  return Object.entries(PRE_TOKENIZERS).find(
    ([, known]) => rulesOf(known.normalizer as Component | null, known.pre_tokenizer as Component) === rules,
  )?.[0];
}

/** What text is normalised and cut by, without the fields that only move offsets. */
function rulesOf(...components: (Component | null)[]): string {
  const rules = components.flatMap(flatten).map((part) => {
    const { type, pattern, behavior, invert, individual_digits, add_prefix_space, use_regex } = part;
    const fields =
      type === "ByteLevel" ? { add_prefix_space, use_regex: use_regex ?? true } : { pattern, behavior, invert };
    return { type, individual_digits, ...fields };
  });
  return JSON.stringify(rules);
}

function preTokenizer(metadata: GgufTokenizerMetadata, source: string): Record<string, unknown> {
  // Files from before the key existed.
  const isQwen = metadata.architecture === "qwen2" || metadata.architecture === "qwen2moe";
  const name = metadata.pre ?? (isQwen ? "qwen2" : undefined);
  if (name !== undefined && Object.hasOwn(PRE_TOKENIZERS, name)) return PRE_TOKENIZERS[name]!;
  const known = Object.keys(PRE_TOKENIZERS).join(", ");
  throw new CheckpointError(
    "UNSUPPORTED",
    `Expected one of ${known} for tokenizer.ggml.pre in ${source}, got ${name === undefined ? "none" : JSON.stringify(name)}.`,
  );
}

function readMerges(metadata: GgufTokenizerMetadata, source: string): [string, string][] {
  const { merges } = metadata;
  if (merges === undefined) {
    throw new CheckpointError("BAD_FILE", `Expected tokenizer.ggml.merges in ${source}, got none.`);
  }
  return Array.from({ length: merges.length }, (_, index): [string, string] => {
    const { text } = bytesAndText(merges.at(index)!);
    const parts = text?.split(" ") ?? [];
    if (parts.length === 2 && parts[0] !== "" && parts[1] !== "") return [parts[0]!, parts[1]!];
    throw new CheckpointError(
      "BAD_FILE",
      `Expected two pieces with one space between them at tokenizer.ggml.merges[${index}] in ${source}, got ${JSON.stringify(text)}.`,
    );
  });
}
