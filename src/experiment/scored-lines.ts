/** Lines of a JSONL file as items of an experiment. */

import { readFile } from "node:fs/promises";
import { fromSystemError, InvalidArgumentError, MoescopeError } from "../errors.js";

/**
 * One item: a text; or a context with its continuation; or a context with choices and the index of the right one. `group` is what
 * the file's column says that the experiment groups by.
 */
export interface ScoredLine {
  id: string;
  group: string;
  text?: string;
  context?: string;
  continuation?: string;
  choices?: readonly string[];
  answer?: number;
}

/**
 * Reads a JSONL file. Each line is an object with `text`, with `context` and `continuation`, or with `context`, `choices` and `answer`;
 * `id` is the line's number where it is missing.
 *
 * @param by the column that holds the group; absent: all lines are one group.
 * @throws MoescopeError NOT_FOUND; BAD_FILE naming the line; INVALID_ARGUMENT for a column that the file does not have.
 */
export async function readScoredLines(file: string, by?: string): Promise<ScoredLine[]> {
  const content = await readFile(file, "utf8").catch((error) => {
    throw fromSystemError(error, `read the lines ${file}`);
  });
  const lines = content.split("\n").flatMap((text, index) => {
    return text.trim() === "" ? [] : [lineOf(parsed(text, file, index + 1), file, index + 1, by)];
  });
  if (lines.length === 0)
    throw new MoescopeError("BAD_FILE", `Expected at least one line of JSON in ${file}, got none.`);
  const seen = new Set<string>();
  for (const { id } of lines) {
    if (seen.has(id)) throw new MoescopeError("BAD_FILE", `Expected different ids in ${file}, got ${id} twice.`);
    seen.add(id);
  }
  return lines;
}

function parsed(text: string, file: string, line: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw badLine(`JSON`, (cause as Error).message, file, line, cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw badLine("a JSON object", "another value", file, line);
  }
  return value as Record<string, unknown>;
}

function lineOf(row: Record<string, unknown>, file: string, line: number, by: string | undefined): ScoredLine {
  const group = by === undefined ? "all" : row[by];
  if (typeof group !== "string" && typeof group !== "number") {
    const columns = Object.keys(row).join(", ");
    throw new InvalidArgumentError(
      `Expected a column ${JSON.stringify(by)} with text in line ${line} of ${file}, it has the columns ${columns}.`,
    );
  }
  const { id, text, context, continuation, choices, answer } = row;
  const common = { id: id === undefined ? `line-${line}` : String(id), group: String(group) };
  if (typeof text === "string" && text !== "") return { ...common, text };
  const hasContext = typeof context === "string";
  if (hasContext && typeof continuation === "string" && continuation !== "")
    return { ...common, context, continuation };
  const isChoices =
    Array.isArray(choices) && choices.length > 1 && choices.every((choice) => typeof choice === "string");
  if (hasContext && isChoices) {
    if (!(Number.isInteger(answer) && choices[answer as number] !== undefined)) {
      throw badLine(`an answer from 0 to ${choices.length - 1}`, JSON.stringify(answer) ?? "none", file, line);
    }
    return { ...common, context, choices, answer: answer as number };
  }
  const keys = Object.keys(row).join(", ");
  throw badLine("text, or context and continuation, or context, choices and answer", `the fields ${keys}`, file, line);
}

function badLine(expected: string, actual: string, file: string, line: number, cause?: unknown): MoescopeError {
  return new MoescopeError("BAD_FILE", `Expected ${expected} in line ${line} of ${file}, got ${actual}.`, { cause });
}
