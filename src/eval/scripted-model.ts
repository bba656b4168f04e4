import { AbortError, MoescopeError } from "../errors.js";
import type {
  CallOptions,
  ChatRequest,
  GenerateRequest,
  GenerateResult,
  LanguageModel,
  LogLikelihoodRequest,
  LogLikelihoodResult,
  ModelDescription,
} from "./language-model.js";

/** The answers of a scripted model. A missing function means that kind of request is refused. */
export interface Script {
  name?: string;
  /** The log-likelihood of one pair, or a full result. */
  loglikelihood?: (request: LogLikelihoodRequest) => number | LogLikelihoodResult;
  /** The generated text, or a full result. */
  generate?: (request: GenerateRequest) => string | GenerateResult;
  chat?: (request: ChatRequest) => string | GenerateResult;
  /** Anything else that `describe()` should say. */
  description?: Partial<ModelDescription>;
}

/** A model that answers from a script: the whole harness runs without weights, with known answers, in no time. */
export function scriptedModel(script: Script): LanguageModel {
  const answer = async <Request, Result>(
    kind: "loglikelihood" | "generate" | "chat",
    requests: readonly Request[],
    options: CallOptions | undefined,
    one: ((request: Request) => Result) | undefined,
  ): Promise<Result[]> => {
    if (one === undefined) {
      throw new MoescopeError("UNSUPPORTED", `The scripted model has no answers for requests of the kind ${kind}.`);
    }
    const results: Result[] = [];
    for (const request of requests) {
      if (options?.signal?.aborted) throw new AbortError(undefined, { cause: options.signal.reason });
      results.push(one(request));
      options?.onProgress?.(results.length, requests.length);
    }
    return results;
  };
  return {
    loglikelihood: async (requests, options) =>
      (await answer("loglikelihood", requests, options, script.loglikelihood)).map(completeLogLikelihood),
    generate: async (requests, options) =>
      (await answer("generate", requests, options, script.generate)).map(completeGeneration),
    chat: async (requests, options) => (await answer("chat", requests, options, script.chat)).map(completeGeneration),
    describe: () => ({ name: script.name ?? "scripted", kind: "scripted", files: [], ...script.description }),
  };
}

function completeLogLikelihood(answer: number | LogLikelihoodResult): LogLikelihoodResult {
  if (typeof answer !== "number") return answer;
  return { logprob: answer, tokenLogprobs: [answer], tokenIds: [], isGreedy: false };
}

function completeGeneration(answer: string | GenerateResult): GenerateResult {
  if (typeof answer !== "string") return answer;
  return { text: answer, tokenIds: [], finishReason: "eos", promptTokens: 0 };
}
