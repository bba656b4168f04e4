/** Every public name, and all that can be reached from it, as the compiler of cells (TypeScript 5.0.4) sees it: nothing is silently `any`. */
import { createRequire } from "node:module";
import { join } from "node:path";
import type ts from "typescript";
import { beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../../src/native/addon.js";
import { resolveOptional } from "../../../src/notebook/optional.js";
import { withPlainTypedArrays } from "../../../src/notebook/tslab/compiler.js";

const ENTRIES = ["moescope", "moescope/evals"] as const;
const OWN_FILES = `${packageRoot()}/dist/`;
/** `any` that stands in the declarations of Apache Arrow: a table whose columns are known at run time only. */
const ARROWS_OWN = /^(Table|Vector|RecordBatch|Field|Schema|DataType|Data)<any/;

let compiler: typeof ts;
let checker: ts.TypeChecker;
let source: ts.SourceFile;

beforeAll(() => {
  const fromTslab = createRequire(resolveOptional("tslab/dist/converter.js"));
  compiler = fromTslab("@tslab/typescript-for-tslab") as typeof ts;
  const options: ts.CompilerOptions = {
    module: compiler.ModuleKind.ESNext,
    moduleResolution: compiler.ModuleResolutionKind.Bundler,
    target: compiler.ScriptTarget.ES2022,
    lib: ["lib.es2022.d.ts"],
    types: ["node"],
    typeRoots: [join(packageRoot(), "node_modules", "@types")],
    strictNullChecks: true,
    skipLibCheck: true,
    noEmit: true,
  };
  const file = join(packageRoot(), "cell.ts");
  const host = compiler.createCompilerHost(options);
  const { readFile, getSourceFile, fileExists } = host;
  const code = ENTRIES.map((name, i) => `import * as entry${i} from "${name}"; entry${i};`).join("\n");
  const read = (name: string): string | undefined =>
    name === file ? code : name.endsWith(".d.ts") ? withPlainTypedArrays(readFile(name) ?? "") : readFile(name);
  Object.assign(host, {
    readFile: read,
    fileExists: (name: string) => name === file || fileExists(name),
    getSourceFile: (name: string, version: ts.ScriptTarget, ...rest: never[]) =>
      name === file || (name.endsWith(".d.ts") && !/\/lib\.[^/]*$/.test(name))
        ? compiler.createSourceFile(name, read(name) ?? "", version)
        : getSourceFile(name, version, ...rest),
  });
  const program = compiler.createProgram([file], options, host);
  checker = program.getTypeChecker();
  source = program.getSourceFile(file)!;
  expect(program.getSemanticDiagnostics(source).map(({ messageText }) => messageText)).toEqual([]);
}, 60_000);

/** Walks types of this package's declarations, and remembers the paths to those that are `any`. */
class Walk {
  readonly found: string[] = [];
  numTypes = 0;
  readonly #seen = new Set<ts.Type>();

  /** A type and what it is made of: its arguments, parts of unions, signatures, and the members of what we declare. */
  visit(type: ts.Type, path: string): void {
    if ((type.flags & compiler.TypeFlags.Any) !== 0) {
      this.found.push(path);
      return;
    }
    if (this.#seen.has(type)) return;
    this.#seen.add(type);
    this.numTypes++;
    if (ARROWS_OWN.test(checker.typeToString(type))) return;
    if (type.isUnionOrIntersection()) for (const part of type.types) this.visit(part, path);
    for (const argument of argumentsOf(type)) this.visit(argument, `${path}<>`);
    for (const signature of [...type.getCallSignatures(), ...type.getConstructSignatures()]) {
      if (signature.declaration !== undefined && !isOwn(signature.declaration)) continue;
      for (const parameter of signature.parameters) this.visit(typeOf(parameter), `${path}(${parameter.name})`);
      this.visit(signature.getReturnType(), `${path}()`);
    }
    for (const property of type.getProperties()) {
      if (property.declarations?.some((node) => isOwn(node) && !isPrivate(node)))
        this.visit(typeOf(property), `${path}.${property.name}`);
    }
  }
}

const isOwn = (node: ts.Node): boolean => node.getSourceFile().fileName.startsWith(OWN_FILES);
/** Declarations name private members without their types. */
const isPrivate = (node: ts.Node): boolean =>
  (compiler.isPropertyDeclaration(node) && compiler.isPrivateIdentifier(node.name)) ||
  (compiler.getCombinedModifierFlags(node as ts.Declaration) & compiler.ModifierFlags.Private) !== 0;

/** Of generators only what they yield: what they return is `any` in the language's own declarations. */
function argumentsOf(type: ts.Type): readonly ts.Type[] {
  const all = checker.getTypeArguments(type as ts.TypeReference) ?? [];
  return /^(Async)?(Generator|IterableIterator|Iterator)$/.test(type.symbol?.name ?? "") ? all.slice(0, 1) : all;
}

const typeOf = (symbol: ts.Symbol): ts.Type => checker.getTypeOfSymbolAtLocation(symbol, source);

describe("the types of", () => {
  it.each(ENTRIES)("%s are known to cells, all the way down", (name) => {
    const statement = source.statements.find(
      (node) => compiler.isImportDeclaration(node) && (node.moduleSpecifier as ts.StringLiteral).text === name,
    ) as ts.ImportDeclaration;
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(statement.moduleSpecifier)!);
    const walk = new Walk();
    for (const symbol of exported) {
      const target = symbol.flags & compiler.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      const isValue = (target.flags & compiler.SymbolFlags.Value) !== 0;
      expect(target.declarations, symbol.name).toBeDefined();
      if (isValue) walk.visit(typeOf(target), symbol.name);
      if (target.flags & compiler.SymbolFlags.Type) walk.visit(checker.getDeclaredTypeOfSymbol(target), symbol.name);
    }
    expect(walk.found).toEqual([]);
    expect(exported.length).toBeGreaterThan(name === "moescope" ? 200 : 10);
    expect(walk.numTypes).toBeGreaterThan(exported.length);
  });
});
