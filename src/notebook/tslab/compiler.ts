/** tslab's TypeScript with the settings of our cells. tslab writes its own into the code, so its compiler is replaced before it looks. */
import { createRequire } from "node:module";
import type ts from "typescript";
import { resolveOptional } from "../optional.js";
import { isOwnPackage, ownFile } from "./modules.js";
import { guardedTranspile } from "./transpile.js";

type TypeScript = typeof ts;
type WatchSystem = ts.System;

/** Typed arrays of declarations that TypeScript 5.7 and newer write: 5.0 knows no parameter there and would take them for `any`. */
const GENERIC_ARRAY =
  /\b((?:Int8|Uint8|Uint8Clamped|Int16|Uint16|Int32|Uint32|Float32|Float64|BigInt64|BigUint64)Array|Buffer)<[^<>()]*(?:<[^<>()]*>)?[^<>()]*>/g;

/** A declaration file as TypeScript 5.0 understands it. */
export function withPlainTypedArrays(declarations: string): string {
  return declarations.replace(GENERIC_ARRAY, "$1");
}

export interface CompilerHooks {
  /** Gets the source maps of each piece of JavaScript, nearest to the code first. */
  onMaps(maps: string[]): void;
  /** Gets each file that is watched, with the function that says it has changed. */
  onWatch(file: string, changed: () => void): void;
}

/** Loads tslab's compiler, changed; call it before any file of tslab is loaded. */
export function loadCompiler(hooks: CompilerHooks): TypeScript {
  const tslabRequire = createRequire(resolveOptional("tslab/dist/converter.js"));
  const file = tslabRequire.resolve("@tslab/typescript-for-tslab");
  const typescript = tslabRequire(file) as TypeScript;
  knowWatchedFiles(typescript.sys, hooks);
  tslabRequire.cache[file]!.exports = {
    ...typescript,
    createWatchCompilerHost: watchHost(typescript),
    transpileModule: guardedTranspile(typescript, hooks.onMaps),
  };
  return typescript;
}

/** The callback of a watched file that is told here is tslab's, which forgets what it made of the file, and not the compiler's below it. */
function knowWatchedFiles(system: WatchSystem, hooks: CompilerHooks): void {
  const watch = system.watchFile!.bind(system);
  system.watchFile = (file, callback, ...rest) => {
    hooks.onWatch(file, () => callback(file, 1 /* FileWatcherEventKind.Changed */));
    return watch(file, callback, ...rest);
  };
}

/** `createWatchCompilerHost` as tslab calls it: root files, options, system, and more that is passed on. */
function watchHost(typescript: TypeScript) {
  const create = typescript.createWatchCompilerHost as unknown as (
    rootFiles: string[],
    options: ts.CompilerOptions,
    system: WatchSystem,
    ...rest: unknown[]
  ) => ts.WatchCompilerHostOfFilesAndCompilerOptions<ts.BuilderProgram>;
  return (rootFiles: string[], options: ts.CompilerOptions, system: WatchSystem, ...rest: unknown[]) => {
    const own: ts.CompilerOptions = {
      ...options,
      moduleResolution: typescript.ModuleResolutionKind.Bundler,
      strictNullChecks: true,
      strictFunctionTypes: true,
      strictBindCallApply: true,
      inlineSourceMap: true,
      // Types of all packages that happen to lie in the folder would be loaded otherwise.
      types: ["node"],
    };
    const host = create(rootFiles, own, ownSystem(system), ...rest);
    return Object.assign(host, resolution(typescript, own, host));
  };
}

/** tslab's view of the disk, with declarations made readable. */
function ownSystem(system: WatchSystem): WatchSystem {
  const own: WatchSystem = Object.create(system);
  own.readFile = (file, encoding) => {
    const text = system.readFile(file, encoding);
    return text !== undefined && /\.d\.[cm]?ts$/.test(file) && !/\/lib\.[^/]*\.d\.ts$/.test(file)
      ? withPlainTypedArrays(text)
      : text;
  };
  return own;
}

/** Module names: those of this package everywhere, others from the notebook's folder, else from this package's. */
function resolution(
  typescript: TypeScript,
  options: ts.CompilerOptions,
  host: ts.ModuleResolutionHost,
): Pick<ts.WatchCompilerHost<ts.BuilderProgram>, "resolveModuleNameLiterals" | "hasInvalidatedResolutions"> {
  const cache = typescript.createModuleResolutionCache(typescript.sys.getCurrentDirectory(), (name) => name, options);
  const lookUp = (name: string, from: string): ts.ResolvedModuleWithFailedLookupLocations =>
    // What a package imports does not change while the kernel runs; what the notebook's own files import may appear.
    typescript.resolveModuleName(name, from, options, host, from.includes("/node_modules/") ? cache : undefined);
  return {
    resolveModuleNameLiterals: (literals, from) =>
      literals.map(({ text: name }) => {
        const found = lookUp(name, isOwnPackage(name) ? ownFile() : from);
        if (found.resolvedModule !== undefined || name.startsWith(".")) return found;
        return lookUp(name, ownFile());
      }),
    hasInvalidatedResolutions: () => false,
  };
}
