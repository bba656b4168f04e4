/** Commands of a cell's first line: `%time`, `%who`, `%reload`. */
import type ts from "typescript";
import { MoescopeError } from "../errors.js";
import { plainText } from "./result.js";

/** Names with what completion and `%help` say of them. */
export const MAGICS: Readonly<Record<string, string>> = {
  "%time": "runs the rest of the cell and says how long it took",
  "%who": "lists what cells have declared",
  "%reload": "evaluates the notebook folder's own modules anew, and imports again what cells imported from them",
  "%help": "lists these commands",
};

export interface Magic {
  name: string;
  /** The cell without the command; its lines keep their numbers. */
  code: string;
}

/** The command that a cell begins with, if any. @throws MoescopeError INVALID_ARGUMENT for a name that is none */
export function magicOf(code: string): Magic | undefined {
  const match = /^\s*%(\w*)(.*)/.exec(code);
  if (match === null) return undefined;
  const name = `%${match[1]}`;
  if (!Object.hasOwn(MAGICS, name)) {
    throw new MoescopeError("INVALID_ARGUMENT", `Expected ${Object.keys(MAGICS).join(", ")}, got ${name}.`);
  }
  const at = match[0].length - match[2]!.length;
  return { name, code: code.slice(0, at).replace(/[^\n]/g, " ") + code.slice(at) };
}

/** `%who`: a line for each name that cells have declared, with what it holds. */
export function who(locals: Record<string, unknown>): string {
  const names = Object.keys(locals).filter((name) => !name.startsWith("tsLastExpr"));
  const width = Math.max(0, ...names.map((name) => name.length));
  return names
    .sort()
    .map((name) => `${name.padEnd(width)}  ${summary(locals[name])}\n`)
    .join("");
}

function summary(value: unknown): string {
  if (typeof value === "function") return /^class\b/.test(String(value)) ? "class" : "function";
  if (typeof value !== "object" || value === null) return `${typeof value}  ${plainText(value).slice(0, 60)}`;
  const name = Object.getPrototypeOf(value)?.constructor?.name ?? "object";
  const size = Array.isArray(value) || ArrayBuffer.isView(value) ? (value as { length?: number }).length : undefined;
  return size === undefined ? name : `${name}(${size})`;
}

/** The import statements of a cell that name modules of the notebook's folder. */
export function localImports(typescript: typeof ts, code: string): string[] {
  const file = typescript.createSourceFile("cell.ts", code, typescript.ScriptTarget.ES2022);
  return file.statements
    .filter((statement) => typescript.isImportDeclaration(statement))
    .filter(
      ({ moduleSpecifier }) => typescript.isStringLiteral(moduleSpecifier) && moduleSpecifier.text.startsWith("."),
    )
    .map((statement) => code.slice(statement.pos, statement.end).trim());
}
