import { invalidArgument } from "../../errors.js";
import { bubblewrap } from "./bubblewrap.js";
import { FirstSandbox } from "./first-sandbox.js";
import type { SandboxOptions } from "./pooled-sandbox.js";
import type { Sandbox } from "./sandbox.js";
import { unsandboxed } from "./unsandboxed.js";
import { wasi } from "./wasi.js";

/** The backends by name. Only `none` runs programs without isolation, and nothing chooses it by itself. */
const BACKENDS: Readonly<Record<SandboxName, (options: SandboxOptions) => Sandbox>> = {
  bubblewrap,
  wasi,
  none: unsandboxed,
};

export type SandboxName = "bubblewrap" | "wasi" | "none";

export const SANDBOX_NAMES: readonly SandboxName[] = Object.keys(BACKENDS) as SandboxName[];

/**
 * A sandbox of a name; nothing is looked for before it is used. Without a name: bubblewrap, or WebAssembly where that does not work.
 *
 * @throws InvalidArgumentError for an unknown name.
 */
export function openSandbox(name?: SandboxName, options: SandboxOptions = {}): Sandbox {
  if (name === undefined) return new FirstSandbox([bubblewrap(options), wasi(options)]);
  if (!Object.hasOwn(BACKENDS, name)) throw invalidArgument("sandbox", `one of ${SANDBOX_NAMES.join(", ")}`, name);
  return BACKENDS[name](options);
}
