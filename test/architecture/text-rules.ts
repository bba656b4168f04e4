/** Rules about the text of one file: size, words, awaits and state at the top level. */

import ts from "typescript";
import type { Source } from "./source.js";

export const LINES_WANTED = 300;
export const LINES_ALLOWED = 350;

/** Files that may be longer, each with its reason. */
export const LONG_FILES: Readonly<Record<string, string>> = {
  "src/index.ts": "the list of what the library exports, one line a name",
  "src/native/binding.ts": "the native surface, declared once, types and their shapes only",
};

/** Files that may keep state at the top level, each with its reason. */
const PROCESS_STATE: Readonly<Record<string, string>> = {
  "src/native/addon.ts": "a native module is loaded once per process, whoever asks for it",
};

/** Words that another word of the glossary stands for: [not this, but this]. Both spellings, camelCase and snake_case. */
const GLOSSARY: Readonly<Record<string, string>> = {
  nEmbd: "hiddenSize",
  dModel: "hiddenSize",
  hiddenDim: "intermediateSize",
  dMlp: "intermediateSize",
  ffDim: "intermediateSize",
  nLayers: "numLayers",
  kvMul: "numAttentionHeads / numKeyValueHeads",
  nExperts: "numExperts",
  nExpertsAc: "numExpertsPerToken",
  numLocalExperts: "numExperts",
  gateLogits: "routerLogits",
  selectedExperts: "topkExperts",
  expertWeights: "topkWeights",
  auxLoss: "loadBalancingLoss",
  numShots: "numFewshot",
};

const toSnake = (word: string): string => word.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const REPLACEMENTS: ReadonlyMap<string, string> = new Map(
  Object.entries(GLOSSARY).flatMap(([not, say]) => [
    [not, say],
    [toSnake(not), toSnake(say)],
  ]),
);

/** Identifiers of a TypeScript file that are camelCase words of the wrong kind; strings and foreign config keys are free. */
function identifiersOfScript(text: string): string[] {
  const scanner = ts.createScanner(ts.ScriptTarget.ES2022, true, ts.LanguageVariant.Standard, text);
  const found: string[] = [];
  for (let token = scanner.scan(); token !== ts.SyntaxKind.EndOfFileToken; token = scanner.scan()) {
    if (token === ts.SyntaxKind.Identifier && !scanner.getTokenText().includes("_")) found.push(scanner.getTokenText());
  }
  return found;
}

/** Words of a C++ file outside comments and strings. */
function identifiersOfCpp(text: string): string[] {
  const code = text.replace(/\/\/.*|\/\*[\s\S]*?\*\/|"(\\.|[^"\\\n])*"/g, " ");
  return code.match(/[A-Za-z_]\w*/g) ?? [];
}

/** One sentence for each name that the glossary replaces. */
export function wordViolations(sources: readonly Source[]): string[] {
  return sources.flatMap((source) => {
    const names = source.path.endsWith(".ts") ? identifiersOfScript(source.text) : identifiersOfCpp(source.text);
    return [...new Set(names)]
      .filter((name) => REPLACEMENTS.has(name))
      .map((name) => `${source.path}: say ${REPLACEMENTS.get(name)}, not ${name}`);
  });
}

export function numLines(source: Source): number {
  return source.text.trimEnd().split("\n").length;
}

/** One sentence for each file that is longer than allowed, or that stands in `longFiles` without need. */
export function sizeViolations(sources: readonly Source[], longFiles: Readonly<Record<string, string>>): string[] {
  const isLong = (source: Source): boolean => numLines(source) > LINES_ALLOWED;
  const tooLong = sources
    .filter((source) => isLong(source) && !longFiles[source.path])
    .map((source) => `${source.path}: ${numLines(source)} lines, ${LINES_ALLOWED} are allowed`);
  const needless = Object.keys(longFiles)
    .filter((path) => !sources.some((source) => source.path === path && isLong(source)))
    .map((path) => `${path}: may be long, but is not: take it off the list`);
  return [...tooLong, ...needless];
}

/** One sentence for each `await` that runs at import, which would break `require("moescope")`, and each top-level `let` or `var`. */
export function topLevelViolations(sources: readonly Source[]): string[] {
  const found: string[] = [];
  for (const source of sources) {
    const tree = ts.createSourceFile(source.path, source.text, ts.ScriptTarget.ES2022, true);
    const at = (node: ts.Node): string =>
      `${source.path}:${tree.getLineAndCharacterOfPosition(node.getStart()).line + 1}`;
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node) || ts.isPropertyDeclaration(node)) return;
      if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)) {
        found.push(`${at(node)}: await at the top level`);
      }
      ts.forEachChild(node, visit);
    };
    visit(tree);
    if (source.path in PROCESS_STATE) continue;
    for (const statement of tree.statements) {
      if (ts.isVariableStatement(statement) && (statement.declarationList.flags & ts.NodeFlags.Const) === 0) {
        found.push(`${at(statement)}: state at the top level: hang it from a Model, a Session or an argument`);
      }
    }
  }
  return found;
}
