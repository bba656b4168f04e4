/** tslab's converter for as long as it is whole: one that an interrupt broke off in the middle is replaced by a new one. */
import type ts from "typescript";
import { requireOptional } from "../optional.js";
import { loadCompiler } from "./compiler.js";

/** What the type checker has against a cell; lines and characters from 0. */
export interface Diagnostic {
  start: { line: number; character: number };
  end: { line: number; character: number };
  messageText: string;
  code: number;
  fileName?: string;
}

export interface Converted {
  output?: string;
  diagnostics: Diagnostic[];
  sideOutputs?: { path: string; data: string }[];
  hasToplevelAwait?: boolean;
}
export interface Converter {
  convert(declarations: string, code: string): Converted;
  inspect(declarations: string, code: string, position: number): ts.QuickInfo | undefined;
  complete(declarations: string, code: string, position: number): Completion;
  addModule(name: string, code: string, meta: object): Diagnostic[];
  close(): void;
}
/** Names that fit at a place; `start` and `end` are what they replace. */
export interface Completion {
  start: number;
  end: number;
  candidates: string[];
}

export class CellCompiler {
  readonly typescript: typeof ts;
  /** Every use goes to the converter that is whole then. */
  readonly converter: Converter;
  /** Source maps of the JavaScript that was made last, nearest to the code first. */
  lastMaps: string[] = [];
  readonly #create: () => Converter;
  readonly #compiling: <T>(work: () => T) => T;
  readonly #changed = new Map<string, () => void>();
  /** Modules that cells have written by `@module`: a new converter gets them again. */
  readonly #written = new Map<string, [name: string, code: string, meta: object]>();
  #whole: Converter | undefined;

  /** @param compiling runs around each use; an interrupt that takes too long ends the JavaScript inside, and nothing is run after it. */
  constructor(compiling: <T>(work: () => T) => T) {
    this.#compiling = compiling;
    this.typescript = loadCompiler({
      onMaps: (maps) => {
        this.lastMaps = maps;
      },
      onWatch: (file, changed) => this.#changed.set(file, changed),
    });
    const { createConverter } = requireOptional<{ createConverter(options: object): Converter }>(
      "tslab/dist/converter.js",
    );
    this.#create = () => createConverter({ isJS: false, isBrowser: false });
    this.#whole = this.#create();
    this.converter = {
      convert: (...given) => this.#use((converter) => converter.convert(...given)),
      inspect: (...given) => this.#use((converter) => converter.inspect(...given)),
      complete: (...given) => this.#use((converter) => converter.complete(...given)),
      addModule: (...given) => {
        this.#written.set(given[0], given);
        return this.#use((converter) => converter.addModule(...given));
      },
      close: () => this.#whole?.close(),
    };
  }

  /** Lets the next use read the notebook folder's own files again. */
  readAgain(): void {
    for (const [file, changed] of this.#changed) if (!file.includes("/node_modules/")) changed();
  }

  #use<T>(work: (converter: Converter) => T): T {
    return this.#compiling(() => {
      const converter = this.#whole ?? this.#renew();
      this.#whole = undefined;
      try {
        return work(converter);
      } finally {
        // Not reached where the JavaScript was ended by force.
        this.#whole = converter;
      }
    });
  }

  #renew(): Converter {
    this.#changed.clear();
    const converter = this.#create();
    for (const given of this.#written.values()) converter.addModule(...given);
    return converter;
  }
}
