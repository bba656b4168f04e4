/** Cells on tslab's converter and executor: what tslab does well (types and names across cells), with our settings and errors. */
import type ts from "typescript";
import { requireOptional } from "../optional.js";
import { loadCompiler } from "./compiler.js";
import { CellModules } from "./modules.js";
import { hasForAwait, LineMap, longProperties } from "./transpile.js";

/** What the type checker has against a cell; lines and characters from 0. */
export interface Diagnostic {
  start: { line: number; character: number };
  end: { line: number; character: number };
  messageText: string;
  code: number;
  fileName?: string;
}

interface Converted {
  output?: string;
  diagnostics: Diagnostic[];
  sideOutputs?: { path: string; data: string }[];
  hasToplevelAwait?: boolean;
}
interface Converter {
  convert(declarations: string, code: string): Converted;
  inspect(declarations: string, code: string, position: number): ts.QuickInfo | undefined;
  complete(declarations: string, code: string, position: number): Completion;
  addModule(name: string, code: string, meta: object): Diagnostic[];
  close(): void;
}
interface Executor {
  execute(code: string): Promise<boolean>;
  inspect(code: string, position: number): ts.QuickInfo | undefined;
  complete(code: string, position: number): Completion;
  locals: Record<string, unknown>;
  interrupt(): void;
  close(): void;
}

/** Names that fit at a place; `start` and `end` are what they replace. */
export interface Completion {
  start: number;
  end: number;
  candidates: string[];
}

/** How a cell ended. A value is that of its last expression, unless that is null or undefined. */
export type Outcome =
  | { kind: "done"; value?: unknown }
  | { kind: "thrown"; error: unknown }
  | { kind: "mistyped"; diagnostics: Diagnostic[] };

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
  readonly #modules: CellModules;
  readonly #maps = new Map<string, { maps: string[]; numLines: number }>();
  readonly #changed = new Map<string, () => void>();
  /** JavaScript of the notebook's own modules, by file; given back to tslab, they are evaluated anew. */
  readonly #sideOutputs = new Map<string, string>();
  #lastMaps: string[] = [];
  #name = "cell-0.ts";
  #diagnostics: Diagnostic[] = [];
  #thrown: { error: unknown } | undefined;
  #value: { value: unknown } | undefined;
  #reload = false;

  /** Takes one to two seconds: the compiler reads the declarations of the language and of Node. */
  constructor(folder: string, hooks: EngineHooks, guards: Guards) {
    this.typescript = loadCompiler({
      onMaps: (maps) => {
        this.#lastMaps = maps;
      },
      onWatch: (file, changed) => this.#changed.set(file, changed),
    });
    const { createConverter } = requireOptional<{ createConverter(options: object): Converter }>(
      "tslab/dist/converter.js",
    );
    const { createExecutor } = requireOptional<{
      createExecutor(folder: string, converters: object, console: object): Executor;
    }>("tslab/dist/executor.js");
    const converter = createConverter({ isJS: false, isBrowser: false });
    const { convert } = converter;
    converter.convert = (declarations, code) => {
      const converted = hooks.compiling(() =>
        this.#convert(convert(declarations, longProperties(this.typescript, declarations, code)), code),
      );
      hooks.beforeRun();
      return converted;
    };
    for (const name of ["inspect", "complete", "addModule"] as const) {
      const method = converter[name] as (...values: unknown[]) => unknown;
      Object.assign(converter, { [name]: (...values: unknown[]) => hooks.compiling(() => method(...values)) });
    }
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
    for (const [file, changed] of this.#changed) if (!file.includes("/node_modules/")) changed();
    this.#reload = true;
  }

  close(): void {
    this.#executor.close();
  }

  #convert(converted: Converted, code: string): Converted {
    this.#diagnostics = converted.diagnostics;
    if (converted.output === undefined) return converted;
    this.#maps.set(this.#name, { maps: this.#lastMaps, numLines: converted.output.trimEnd().split("\n").length });
    for (const { path, data } of converted.sideOutputs ?? []) this.#sideOutputs.set(path, data);
    const sideOutputs = this.#reload
      ? [...this.#sideOutputs].map(([path, data]) => ({ path, data }))
      : converted.sideOutputs;
    this.#reload = false;
    return {
      ...converted,
      hasToplevelAwait: converted.hasToplevelAwait || hasForAwait(this.typescript, code),
      sideOutputs,
      output: `${converted.output}\n//# sourceURL=${this.#name}`,
    };
  }
}
