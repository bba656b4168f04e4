import { invalidArgument, MoescopeError } from "../../errors.js";
import type {
  CallOptions,
  GenerateResult,
  GenerationLimits,
  LanguageModel,
  LogLikelihoodRequest,
  LogLikelihoodResult,
  ModelDescription,
} from "../language-model.js";
import { type ClientOptions, EndpointClient, StatusError } from "./client.js";
import { type Dialect, FULL_DIALECT, parametersOf, plainerDialect } from "./dialect.js";
import { cannotScore, echoedLogLikelihood, echoRequest } from "./echoed-logprobs.js";

/**
 * Any server that speaks OpenAI's HTTP API (vLLM, SGLang, llama.cpp's server, a gateway) as a `LanguageModel`: `/chat/completions` with
 * the server's own chat template, `/completions` for plain text, and log-likelihoods where the server echoes a prompt with
 * log-probabilities. How the prompt becomes tokens is the server's business, a leading BOS included; special tokens in the text of a
 * prompt are read as such by most of them.
 */
export interface EndpointOptions extends ClientOptions {
  /** The model's name there; default: the one that the server has, if it has one. */
  model?: string;
}

/**
 * Asks the server what it serves and gives the model.
 *
 * @throws InvalidArgumentError for an address that is none, or a model that the server does not have; MoescopeError NETWORK.
 */
export async function openEndpoint(options: EndpointOptions): Promise<LanguageModel> {
  const client = new EndpointClient(options);
  const served = await servedModel(client, options.model);
  return new EndpointModel(client, served);
}

/** An entry of `GET /models`; what stands there beside the id differs from server to server. */
interface ServedModel {
  id: string;
  owned_by?: unknown;
  max_model_len?: unknown;
  root?: unknown;
}

async function servedModel(client: EndpointClient, wanted: string | undefined): Promise<ServedModel> {
  let listed: ServedModel[];
  try {
    const answer = (await client.call("GET", "models")) as { data?: unknown };
    listed = Array.isArray(answer.data) ? answer.data.filter((entry) => typeof entry?.id === "string") : [];
  } catch (error) {
    // A gateway may list nothing; then a name must be given, and the first request shows whether it is right.
    if (!(error instanceof StatusError) || ![404, 405, 501].includes(error.status)) throw error;
    listed = [];
  }
  const names = listed.map(({ id }) => id).join(", ");
  if (wanted === undefined) {
    if (listed.length === 1) return listed[0]!;
    throw new MoescopeError(
      "INVALID_ARGUMENT",
      `Expected the name of a model that ${client.url} serves (${names === "" ? "it lists none" : names}), got none.`,
    );
  }
  const found = listed.find(({ id }) => id === wanted);
  if (found === undefined && listed.length > 0) {
    throw invalidArgument("model", `a model that ${client.url} serves (${names})`, wanted);
  }
  return found ?? { id: wanted };
}

class EndpointModel implements LanguageModel {
  readonly #client: EndpointClient;
  readonly #served: ServedModel;
  #dialect: Dialect = FULL_DIALECT;

  constructor(client: EndpointClient, served: ServedModel) {
    this.#client = client;
    this.#served = served;
  }

  describe(): ModelDescription {
    const { id, owned_by: owner, max_model_len: length, root } = this.#served;
    return {
      name: id,
      kind: "endpoint",
      files: [],
      engine: `${typeof owner === "string" && owner !== "" ? owner : "an OpenAI-compatible server"} at ${this.#client.url}`,
      ...(typeof root === "string" && root !== id ? { weightType: `served from ${root}` } : {}),
      ...(typeof length === "number" ? { maxContext: length } : {}),
    };
  }

