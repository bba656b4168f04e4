import type { Tokenizer } from "./tokenizer.js";

export interface StreamDecoderOptions {
  /** Leave special tokens out. Default true. */
  skipSpecial?: boolean;
  /**
   * Drop one leading space of the stream. Default: as the vocabulary's decoder does at the start of a text. Give false where
   * the stream continues a prompt.
   */
  stripLeadingSpace?: boolean;
}

/**
 * Turns tokens into text as they come. Never shows half a character: bytes that may become one are held back, and only `flush`
 * turns them into U+FFFD. Bytes that can no longer become one turn into U+FFFD at once (WHATWG rule), so a U+FFFD that the text
 * really holds is not held back.
 */
export class StreamDecoder {
  private readonly tokenizer: Tokenizer;
  private readonly skipSpecial: boolean;
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  private mayStrip: boolean;

  constructor(tokenizer: Tokenizer, options: StreamDecoderOptions = {}) {
    this.tokenizer = tokenizer;
    this.skipSpecial = options.skipSpecial ?? true;
    this.mayStrip = options.stripLeadingSpace ?? tokenizer.stripsLeadingSpace;
  }

  /** The text that is certain once this token is in; often empty. */
  push(id: number): string {
    if (this.skipSpecial && this.tokenizer.isSpecial(id)) return "";
    return this.strip(this.utf8.decode(this.tokenizer.tokenBytes(id), { stream: true }));
  }

  /** What was held back, at the end of the stream. Afterwards the decoder is as new, but strips no space. */
  flush(): string {
    return this.strip(this.utf8.decode());
  }

  private strip(text: string): string {
    if (!this.mayStrip || text === "") return text;
    this.mayStrip = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}
