/** Options of the commands that generate. */
import type { Command } from "commander";
import type { GenerateOptions } from "../model/generation.js";
import { integer, number, repeatable } from "./options.js";

/** As the flags are spelled; each absent one leaves the choice to the model's files, else greedy. */
export interface SamplingFlags {
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  seed?: number;
  stop?: string[];
}

export function withSamplingOptions(command: Command): Command {
  return command
    .option("--max-tokens <n>", "new tokens at most (default: what the model says, else 256)", integer(1))
    .option("--temperature <t>", "0 is greedy", number(0, 1000))
    .option("--top-k <k>", "only the k likeliest tokens; 0 is all", integer(0, 2 ** 31 - 1))
    .option("--top-p <p>", "only the tokens that reach this probability; 1 is all", number(0, 1))
    .option("--min-p <p>", "only tokens at least this fraction as likely as the likeliest", number(0, 1))
    .option("--repetition-penalty <x>", "above 1: tokens of the text so far become less likely", number(1e-6, 1000))
    .option("--presence-penalty <x>", "subtracted from the logit of generated tokens", number(-100, 100))
    .option("--frequency-penalty <x>", "subtracted for each time a token was generated", number(-100, 100))
    .option("--seed <n>", "same seed, same text", integer(0))
    .option("--stop <text>", "end before this text; may be given several times", repeatable);
}

export function samplingOf(flags: SamplingFlags): GenerateOptions {
  const { maxTokens, temperature, topK, topP, minP, seed, stop } = flags;
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = flags;
  return {
    ...{ maxTokens, temperature, topK, topP, minP, seed, stop },
    ...{ repetitionPenalty, presencePenalty, frequencyPenalty },
  };
}
