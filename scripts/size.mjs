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

const CPP_NOT_A_FUNCTION =
  /^\s*(namespace|class|struct|union|enum|extern|if|for|while|do|switch|try|else|return|case|public|private|#|\/\/|\})/;

/** Lines of a C++ file with those that continue an open parenthesis joined to their first, as {text, start, end}. */
function logicalLines(text) {
  const found = [];
  let depth = 0;
  for (const [index, line] of text.split("\n").entries()) {
    if (depth > 0) {
      found.at(-1).text += ` ${line.trim()}`;
      found.at(-1).end = index;
    } else {
      found.push({ text: line, start: index, end: index });
    }
    const code = line.replace(/\/\/.*|"(\\.|[^"\\])*"|'(\\.|[^'\\])'/g, "");
    depth = Math.max(0, depth + code.split("(").length - code.split(")").length);
  }
  return found;
}

/**
 * Functions of a C++ file as {name, lines}. Relies on the formatter: a function's head is indented by at most one level and ends
 * in "{", and its "}" is the next one at the same indentation.
 */
function functionsOfCpp(text) {
  const found = [];
  const lines = logicalLines(text);
  let end = -1;
  for (const { text: head, start } of lines) {
    const [, indent, name] = /^( {0,2})\S.*?([\w:~]+(?:[=+*/<>-]{1,2})?)\(.*\{$/.exec(head) ?? [];
    if (name === undefined || start <= end || CPP_NOT_A_FUNCTION.test(head)) continue;
    const last = lines.find((line) => line.start > start && line.text.startsWith(`${indent}}`));
    if (last === undefined) continue;
    end = last.start;
    found.push({ name, lines: end - start + 1 });
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
