/** The packages that only notebooks need. They are optional, because zeromq brings no build for some machines and all else works there. */
import { createRequire } from "node:module";
import { MoescopeError } from "../errors.js";

const require = createRequire(import.meta.url);

/** What a package exports. @throws MoescopeError NATIVE_UNAVAILABLE where it is not installed, or its build does not load here */
export function requireOptional<Exports>(name: "zeromq" | `tslab/${string}`): Exports {
  try {
    return require(name) as Exports;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new MoescopeError(
      "NATIVE_UNAVAILABLE",
      `The notebook kernel needs the package ${name.split("/")[0]}, which did not load (${reason}): run npm install with optional packages.`,
      { cause },
    );
  }
}

/** The file that a name stands for, as seen from the package `from` (one of ours where it is missing). */
export function resolveOptional(name: string, from?: string): string {
  return from === undefined ? require.resolve(name) : createRequire(from).resolve(name);
}
