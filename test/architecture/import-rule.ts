/** The import rule of the TypeScript side, held against a real parse. */

import path from "node:path";
import ts from "typescript";
import type { Source } from "./source.js";

/** From right to left in the rule: a layer may import every layer of an earlier row. */
const ROWS: readonly (readonly string[])[] = [
  ["errors", "ambient-signal", "ambient-progress"],
  ["native"],
  ["router", "tokenizer", "checkpoint", "hub"],
  ["eval", "notebook", "plot", "analysis", "model", "quantize"],
  ["experiment"],
  ["index"],
  ["evals"],
  ["cli", "serve", "notebooks"],
];

/** What a layer may import from its own row besides itself. No two layers may stand in each other's list. */
const SIDEWAYS: Readonly<Record<string, readonly string[]>> = {
  tokenizer: ["checkpoint"], // a GGUF file carries its tokenizer
  eval: ["analysis", "plot"], // the report joins scores with expert load
  notebook: ["analysis", "plot"],
  model: ["analysis", "plot"], // trace.expertLoad().heatmap()
  cli: ["serve"], // `moescope serve`
};

/** What a layer may not import although the rows would let it, and why. */
const FORBIDDEN: Readonly<Record<string, { layers: readonly string[]; reason: string }>> = {
  plot: { layers: ["native", "router", "tokenizer", "checkpoint", "hub"], reason: "plots take numbers" },
  quantize: { layers: ["router", "hub"], reason: "quantising turns files into a file" },
  analysis: { layers: ["native", "tokenizer", "checkpoint", "hub"], reason: "analysis takes Arrow tables" },
  eval: { layers: ["native", "checkpoint"], reason: "eval sees a model through its own interface only" },
  evals: {
    layers: ROWS.slice(0, 5).flat(),
    reason: 'benchmarks go through the public entry only: import from "moescope"',
  },
};

/** The layer that a file of the project belongs to, or undefined for a place that the rule does not know. */
function layerOf(file: string): string | undefined {
  const [top, second] = file.split("/");
  if (top === "evals" || top === "notebooks") return top;
  if (top !== "src" || second === undefined) return undefined;
  const name = second.replace(/\.ts$/, "");
  return ROWS.flat().includes(name) ? name : undefined;
}

function mayImport(from: string, to: string): string | undefined {
  if (from === to) return undefined;
  const forbidden = FORBIDDEN[from];
  if (forbidden?.layers.includes(to)) return forbidden.reason;
  const row = (layer: string): number => ROWS.findIndex((layers) => layers.includes(layer));
  if (row(to) < row(from) || SIDEWAYS[from]?.includes(to)) return undefined;
  return row(to) === row(from) ? "they stand side by side" : "it stands further left";
}

/** Every module that a file names: import, export from, import(), require(), import("...") in a type. */
export function importsOf(source: Source): { specifier: string; line: number }[] {
  const tree = ts.createSourceFile(source.path, source.text, ts.ScriptTarget.ES2022, true);
  const found: { specifier: string; line: number }[] = [];
  const take = (node: ts.Node | undefined): void => {
    if (node === undefined || !ts.isStringLiteralLike(node)) return;
    found.push({ specifier: node.text, line: tree.getLineAndCharacterOfPosition(node.getStart()).line + 1 });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) take(node.moduleSpecifier);
    else if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference)) {
      take(node.moduleReference.expression);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) take(node.argument.literal);
    else if (ts.isCallExpression(node)) {
      const isRequire = ts.isIdentifier(node.expression) && node.expression.text === "require";
      if (isRequire || node.expression.kind === ts.SyntaxKind.ImportKeyword) take(node.arguments[0]);
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

/** The layer that a specifier leads to; undefined for packages and for Node's own modules. "?" for a file outside all layers. */
function layerOfImport(file: string, specifier: string): string | undefined {
  if (specifier === "moescope") return "index";
  if (specifier === "moescope/evals") return "evals";
  if (specifier.startsWith("moescope/")) return "?";
  if (!specifier.startsWith(".")) return undefined;
  const target = path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier.replace(/\.js$/, ".ts")));
  // package.json and data files are no layer.
  return target.endsWith(".json") ? undefined : (layerOf(target) ?? "?");
}

/** One sentence for each import that the rule does not allow. */
export function importViolations(sources: readonly Source[]): string[] {
  const found: string[] = [];
  for (const source of sources) {
    const from = layerOf(source.path);
    if (from === undefined) {
      found.push(`${source.path}: belongs to no layer of the import rule`);
      continue;
    }
    for (const { specifier, line } of importsOf(source)) {
      const to = layerOfImport(source.path, specifier);
      const reason = to === undefined ? undefined : to === "?" ? "that is in no layer" : mayImport(from, to);
      if (reason !== undefined) found.push(`${source.path}:${line}: ${from} may not import ${specifier}: ${reason}`);
    }
  }
  return found;
}
