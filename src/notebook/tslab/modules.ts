/** Which module a name in a cell means: the same rule for the type checker and at run time. */
import Module, { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { packageRoot } from "../../native/addon.js";

/** Whether a name is this package, which a cell finds in every folder. */
export function isOwnPackage(name: string): boolean {
  return name === "moescope" || name.startsWith("moescope/");
}

/** A file of this package's folder: names are looked up as from there where the notebook's folder does not know them. */
export function ownFile(): string {
  return join(packageRoot(), "cell.ts");
}

type Resolve = (request: string, parent: NodeJS.Module | undefined, ...rest: unknown[]) => string;
type Load = (request: string, parent: NodeJS.Module | undefined, isMain: boolean) => unknown;
/** Node's own loader, as far as it may be hooked. */
const loader = Module as unknown as { _resolveFilename: Resolve; _load: Load };

/** The packages that cells of one folder import. */
export class CellModules {
  readonly #require: NodeJS.Require;
  readonly #cellFile: string;
  /** Modules with a top-level await, which `require` refuses, by file. */
  readonly #namespaces = new Map<string, unknown>();

  constructor(folder: string) {
    this.#cellFile = join(folder, "src.js"); // tslab's name for a cell
    this.#require = createRequire(this.#cellFile);
  }

  /** Hooks Node's loader for the names that cells import; nothing changes for other modules. */
  install(): void {
    const own = new Module(ownFile());
    own.filename = ownFile();
    own.paths = (Module as unknown as { _nodeModulePaths(folder: string): string[] })._nodeModulePaths(packageRoot());
    const { _resolveFilename: resolve, _load: load } = loader;
    loader._resolveFilename = (request, parent, ...rest) => {
      if (parent?.filename !== this.#cellFile) return resolve(request, parent, ...rest);
      if (isOwnPackage(request)) return resolve(request, own, ...rest);
      try {
        return resolve(request, parent, ...rest);
      } catch (error) {
        if (request.startsWith(".") || (error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
        try {
          return resolve(request, own, ...rest);
        } catch {
          throw error;
        }
      }
    };
    loader._load = (request, parent, isMain) => {
      if (parent?.filename === this.#cellFile && this.#namespaces.size > 0 && !Module.isBuiltin(request)) {
        const namespace = this.#namespaces.get(loader._resolveFilename(request, parent));
        if (namespace !== undefined) return namespace;
      }
      return load(request, parent, isMain);
    };
  }

  /** An interrupt that ends a module in the middle of its evaluation leaves it in Node's cache, where the next import would find a half. */
  forgetHalfLoaded(): void {
    const cache = this.#require.cache;
    for (const [file, module] of Object.entries(cache)) if (module?.loaded === false) delete cache[file];
  }

  /** Imports those of `names` that `require` cannot have, because they await at their top level. */
  async prepare(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (name.startsWith(".") || name.startsWith("/") || Module.isBuiltin(name)) continue;
      try {
        this.#require(name);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ERR_REQUIRE_ASYNC_MODULE") continue; // the cell itself says it
        const file = this.#require.resolve(name);
        this.#namespaces.set(file, await import(pathToFileURL(file).href));
      }
    }
  }
}
