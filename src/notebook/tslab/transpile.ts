/** The second stage of a cell's compilation, on tslab's own functions: awaits that an interrupt can break, and a map back to its lines. */
import { SourceMap } from "node:module";
import type ts from "typescript";

type TypeScript = typeof ts;

/** Lines that tslab puts before a cell's code. */
const PREFIX_LINES = 1;
const INLINE_MAP = /\n?\/\/# sourceMappingURL=data:application\/json;base64,([A-Za-z0-9+/=]+)\s*$/;

/** From a line and column of the JavaScript that runs to those of the cell, all from 1. */
export class LineMap {
  readonly #stages: readonly SourceMap[];

  /** @param maps source maps, the one nearest to the running code first. */
  constructor(maps: readonly string[]) {
    this.#stages = maps.map((map) => new SourceMap(JSON.parse(map)));
  }

  find(line: number, column: number): { line: number; column: number } | undefined {
    let at = { line: line - 1, column: column - 1 };
    for (const stage of this.#stages) {
      const entry = stage.findEntry(at.line, at.column);
      if (!("originalLine" in entry) || entry.originalLine === undefined) return undefined;
      at = { line: entry.originalLine, column: entry.originalColumn };
    }
    return at.line < PREFIX_LINES ? undefined : { line: at.line + 1 - PREFIX_LINES, column: at.column + 1 };
  }
}

/** tslab's `ts.transpileModule`, with guarded awaits; `onMaps` gets the source maps of each result, nearest to the code first. */
export function guardedTranspile(
  typescript: TypeScript,
  onMaps: (maps: string[]) => void,
): TypeScript["transpileModule"] {
  return (source, options) => {
    const inline = INLINE_MAP.exec(source);
    const result = typescript.transpileModule(inline === null ? source : source.slice(0, inline.index + 1), {
      ...options,
      compilerOptions: { ...options.compilerOptions, sourceMap: true },
      transformers: { before: [guardAwaits(typescript)] },
    });
    const first = inline === null ? [] : [Buffer.from(inline[1]!, "base64").toString("utf8")];
    onMaps(result.sourceMapText === undefined ? [] : [result.sourceMapText, ...first]);
    return { ...result, outputText: result.outputText.replace(/\/\/# sourceMappingURL=.*\s*$/, "") };
  };
}

/** `await x` becomes `await __tslab__.guard(x)`, and `for await (... of x)` likewise; see `cell.ts`. */
function guardAwaits({ factory, isAwaitExpression, isForOfStatement, visitEachChild, visitNode }: TypeScript) {
  const guarded = (name: string, expression: ts.Expression): ts.Expression =>
    factory.createCallExpression(
      factory.createPropertyAccessExpression(factory.createIdentifier("__tslab__"), name),
      undefined,
      [expression],
    );
  return (context: ts.TransformationContext) => {
    const visit = (node: ts.Node): ts.Node => {
      const visited = visitEachChild(node, visit, context);
      if (isAwaitExpression(visited)) {
        return factory.updateAwaitExpression(visited, guarded("guard", visited.expression));
      }
      if (isForOfStatement(visited) && visited.awaitModifier !== undefined) {
        const { awaitModifier, initializer, expression, statement } = visited;
        return factory.updateForOfStatement(
          visited,
          awaitModifier,
          initializer,
          guarded("guardEach", expression),
          statement,
        );
      }
      return visited;
    };
    return (file: ts.SourceFile): ts.SourceFile => visitNode(file, visit) as ts.SourceFile;
  };
}

/**
 * `{ a }` becomes `{ a: a }` where earlier cells may have declared `a`: tslab reads such a name from its table of variables, but not in a
 * shorthand property, which then finds nothing. Lines stay; columns behind the property move by its length.
 */
export function longProperties(typescript: TypeScript, declarations: string, code: string): string {
  const pieces: string[] = [];
  let done = 0;
  const visit = (node: ts.Node): void => {
    if (typescript.isShorthandPropertyAssignment(node) && declarations.includes(node.name.text)) {
      const start = node.name.getStart();
      pieces.push(code.slice(done, start), `${node.name.text}: `);
      done = start;
    }
    typescript.forEachChild(node, visit);
  };
  visit(typescript.createSourceFile("cell.ts", code, typescript.ScriptTarget.ES2022, true));
  return pieces.join("") + code.slice(done);
}

/** Whether a cell awaits by `for await` outside of functions, which tslab does not see. */
export function hasForAwait(typescript: TypeScript, code: string): boolean {
  if (!/\bfor\s+await\b/.test(code)) return false;
  const isInside = (node: ts.Node): boolean =>
    (typescript.isForOfStatement(node) && node.awaitModifier !== undefined) ||
    (!typescript.isFunctionLike(node) && typescript.forEachChild(node, isInside) === true);
  return isInside(typescript.createSourceFile("cell.ts", code, typescript.ScriptTarget.ES2022));
}
