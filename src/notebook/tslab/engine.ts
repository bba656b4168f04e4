/** Cells on tslab's converter and executor: what tslab does well (types and names across cells), with our settings and errors. */
import type ts from "typescript";
import { requireOptional } from "../optional.js";
import { CellCompiler, type Completion, type Converted, type Converter, type Diagnostic } from "./cell-compiler.js";
import { CellModules } from "./modules.js";
import { hasForAwait, LineMap, longProperties } from "./transpile.js";

interface Executor {
  execute(code: string): Promise<boolean>;
  inspect(code: string, position: number): ts.QuickInfo | undefined;
  complete(code: string, position: number): Completion;
  locals: Record<string, unknown>;
  interrupt(): void;
  close(): void;
}

/** How a cell ended. A value is that of its last expression, unless that is null or undefined. */
export type Outcome =
  | { kind: "done"; value?: unknown }
  | { kind: "thrown"; error: unknown }
  | { kind: "mistyped"; diagnostics: Diagnostic[] };

export type { Completion, Diagnostic } from "./cell-compiler.js";

export interface EngineHooks {
  /** Around each use of the compiler, which must not be broken off. */
  compiling<T>(work: () => T): T;
  /** Between a cell's compilation and its first statement; may throw, and the cell does not run. */
  beforeRun(): void;
}

/** What the code of cells reaches through the global `__tslab__`. */
export interface Guards {
  guard(value: unknown): unknown;
  guardEach(iterable: AsyncIterable<unknown> | Iterable<unknown>): AsyncGenerator<unknown>;
}

export class CellEngine {
  readonly typescript: typeof ts;
  readonly #executor: Executor;
  readonly #compiler: CellCompiler;
  readonly #modules: CellModules;
  readonly #maps = new Map<string, { maps: string[]; numLines: number }>();
  /** JavaScript of the notebook's own modules, by file; given back to tslab, they are evaluated anew. */
  readonly #sideOutputs = new Map<string, string>();
  #name = "cell-0.ts";
  #diagnostics: Diagnostic[] = [];
  #thrown: { error: unknown } | undefined;
  #value: { value: unknown } | undefined;
  #reload = false;

  /** Takes one to two seconds: the compiler reads the declarations of the language and of Node. */
  constructor(folder: string, hooks: EngineHooks, guards: Guards) {
    this.#compiler = new CellCompiler(hooks.compiling);
    this.typescript = this.#compiler.typescript;
    const { createExecutor } = requireOptional<{
      createExecutor(folder: string, converters: object, console: object): Executor;
    }>("tslab/dist/executor.js");
    const converter: Converter = {
      ...this.#compiler.converter,
      convert: (declarations, code) => {
        const long = longProperties(this.typescript, declarations, code);
        const converted = this.#convert(this.#compiler.converter.convert(declarations, long), code);
        hooks.beforeRun();
        return converted;
      },
    };
    this.#executor = createExecutor(
      folder,
      { node: converter, browser: converter, close: () => converter.close() },
      {
        log: (value: unknown) => {
          this.#value = { value };
        },
        error: (...values: unknown[]) => {
          // With more than one value it is a diagnostic as text; those we have as they are.
          if (values.length === 1) this.#thrown = { error: values[0] };
        },
      },
    );
    Object.assign((globalThis as unknown as { __tslab__: object }).__tslab__, guards);
    this.#modules = new CellModules(folder);
    this.#modules.install();
  }

  /** Names and values that cells have declared. */
  get locals(): Record<string, unknown> {
    return this.#executor.locals;
  }

  /** Runs a cell under a name that its stack traces show. */
  async execute(code: string, name: string): Promise<Outcome> {
    this.#name = name;
    this.#diagnostics = [];
    this.#thrown = undefined;
    this.#value = undefined;
    let isDone: boolean;
    try {
      this.#modules.forgetHalfLoaded();
      await this.#modules.prepare(this.typescript.preProcessFile(code).importedFiles.map(({ fileName }) => fileName));
      isDone = await this.#executor.execute(code);
    } catch (error) {
      return { kind: "thrown", error };
    }
    if (this.#diagnostics.length > 0) return { kind: "mistyped", diagnostics: this.#diagnostics };
    const thrown = this.#thrown as { error: unknown } | undefined;
    if (!isDone) return { kind: "thrown", error: thrown?.error };
    return { kind: "done", ...(this.#value as { value: unknown } | undefined) };
  }

  /** Ends the cell that awaits something; what it awaited goes on. */
  interrupt(): void {
    this.#executor.interrupt();
  }

  complete(code: string, position: number): Completion {
    return this.#executor.complete(code, position);
  }

  inspect(code: string, position: number): ts.QuickInfo | undefined {
    return this.#executor.inspect(code, position);
  }

  /** Where a line of a cell's JavaScript comes from. */
  lineOf(name: string, line: number, column: number): { line: number; column: number } | undefined {
    const mapped = this.#maps.get(name);
    // What comes after the cell's own lines is tslab's call of it.
    return mapped === undefined || line > mapped.numLines ? undefined : new LineMap(mapped.maps).find(line, column);
  }

  /** Lets the next cell that imports modules of the notebook's folder evaluate all of them anew, from the files as they are now. */
  reloadModules(): void {
    this.#compiler.readAgain();
    this.#reload = true;
  }

  close(): void {
    this.#executor.close();
  }

  #convert(converted: Converted, code: string): Converted {
    this.#diagnostics = converted.diagnostics;
    if (converted.output === undefined) return converted;
    const numLines = converted.output.trimEnd().split("\n").length;
    this.#maps.set(this.#name, { maps: this.#compiler.lastMaps, numLines });
    // A new compiler gives all modules again: those that are as they were keep their state.
    const changed = (converted.sideOutputs ?? []).filter(({ path, data }) => this.#sideOutputs.get(path) !== data);
    for (const { path, data } of changed) this.#sideOutputs.set(path, data);
    const sideOutputs = this.#reload ? [...this.#sideOutputs].map(([path, data]) => ({ path, data })) : changed;
    this.#reload = false;
    return {
      ...converted,
      hasToplevelAwait: converted.hasToplevelAwait || hasForAwait(this.typescript, code),
      sideOutputs,
      output: `${converted.output}\n//# sourceURL=${this.#name}`,
    };
  }
}
