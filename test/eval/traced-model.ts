import { type LanguageModel, scriptedModel } from "../../src/index.js";
import type { TokenRun } from "../../src/router/trace-columns.js";
import { syntheticTrace } from "../router/synthetic-trace.js";

/** Tokens that all prompts begin with. */
export const SHARED = 40;

/** Tokens of request `plus` of sample `i`: 40 that all share (or none), then some that tell which request it is. */
export function tokensOf(i: number, plus: number, isShared: boolean): number[] {
  const own = Array.from({ length: 2 + i + plus }, (_, t) => 1000 * (i + 1) + 100 * plus + t);
  return isShared ? [...Array.from({ length: SHARED }, (_, t) => t), ...own] : own;
}

/** A model for the toy task that tells right from wrong by its tokens and gives routes. */
export function tracedModel(isShared: boolean): LanguageModel {
  return scriptedModel({
    loglikelihood: ({ context, continuation }) => {
      const i = Number.parseInt(String(context), 10);
      const plus = Number(continuation) - i;
      const tokenIds = Int32Array.from(tokensOf(i, plus, isShared));
      const run: TokenRun = { tokenIds, firstPosition: 0, origin: 0, segment: 1 };
      const trace = syntheticTrace([run], { level: "topk" });
      return { logprob: -1 - plus, tokenLogprobs: [-1], tokenIds: [1], isGreedy: false, trace };
    },
  });
}
