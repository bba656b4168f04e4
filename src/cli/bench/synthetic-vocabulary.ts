/** A byte-level BPE vocabulary of any size that llama.cpp and moescope read: bytes, pairs of letters, and words that no merge makes. */
import type { GgufValue } from "../../checkpoint/gguf-values.js";
import { countValue, flagValue, textsValue, textValue } from "../../quantize/gguf-entries.js";
import { TOKEN_TYPE } from "../../tokenizer/gguf-tokens.js";
import { BYTE_TO_CHAR } from "../../tokenizer/token-bytes.js";

const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"];
/** How the alphabet of byte-level vocabularies writes a space. */
const SPACE = BYTE_TO_CHAR[0x20]!;
/** The last tokens of the vocabulary. */
const SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/** Longer than what merges give, so that the text of no word is read as another token. */
const WORD_LETTERS = 4;

/** Bytes, merged pairs, and special tokens: what a vocabulary holds at least. */
export const SMALLEST_VOCABULARY: number = 256 + LETTERS.length * (LETTERS.length + 1) + SPECIAL.length;

/** `<|im_end|>`. */
export function syntheticEosId(vocabSize: number): number {
  return vocabSize - 1;
}

/** The keys `tokenizer.*`. Every token but the special ones is a normal one with a text of its own, so that each may be drawn. */
export function syntheticTokenizerKeys(vocabSize: number): Map<string, GgufValue> {
  const merges = [SPACE, ...LETTERS].flatMap((left) => LETTERS.map((right) => [left, right] as const));
  const texts = [...BYTE_TO_CHAR, ...merges.map(([left, right]) => left + right)];
  const numWords = vocabSize - SPECIAL.length - texts.length;
  for (let index = 0; index < numWords; index++) texts.push(SPACE + word(index));
  texts.push(...SPECIAL);
  const types = new Int32Array(vocabSize).fill(TOKEN_TYPE.NORMAL).fill(TOKEN_TYPE.CONTROL, -SPECIAL.length);
  return new Map<string, GgufValue>([
    ["tokenizer.ggml.model", textValue("gpt2")],
    ["tokenizer.ggml.pre", textValue("qwen2")],
    ["tokenizer.ggml.tokens", textsValue(texts)],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: types }],
    ["tokenizer.ggml.merges", textsValue(merges.map((pair) => pair.join(" ")))],
    ["tokenizer.ggml.eos_token_id", countValue(syntheticEosId(vocabSize))],
    ["tokenizer.ggml.padding_token_id", countValue(vocabSize - SPECIAL.length)],
    ["tokenizer.ggml.add_bos_token", flagValue(false)],
  ]);
}

/** A number as letters, base 26. */
function word(index: number): string {
  let rest = index;
  let text = "";
  for (let letter = 0; letter < WORD_LETTERS; letter++) {
    text = LETTERS[rest % LETTERS.length] + text;
    rest = Math.floor(rest / LETTERS.length);
  }
  return text;
}
