import { MoescopeError } from "../../errors.js";
import type { LogLikelihoodResult } from "../language-model.js";

/** Log-likelihoods from an OpenAI-style completion that echoes its prompt with the log-probability of each token. */

/** The request for one pair: a token has to be generated, for servers refuse to generate none. */
export function echoRequest(prompt: string): object {
  return { prompt, max_tokens: 1, echo: true, logprobs: 1, temperature: 0 };
}

interface EchoedLogprobs {
  tokens: string[];
  /** Null for the first token, which follows nothing. */
  token_logprobs: (number | null)[];
  /** The likeliest tokens at each place. */
  top_logprobs?: (Record<string, number> | null)[] | null;
  /** Where each token begins, in characters of the text. */
  text_offset?: number[] | null;
}

/**
 * The continuation's part of an echoed prompt. Tokens are parted where the context's last non-blank character ends, so that trailing
 * blanks count with the continuation as they do in the harness's `_encode_pair`; a token across the border counts as the context's.
 *
 * @param where the server, for the message.
 * @throws MoescopeError UNSUPPORTED where the answer has no log-probabilities of the prompt; INVARIANT where they do not cover it.
 */
export function echoedLogLikelihood(
  answer: unknown,
  context: string,
  continuation: string,
  where: string,
): LogLikelihoodResult {
  const echoed = echoedOf(answer);
  const end = numCharacters(context + continuation);
  const offsets = echoed?.text_offset ?? offsetsOf(echoed?.tokens ?? []);
  const inPrompt = offsets.filter((offset) => offset < end).length;
  if (echoed === undefined || inPrompt < 2 || echoed.token_logprobs.slice(1, inPrompt).some((x) => x === null)) {
    throw cannotScore(where);
  }
  const border = numCharacters(context.trimEnd());
  const first = offsets.findIndex((offset) => offset >= border);
  if (first < 1 || first >= inPrompt) {
    throw new MoescopeError(
      "INVARIANT",
      `Expected a token of the continuation ${JSON.stringify(continuation)} in the prompt that ${where} echoes, got none.`,
    );
  }
  const tokenLogprobs = echoed.token_logprobs.slice(first, inPrompt) as number[];
  const isGreedy = tokenLogprobs.every((logprob, i) => {
    return Object.values(echoed.top_logprobs?.[first + i] ?? {}).every((other) => other <= logprob);
  });
  return { logprob: tokenLogprobs.reduce((sum, x) => sum + x, 0), tokenLogprobs, tokenIds: [], isGreedy };
}

/** Whoever only generates cannot say how likely a given text is. */
export function cannotScore(where: string, cause?: unknown): MoescopeError {
  return new MoescopeError(
    "UNSUPPORTED",
    `Expected log-probabilities of the prompt from ${where} (completions with echo and logprobs), got none: this endpoint cannot score choices by likelihood; track qwen asks for answers in words.`,
    { cause },
  );
}

function echoedOf(answer: unknown): EchoedLogprobs | undefined {
  const logprobs = (answer as { choices?: { logprobs?: EchoedLogprobs | null }[] })?.choices?.[0]?.logprobs;
  const isWhole = Array.isArray(logprobs?.tokens) && Array.isArray(logprobs.token_logprobs);
  return isWhole && logprobs.tokens.length === logprobs.token_logprobs.length ? logprobs : undefined;
}

function offsetsOf(tokens: readonly string[]): number[] {
  let at = 0;
  return tokens.map((token) => {
    const offset = at;
    at += numCharacters(token);
    return offset;
  });
}

/** Servers count characters as Python does. */
function numCharacters(text: string): number {
  return [...text].length;
}
