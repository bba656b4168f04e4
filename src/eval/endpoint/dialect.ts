import { type GenerationLimits, GREEDY } from "../language-model.js";
import { StatusError } from "./client.js";

/** What servers of the same API understand. Each is first asked in full; what it refuses by status 400 or 422 is left out from then on. */
export interface Dialect {
  /** `top_k`, `min_p` and `repetition_penalty`, which are not in OpenAI's API. Said even where they change nothing: a server may take its defaults from the model's generation_config. */
  hasExtensions: boolean;
  /** OpenAI's own service takes four stop strings. The others are cut here; the server only generates more than is needed. */
  mostStops: number;
  /** The limit's name in OpenAI's newer models. */
  limitName: "max_tokens" | "max_completion_tokens";
}

export const FULL_DIALECT: Dialect = {
  hasExtensions: true,
  mostStops: Number.POSITIVE_INFINITY,
  limitName: "max_tokens",
};

const FEW_STOPS = 4;

/** The API's parameters for these limits; all are said, none is left to a server's default. */
export function parametersOf({ maxTokens, sampling, stop }: GenerationLimits, dialect: Dialect): object {
  const { temperature, topP, presencePenalty, frequencyPenalty, seed, topK, minP, repetitionPenalty } = sampling;
  return {
    [dialect.limitName]: maxTokens,
    ...{ temperature, top_p: topP, presence_penalty: presencePenalty, frequency_penalty: frequencyPenalty, seed },
    ...(dialect.hasExtensions ? { top_k: topK, min_p: minP, repetition_penalty: repetitionPenalty } : {}),
    ...(stop.length > 0 ? { stop: stop.slice(0, dialect.mostStops) } : {}),
  };
}

/** The next dialect to try after an error; undefined where the error is about something else, or a setting would be lost. */
export function plainerDialect(dialect: Dialect, limits: GenerationLimits, error: unknown): Dialect | undefined {
  if (!(error instanceof StatusError) || ![400, 422].includes(error.status)) return undefined;
  if (dialect.limitName === "max_tokens" && error.message.includes("max_completion_tokens")) {
    return { ...dialect, limitName: "max_completion_tokens" };
  }
  const { topK, minP, repetitionPenalty } = limits.sampling;
  const isNeutral = topK === GREEDY.topK && minP === GREEDY.minP && repetitionPenalty === GREEDY.repetitionPenalty;
  if (dialect.hasExtensions && isNeutral && /top_k|min_p|repetition_penalty|unrecognized|extra/i.test(error.message)) {
    return { ...dialect, hasExtensions: false };
  }
  if (limits.stop.length > FEW_STOPS && dialect.mostStops > FEW_STOPS && /stop/i.test(error.message)) {
    return { ...dialect, mostStops: FEW_STOPS };
  }
  return undefined;
}
