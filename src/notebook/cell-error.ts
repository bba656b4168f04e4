/** Errors of cells as Jupyter shows them: a name, a sentence, and a traceback in the lines of the cells. */
import { inspect } from "node:util";
import { AbortError, MoescopeError } from "../errors.js";
import { CellInterrupted } from "./cell.js";
import type { Diagnostic, Outcome } from "./tslab/engine.js";

/** The content of an `error` message, and of the reply of a cell that failed. */
export interface CellError extends Record<string, unknown> {
  ename: string;
  evalue: string;
  traceback: string[];
}

/** What turns a stack into the lines of cells. */
export interface CellSources {
  /** Code of a cell by the name that stacks show. */
  codeOf(name: string): string | undefined;
  lineOf(name: string, line: number, column: number): { line: number; column: number } | undefined;
}

const CELL_PLACE = /\b(cell-\d+\.ts):(\d+):(\d+)/;
/** Frames of the kernel, tslab and Node below the code of a cell say nothing to its author. */
const FOREIGN_FRAME = /node:(vm|internal)|[\\/]tslab[\\/]|[\\/](dist[\\/])?src[\\/]notebook[\\/]|<anonymous>\)?$/;

const red = (text: string): string => `\x1b[31m${text}\x1b[39m`;

/** The error of a cell that did not end well. */
export function cellError(outcome: Exclude<Outcome, { kind: "done" }>, name: string, sources: CellSources): CellError {
  return outcome.kind === "mistyped"
    ? typeError(outcome.diagnostics, sources.codeOf(name) ?? "")
    : thrownError(outcome.error, sources);
}

function typeError(diagnostics: readonly Diagnostic[], code: string): CellError {
  const traceback: string[] = [];
  for (const { fileName, start, end, messageText, code: number } of diagnostics) {
    const place = `${fileName ?? "cell"}:${start.line + 1}:${start.character + 1}`;
    traceback.push(`${red(place)} - ${messageText} (TS${number})`);
    if (fileName !== undefined) continue;
    const sameLine = end.line === start.line;
    traceback.push(
      ...codeFrame(code, start.line + 1, start.character + 1, sameLine ? end.character - start.character : 1),
    );
  }
  const first = diagnostics[0]!;
  const evalue = `${first.start.line + 1}:${first.start.character + 1} - ${first.messageText}`;
  return { ename: "TypeScriptError", evalue, traceback };
}

function thrownError(error: unknown, sources: CellSources): CellError {
  if (!(error instanceof Error)) {
    const evalue = typeof error === "string" ? error : inspect(error, { depth: 2 });
    return { ename: "Thrown", evalue, traceback: [`${red("Thrown")}: ${evalue}`] };
  }
  const ename = error instanceof CellInterrupted ? "Interrupted" : error.name;
  const code = error instanceof MoescopeError && !(error instanceof AbortError) ? ` (${error.code})` : "";
  const traceback = [
    `${red(ename)}: ${error.message}${code}`,
    ...(ename === "Interrupted" ? [] : stackLines(error, sources)),
  ];
  for (let { cause } = error, depth = 0; cause instanceof Error && depth < 5; { cause } = cause, depth++) {
    traceback.push(`caused by ${red(cause.name)}: ${cause.message}`);
  }
  return { ename, evalue: error.message, traceback };
}

function stackLines(error: Error, sources: CellSources): string[] {
  const lines: string[] = [];
  let isFramed = false;
  const frames = (typeof error.stack === "string" ? error.stack : "")
    .split("\n")
    .filter((line) => /^\s+at /.test(line));
  for (const frame of frames) {
    const [, name, line, column] = CELL_PLACE.exec(frame) ?? [];
    if (name === undefined) {
      if (!FOREIGN_FRAME.test(frame)) lines.push(frame);
      continue;
    }
    const at = sources.lineOf(name, Number(line), Number(column));
    if (at === undefined) continue;
    lines.push(frame.replace(CELL_PLACE, `${name.replace(/^cell-(\d+)\.ts$/, "cell $1")}:${at.line}:${at.column}`));
    const code = isFramed ? undefined : sources.codeOf(name);
    if (code !== undefined) lines.push(...codeFrame(code, at.line, at.column, 1));
    isFramed = true;
  }
  return lines;
}

/** The line of a cell with its neighbours, and a mark below the place; lines and columns from 1. */
function codeFrame(code: string, line: number, column: number, length: number): string[] {
  const lines = code.split("\n");
  const shown: string[] = [];
  for (let number = Math.max(1, line - 2); number <= Math.min(lines.length, line + 1); number++) {
    shown.push(`${number === line ? ">" : " "} ${String(number).padStart(4)} | ${lines[number - 1]}`);
    if (number === line) shown.push(`       | ${" ".repeat(column - 1)}${"^".repeat(Math.max(1, length))}`);
  }
  return shown;
}
