import type { ChatMessage, ChatTemplate, SpecialTokenTexts } from "./chat-template.js";
import type { Tokenizer, TokenizerOptions } from "./tokenizer.js";
import type { TokenizerConfigJson } from "./tokenizer-json.js";

/** The text side of a model: its tokenizer, and its chat template where it has one. */
export interface ModelText {
  tokenizer: Tokenizer;
  chatTemplate: ChatTemplate | null;
}

export interface ModelTextOptions {
  /** Whether text after a special token gets its own prefix space; default from the files. */
  spaceAfterSpecial?: boolean;
  /** Use this template in place of the model's. */
  chatTemplate?: string;
  /** What ollama keeps beside a GGUF file: a Go template, if any, and messages that come before every conversation. */
  ollama?: { template: string | null; messages: readonly ChatMessage[] };
  eosTokenIds?: TokenizerOptions["eosTokenIds"];
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
