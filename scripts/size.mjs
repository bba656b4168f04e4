#!/usr/bin/env node
/** Prints the largest files and functions of the project, against the budget: files about 300 lines, functions about 60. */
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";
import { filesUnder } from "./prepare/stamp.mjs";
import { ROOT } from "./prepare.mjs";

const SHOWN = 15;
const FOLDERS = ["src", "evals", "native", "scripts", "test"];
const SOURCE = /\.(ts|mjs|cpp|h|cu|cuh)$/;

/** Named functions of a TypeScript or JavaScript file as {name, lines}. */
function functionsOfScript(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
  const lineOf = (position) => source.getLineAndCharacterOfPosition(position).line;
  const found = [];
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body !== undefined) {
      const name = (node.name ?? node.parent.name)?.getText(source) ?? "(anonymous)";
      // A describe() block or another callback without a name is a list of tests, not a function to read in one go.
      if (name !== "(anonymous)") found.push({ name, lines: lineOf(node.end) - lineOf(node.getStart(source)) + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/**
 * Functions of a C++ file as {name, lines}. Relies on the formatter: a function starts on a line that is indented by at most one
 * level and ends in "{", and its "}" is the next one at the same indentation.
 */
function functionsOfCpp(text) {
  const lines = text.split("\n");
  const found = [];
  let start = 0;
  for (const [index, line] of lines.entries()) {
    const head =
      /^( {0,2})(?! |namespace|class|struct|enum|extern|constexpr [^(]*=|public|private|#|\/\/|\}).*\{$/.exec(line);
    if (head === null || index < start) continue;
    const signature = lines.slice(Math.max(0, index - 4), index + 1).join(" ");
    const name = /([\w:~]+)\([^()]*(\([^()]*\)[^()]*)*\)[^()]*\{$/.exec(signature)?.[1];
    const end = lines.findIndex((other, at) => at > index && other.startsWith(`${head[1]}}`));
    if (name === undefined || end < 0) continue;
    found.push({ name, lines: end - index + 1 });
    start = end;
  }
  return found;
}

function print(title, rows) {
  console.log(`\n${title}`);
  for (const { lines, name } of rows.sort((a, b) => b.lines - a.lines).slice(0, SHOWN)) {
    console.log(`${String(lines).padStart(6)}  ${name}`);
  }
}

const files = [];
const functions = [];
for (const full of FOLDERS.flatMap((folder) =>
  filesUnder(path.join(ROOT, folder), (name) => SOURCE.test(name), isBuild),
)) {
  const file = path.relative(ROOT, full);
  const text = fs.readFileSync(full, "utf8");
  files.push({ name: file, lines: text.trimEnd().split("\n").length });
  const found = /\.(ts|mjs)$/.test(file) ? functionsOfScript(file, text) : functionsOfCpp(text);
  functions.push(...found.map(({ name, lines }) => ({ name: `${name}  ${file}`, lines })));
}
const total = files.reduce((sum, { lines }) => sum + lines, 0);
console.log(`${files.length} files, ${total} lines`);
print("Largest files (lines)", files);
print("Largest functions (lines)", functions);

function isBuild(folder) {
  return folder.startsWith("build");
}
