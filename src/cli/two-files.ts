/** What commands that compare two files of a model have in common. */
import type { Command } from "commander";
import type { Model } from "../model/model.js";
import type { ExperimentOptions } from "./experiment.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { integer, jsonOption, type ModelOptions, withModelOptions } from "./options.js";
import { type QuestionOptions, withQuestionOptions } from "./questions.js";

export interface TwoFilesOptions extends ModelOptions, QuestionOptions, ExperimentOptions {
  maxTokens: number;
}

/** Adds the options of `TwoFilesOptions`; `left`: what the folder of `--out` holds. */
export function withTwoFilesOptions(command: Command, left: string): Command {
  withQuestionOptions(command)
    .option("--max-tokens <n>", "tokens of an item that are read", integer(2), 256)
    .option("--out <dir>", `folder for ${left}`)
    .addOption(jsonOption("print the result as JSON"));
  return withModelOptions(command);
}

/** Loads both and disposes them. */
export function withTwoModels<T>(
  terminal: Terminal,
  [a, b]: readonly [string, string],
  options: ModelOptions,
  use: (a: Model, b: Model) => Promise<T>,
): Promise<T> {
  return withModel(terminal, a, options, (first) => withModel(terminal, b, options, (second) => use(first, second)));
}
