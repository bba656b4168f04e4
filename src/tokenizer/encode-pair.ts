import { MoescopeError } from "../errors.js";

/**
 * How a (context, continuation) pair becomes the tokens that are scored: the rule of lm-evaluation-harness (`_encode_pair` and
 * its callers, release 0.4.13), so that log-likelihoods can be compared with everybody else's. The model and the eval
 * harness share this page; it knows a tokenizer only as a function.
 */

/** The token ids of a pair. The model reads both; only `continuationIds` are scored. */
export interface EncodedPair {
  contextIds: number[];
  continuationIds: number[];
}

/** A tokenizer, as this page knows it: no special tokens are added around the text. */
export type Encode = (text: string) => ArrayLike<number> | Promise<ArrayLike<number>>;

/** What Python's `str.isspace` accepts. JavaScript's `\s` lacks U+001C-001F and U+0085, and has U+FEFF, which Python lacks. */
export const PYTHON_WHITESPACE: string =
  "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";

/** Python's `str.rstrip()`. */
export function pythonRstrip(text: string): string {
  let end = text.length;
  while (end > 0 && PYTHON_WHITESPACE.includes(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/**
 * Moves the trailing white space of the context to the front of the continuation: tokenizers attach a space to the word that
 * follows it, so a context that ends in one would be tokenised in a way the model never saw.
 */
export function moveTrailingWhitespace(
  context: string,
  continuation: string,
): { context: string; continuation: string } {
  const kept = pythonRstrip(context);
  return { context: kept, continuation: context.slice(kept.length) + continuation };
}

/**
 * Encodes a pair: the context's own ids, then the ids of the whole text after as many tokens as the context has. Nothing checks
 * that the context's own ids begin the whole: where tokens merge across the border, the harness scores exactly this mixture.
 *
 * An empty context becomes `prefixTokenId` (bos, else eos); if the continuation begins with that very token, it serves as the
 * context and is not scored.
 *
 * @throws MoescopeError INVALID_ARGUMENT when no token is left to condition on or to score.
 */
export async function encodePair(
  encode: Encode,
  context: string,
  continuation: string,
  prefixTokenId: number | undefined,
): Promise<EncodedPair> {
  const pair = await (context === ""
    ? encodeAlone(encode, continuation, prefixTokenId)
    : encodeSplit(encode, context, continuation));
  if (pair.contextIds.length === 0) throw refused("a context that is not white space only", context, continuation);
  if (pair.continuationIds.length === 0) {
    throw refused("a continuation of at least one token after the context's own", context, continuation);
  }
  return pair;
}

/**
 * The tokens the model reads to score a pair within `maxLength` positions: cut from the left, so the description and the first
 * examples go first. The last token is only predicted, never read, so `maxLength + 1` tokens of the pair count.
 *
 * @throws MoescopeError CONTEXT_TOO_LONG when the continuation alone is longer than `maxLength`.
 */
export function truncatePair(pair: EncodedPair, maxLength: number): EncodedPair {
  const scored = pair.continuationIds.length;
  if (scored > maxLength) {
    throw new MoescopeError(
      "CONTEXT_TOO_LONG",
      `Expected a continuation of at most ${maxLength} tokens, the model's context, got ${scored} tokens.`,
    );
  }
  const keep = maxLength + 1 - scored;
  return { contextIds: pair.contextIds.slice(-keep), continuationIds: pair.continuationIds };
}

async function encodeAlone(
  encode: Encode,
  continuation: string,
  prefixTokenId: number | undefined,
): Promise<EncodedPair> {
  if (prefixTokenId === undefined) {
    throw new MoescopeError(
      "INVALID_ARGUMENT",
      "Expected a context, got an empty one, and the tokenizer has neither a bos nor an eos token to stand in for it.",
    );
  }
  const ids = Array.from(await encode(continuation));
  if (ids[0] === prefixTokenId) return { contextIds: ids.slice(0, 1), continuationIds: ids.slice(1) };
  return { contextIds: [prefixTokenId], continuationIds: ids };
}

async function encodeSplit(encode: Encode, context: string, continuation: string): Promise<EncodedPair> {
  const moved = moveTrailingWhitespace(context, continuation);
  const contextIds = Array.from(await encode(moved.context));
  const wholeIds = Array.from(await encode(moved.context + moved.continuation));
  return { contextIds, continuationIds: wholeIds.slice(contextIds.length) };
}

function refused(expected: string, context: string, continuation: string): MoescopeError {
  const shown = (text: string): string => JSON.stringify(text.length > 40 ? `...${text.slice(-37)}` : text);
  return new MoescopeError(
    "INVALID_ARGUMENT",
    `Expected ${expected} for a log-likelihood, got context ${shown(context)} and continuation ${shown(continuation)}.`,
  );
}
