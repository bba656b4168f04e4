/** `--data`, `--by` and what goes with them: the questions of an experiment. */
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { BENCHMARK_NAMES, namedTasks } from "../../evals/named.js";
import { MoescopeError } from "../errors.js";
import { lineQuestions, type Questions, taskQuestions } from "../experiment/questions.js";
import { readScoredLines } from "../experiment/scored-lines.js";
import { integer } from "./options.js";
import { suggestionFor } from "./suggest.js";

export interface QuestionOptions {
  data: string;
  by?: string;
  limit?: number;
  numFewshot?: number;
  dataDir?: string;
}

/** Adds the options of `QuestionOptions`. */
export function withQuestionOptions(command: Command): Command {
  return command
    .requiredOption(
      "--data <file|benchmarks>",
      `a JSONL file (lines with text, or context and continuation, or context, choices and answer), or benchmarks such as mmlu-mini,gsm8k-mini`,
    )
    .option(
      "--by <column>",
      "what to group by: a column of the file (default: none); task (default) or subject of benchmarks",
    )
    .option("--limit <n>", "questions of each benchmark, spread over its subjects (default: all)", integer(1))
    .option("--num-fewshot <n>", "worked examples of the benchmarks (default: the benchmark's own)", integer(0, 1000))
    .option("--data-dir <dir>", "folder of the benchmarks' files (default: MOESCOPE_DATA)");
}

/**
 * The questions that the options name: a file where there is one, benchmarks otherwise.
 *
 * @throws MoescopeError NOT_FOUND for a name that is neither; whatever the file or the benchmarks refuse.
 */
export async function questionsOf(options: QuestionOptions): Promise<Questions> {
  const { data, by, limit, numFewshot, dataDir } = options;
  const names = data.split(",").map((name) => name.trim());
  const isBenchmarks = names.every((name) => BENCHMARK_NAMES.includes(name.split(":")[0]!));
  if (isBenchmarks) return taskQuestions(namedTasks(names, { limit, numFewshot, dataDir }), by);
  if (!existsSync(data)) {
    const near = suggestionFor(data, BENCHMARK_NAMES);
    const hint = near === undefined ? "." : `; did you mean ${near}?`;
    throw new MoescopeError(
      "NOT_FOUND",
      `Expected a file or benchmarks (${BENCHMARK_NAMES.join(", ")}) for --data, got ${JSON.stringify(data)}${hint}`,
    );
  }
  const lines = await readScoredLines(data, by);
  return lineQuestions(limit === undefined ? lines : lines.slice(0, limit), data);
}
