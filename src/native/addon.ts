/** Finds and loads the native addon; a failed load becomes a diagnosis with a remedy. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MoescopeError } from "../errors.js";
import type { NativeAddon } from "./binding.js";

let loaded: NativeAddon | undefined;

/** Folder of the package: the nearest one above this file whose package.json is named moescope. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (dirname(folder) !== folder) {
    const manifest = join(folder, "package.json");
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).name === "moescope") return folder;
    folder = dirname(folder);
  }
  throw new MoescopeError("NATIVE_UNAVAILABLE", "The folder of the moescope package could not be found.");
}

/** Version of the package, as its package.json says. */
export function packageVersion(): string {
  return JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")).version;
}

/** The addon, loaded once per process. Throws NATIVE_UNAVAILABLE with what to do about it. */
export function loadAddon(): NativeAddon {
  if (loaded !== undefined) return loaded;
  const path = join(packageRoot(), "native", "build", "moescope.node");
  if (!existsSync(path)) {
    throw new MoescopeError(
      "NATIVE_UNAVAILABLE",
      `The native core is not built: expected ${path}. Run \`npm run build\` in ${packageRoot()}.`,
    );
  }
  try {
    loaded = createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MoescopeError(
      "NATIVE_UNAVAILABLE",
      `The native core at ${path} does not load on ${process.platform}-${process.arch}, Node ${process.version}: ${reason}. ` +
        "It was probably built on another machine; remove native/build and run `npm run build`.",
      { cause },
    );
  }
  return loaded;
}