  loglikelihood(requests: readonly LogLikelihoodRequest[], options?: CallOptions): Promise<LogLikelihoodResult[]> {
    return each(requests, options, async ({ context, continuation }, signal) => {
      const { url } = this.#client;
      if (typeof context !== "string") {
        throw new MoescopeError(
          "UNSUPPORTED",
          `Expected plain text for a log-likelihood from ${url}, got a conversation: the server keeps the chat template to itself.`,
        );
      }
      const body = { model: this.#served.id, ...echoRequest(context + continuation) };
      const answer = await this.#client.call("POST", "completions", body, signal).catch((error: unknown) => {
        const isRefusal = error instanceof StatusError && [400, 404, 405, 422, 501].includes(error.status);
        throw isRefusal ? cannotScore(url, error) : error;
      });
      return echoedLogLikelihood(answer, context, continuation, url);
    });
  }

  generate(requests: Parameters<LanguageModel["generate"]>[0], options?: CallOptions): Promise<GenerateResult[]> {
    return each(requests, options, ({ prompt, ...limits }, signal) =>
      this.#generation("completions", { prompt }, limits, signal),
    );
  }

  chat(requests: Parameters<LanguageModel["chat"]>[0], options?: CallOptions): Promise<GenerateResult[]> {
    return each(requests, options, ({ messages, ...limits }, signal) =>
      this.#generation("chat/completions", { messages }, limits, signal),
    );
  }

  async #generation(
    path: "completions" | "chat/completions",
    prompt: object,
    limits: GenerationLimits,
    signal: AbortSignal | undefined,
  ): Promise<GenerateResult> {
    for (;;) {
      const dialect = this.#dialect;
      const body = { model: this.#served.id, ...prompt, ...parametersOf(limits, dialect) };
      try {
        const answer = await this.#client.call("POST", path, body, signal);
        return resultOf(answer, limits.stop, `${this.#client.url}/${path}`);
      } catch (error) {
        const plainer = plainerDialect(dialect, limits, error);
        if (plainer === undefined) throw error;
        // Another request may have learnt it meanwhile.
        if (this.#dialect === dialect) this.#dialect = plainer;
      }
    }
  }
}

interface Choice {
  text?: unknown;
  message?: { content?: unknown };
  finish_reason?: unknown;
  stop_reason?: unknown;
}

/** The generated text, cut at the first occurrence of each stop string, in their order. */
function resultOf(answer: unknown, stop: readonly string[], where: string): GenerateResult {
  const { choices, usage } = answer as { choices?: Choice[]; usage?: Record<string, unknown> };
  const choice = choices?.[0];
  const full = choice?.message === undefined ? choice?.text : (choice.message.content ?? "");
  if (choice === undefined || typeof full !== "string") {
    throw new MoescopeError("BAD_FILE", `Expected a generated text from ${where}, got an answer of another shape.`);
  }
  let text = full;
  for (const each of stop) {
    const at = each === "" ? -1 : text.indexOf(each);
    if (at >= 0) text = text.slice(0, at);
  }
  const isStopped = text.length < full.length || typeof choice.stop_reason === "string";
  const count = (name: string): number => (typeof usage?.[name] === "number" ? usage[name] : 0);
  return {
    text,
    tokenIds: [],
    numTokens: count("completion_tokens"),
    finishReason: isStopped ? "stop" : choice.finish_reason === "length" ? "length" : "eos",
    promptTokens: count("prompt_tokens"),
  };
}

/** All at once: the client keeps the number in flight. The first failure ends the others. */
async function each<Request, Result>(
  requests: readonly Request[],
  options: CallOptions = {},
  one: (request: Request, signal: AbortSignal) => Promise<Result>,
): Promise<Result[]> {
  if (options.trace !== undefined) {
    throw new MoescopeError("UNSUPPORTED", "Expected no trace from an endpoint, its routes stay with the server.");
  }
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  let done = 0;
  try {
    return await Promise.all(
      requests.map(async (request) => {
        const result = await one(request, signal);
        options.onProgress?.(++done, requests.length);
        return result;
      }),
    );
  } catch (error) {
    stop.abort(error);
    throw error;
  }
}
