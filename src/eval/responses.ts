import { MoescopeError } from "../errors.js";
import type { SampleResponse } from "./task.js";

/**
 * The index of the likeliest continuation, the first on ties: numpy's argmax, as every multiple-choice harness uses it.
 *
 * @throws MoescopeError INVARIANT for a log-likelihood that is NaN or a response of another kind: a broken model must not look like
 *   a wrong answer.
 */
export function greedyChoice(responses: readonly SampleResponse[]): number {
  let best = -1;
  let bestLogprob = Number.NEGATIVE_INFINITY;
  responses.forEach((response, i) => {
    if (response.kind !== "loglikelihood" || Number.isNaN(response.logprob)) {
      throw new MoescopeError(
        "INVARIANT",
        `Expected a log-likelihood for choice ${i}, got ${JSON.stringify(response)}.`,
      );
    }
    if (best < 0 || response.logprob > bestLogprob) {
      best = i;
      bestLogprob = response.logprob;
    }
  });
  return best;
}

/** The generated text of a response. @throws MoescopeError INVARIANT for a response of another kind. */
export function generatedText(response: SampleResponse | undefined): string {
  if (response === undefined || response.kind === "loglikelihood") {
    throw new MoescopeError("INVARIANT", `Expected a generated text, got ${response?.kind ?? "no response"}.`);
  }
  return response.text;
}
