import type { AddedTokenJson } from "./tokenizer-json.js";

/** A stretch of text, or a special token found in it. */
export type Piece = { text: string } | { id: number };

/** Stands for a character that may not be part of a special token; a noncharacter, so no token's text holds it. */
const BARRIER = "\uFFFF";

/**
 * Finds special tokens in text as Hugging Face's AddedVocabulary does: leftmost first, the longest at each place, then
 * `single_word`, `lstrip` and `rstrip`.
 */
export class SpecialTokenSplitter {
  private readonly byContent: ReadonlyMap<string, AddedTokenJson>;
  private readonly pattern: RegExp | null;

  constructor(tokens: readonly AddedTokenJson[]) {
    this.byContent = new Map(tokens.map((token) => [token.content, token]));
    const contents = [...this.byContent.keys()].sort((a, b) => b.length - a.length);
    this.pattern = contents.length === 0 ? null : new RegExp(contents.map(escapeRegExp).join("|"), "g");
  }

  /**
   * Cuts `text` at its special tokens. `allowed`, one entry per UTF-16 code unit, says where a special token may be found (1)
   * and where text stays text (0); without it, everywhere.
   */
  split(text: string, allowed?: Uint8Array): Piece[] {
    if (this.pattern === null) return text === "" ? [] : [{ text }];
    const searched = allowed === undefined ? text : maskOut(text, allowed);
    const pieces: Piece[] = [];
    let end = 0;
    for (const match of searched.matchAll(this.pattern)) {
      const token = this.byContent.get(match[0])!;
      let start = match.index;
      let stop = start + match[0].length;
      if (start < end) continue;
      if (token.single_word && (endsInWord(searched.slice(end, start)) || startsWithWord(searched.slice(stop))))
        continue;
      if (token.lstrip) while (start > end && isSpace(searched[start - 1]!)) start--;
      if (token.rstrip) while (stop < searched.length && isSpace(searched[stop]!)) stop++;
      if (start > end) pieces.push({ text: text.slice(end, start) });
      pieces.push({ id: token.id });
      end = stop;
    }
    if (end < text.length) pieces.push({ text: text.slice(end) });
    return pieces;
  }
}

function maskOut(text: string, allowed: Uint8Array): string {
  let masked = "";
  let start = 0;
  while (start < text.length) {
    let end = start;
    while (end < text.length && allowed[end] === allowed[start]) end++;
    masked += allowed[start] ? text.slice(start, end) : BARRIER.repeat(end - start);
    start = end;
  }
  return masked;
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
}

function endsInWord(text: string): boolean {
  return /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u.test(text);
}

function startsWithWord(text: string): boolean {
  return /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u.test(text);
}

function isSpace(char: string): boolean {
  return /\p{White_Space}/u.test(char);
}
