/** What the front end asks about code that is not run: completion, documentation, whether it is complete. */
import type ts from "typescript";
import { MAGICS } from "./magics.js";
import type { CellEngine } from "./tslab/engine.js";
import type { Content } from "./wire/protocol.js";

/** Answers `complete_request`. Positions count Unicode characters, as the protocol does; JavaScript's strings do not. */
export function complete(engine: CellEngine, code: string, cursor: number): Content {
  const position = utf16Offset(code, cursor);
  const magic = /^\s*(%\w*)$/.exec(code.slice(0, position))?.[1];
  if (magic !== undefined) {
    const matches = Object.keys(MAGICS).filter((name) => name.startsWith(magic));
    return { status: "ok", matches, cursor_start: cursor - magic.length, cursor_end: cursor, metadata: {} };
  }
  const { start, end, candidates } = engine.complete(withoutMagic(code), position);
  return {
    status: "ok",
    matches: candidates,
    cursor_start: characters(code, start),
    cursor_end: characters(code, end),
    metadata: {},
  };
}

/** Answers `inspect_request` with the type and the documentation of what stands at the cursor. */
export function inspectCode(engine: CellEngine, code: string, cursor: number): Content {
  const position = utf16Offset(code, cursor);
  // At the end of a name, the name is meant, and so it is between a name and what follows it.
  const info =
    engine.inspect(withoutMagic(code), position) ?? engine.inspect(withoutMagic(code), Math.max(0, position - 1));
  if (info === undefined) return { status: "ok", found: false, data: {}, metadata: {} };
  const signature = textOf(info.displayParts);
  const documentation = [textOf(info.documentation), ...(info.tags ?? []).map(tagText)].filter((text) => text !== "");
  return {
    status: "ok",
    found: true,
    data: {
      "text/plain": [signature, ...documentation].join("\n\n"),
      "text/markdown": [`\`\`\`typescript\n${signature}\n\`\`\``, ...documentation].join("\n\n"),
    },
    metadata: {},
  };
}

/** Answers `is_complete_request`. */
export function isComplete(typescript: typeof ts, code: string): Content {
  if (/\n\s*\n\s*$/.test(code)) return { status: "complete" }; // two empty lines: the person wants it to run
  const file = typescript.createSourceFile("cell.tsx", withoutMagic(code), typescript.ScriptTarget.Latest);
  const { parseDiagnostics } = file as ts.SourceFile & { parseDiagnostics: readonly ts.DiagnosticWithLocation[] };
  if (parseDiagnostics.length === 0) return { status: "complete" };
  const isOpen = parseDiagnostics.some(({ start, length }) => start + length >= code.trimEnd().length);
  if (!isOpen) return { status: "invalid" };
  const last = code.split("\n").at(-1) ?? "";
  return { status: "incomplete", indent: `${/^\s*/.exec(last)?.[0] ?? ""}${/[([{]\s*$/.test(last) ? "  " : ""}` };
}

const textOf = (parts: readonly ts.SymbolDisplayPart[] | undefined): string =>
  (parts ?? []).map(({ text }) => text).join("");

const tagText = ({ name, text }: ts.JSDocTagInfo): string => `@${name} ${textOf(text)}`.trim();

/** A command of the first line is no TypeScript; blanks keep every position. */
const withoutMagic = (code: string): string => code.replace(/^\s*%\w*/, (magic) => " ".repeat(magic.length));

function utf16Offset(code: string, cursor: number): number {
  let offset = 0;
  for (const character of code) {
    if (cursor-- <= 0) break;
    offset += character.length;
  }
  return offset;
}

const characters = (code: string, offset: number): number => [...code.slice(0, offset)].length;
