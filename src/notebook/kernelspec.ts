/** Kernelspecs: the folders in which Jupyter looks for kernels, and ours in one of them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { fromSystemError, MoescopeError } from "../errors.js";
import { packageRoot } from "../native/addon.js";
import { kernelCommand } from "./kernel-process.js";

/** The name that notebooks keep in their metadata. */
export const KERNEL_NAME = "moescope";
const LOGO_SIZES = [32, 64] as const;

/** What Jupyter reads of a `kernel.json`. */
export interface KernelJson {
  argv: string[];
  display_name: string;
  language: string;
  interrupt_mode: "message" | "signal";
  metadata?: Record<string, unknown>;
}

export interface InstalledKernel {
  name: string;
  folder: string;
  spec: KernelJson;
  /** Files that its command names and that are not there. */
  missing: string[];
}

/** The folder of kernels below a prefix, or the user's own. */
export function kernelsFolder(prefix: string | undefined): string {
  return join(prefix === undefined ? userDataFolder() : join(resolve(prefix), "share", "jupyter"), "kernels");
}

/** Our `kernel.json`; its paths are absolute, so that it works from every folder and with every PATH. */
export function kernelJson(): KernelJson {
  return {
    argv: kernelCommand("{connection_file}"),
    display_name: "TypeScript (moescope)",
    language: "typescript",
    interrupt_mode: "message",
    metadata: { debugger: false },
  };
}

/** Writes our kernelspec with its logo and gives its folder. @throws MoescopeError NO_PERMISSION, NATIVE_UNAVAILABLE before a build */
export async function installKernelspec(prefix: string | undefined): Promise<string> {
  const spec = kernelJson();
  const missing = missingFiles(spec);
  if (missing.length > 0) {
    throw new MoescopeError(
      "NATIVE_UNAVAILABLE",
      `Expected ${missing[0]} to be built, it is not there: run npm run build.`,
    );
  }
  const folder = join(kernelsFolder(prefix), KERNEL_NAME);
  const logo = readFileSync(join(packageRoot(), "src", "notebook", "logo.svg"), "utf8");
  const { Resvg } = await import("@resvg/resvg-js");
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "kernel.json"), `${JSON.stringify(spec, null, 2)}\n`);
    writeFileSync(join(folder, "logo-svg.svg"), logo);
    for (const size of LOGO_SIZES) {
      const png = new Resvg(logo, { fitTo: { mode: "width", value: size } }).render().asPng();
      writeFileSync(join(folder, `logo-${size}x${size}.png`), png);
    }
  } catch (error) {
    throw fromSystemError(error, `write ${folder}`);
  }
  return folder;
}

/** Takes our kernelspec away and gives its folder. @throws MoescopeError NOT_FOUND where there is none */
export function uninstallKernelspec(prefix: string | undefined): string {
  const folder = join(kernelsFolder(prefix), KERNEL_NAME);
  if (!existsSync(join(folder, "kernel.json"))) {
    throw new MoescopeError(
      "NOT_FOUND",
      `Expected the kernel ${KERNEL_NAME} in ${kernelsFolder(prefix)}, it is not installed there.`,
    );
  }
  try {
    rmSync(folder, { recursive: true });
  } catch (error) {
    throw fromSystemError(error, `remove ${folder}`);
  }
  return folder;
}

/** Kernels that Jupyter finds; of two with one name the first counts. `prefix` puts one more folder in front. */
export function installedKernels(prefix?: string): InstalledKernel[] {
  const folders = [...(prefix === undefined ? [] : [kernelsFolder(prefix)]), ...searchPath()];
  const found = new Map<string, InstalledKernel>();
  for (const parent of folders) {
    if (!existsSync(parent)) continue;
    for (const name of readdirSync(parent)) {
      const spec = readSpec(join(parent, name));
      if (spec === undefined || found.has(name)) continue;
      found.set(name, { name, folder: join(parent, name), spec, missing: missingFiles(spec) });
    }
  }
  return [...found.values()];
}

function readSpec(folder: string): KernelJson | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, "kernel.json"), "utf8")) as KernelJson;
  } catch {
    return undefined; // not a kernel
  }
}

function missingFiles({ argv }: KernelJson): string[] {
  return (argv ?? []).filter((word) => word.startsWith("/") && !existsSync(word));
}

/** Where Jupyter looks, in its order. */
function searchPath(): string[] {
  const { JUPYTER_PATH = "" } = process.env;
  const system = process.platform === "win32" ? [] : ["/usr/local/share/jupyter", "/usr/share/jupyter"];
  return [...JUPYTER_PATH.split(delimiter).filter(Boolean), userDataFolder(), ...system].map((at) =>
    join(at, "kernels"),
  );
}

function userDataFolder(): string {
  const { JUPYTER_DATA_DIR, XDG_DATA_HOME, APPDATA } = process.env;
  if (JUPYTER_DATA_DIR) return JUPYTER_DATA_DIR;
  if (process.platform === "darwin") return join(homedir(), "Library", "Jupyter");
  if (process.platform === "win32") return join(APPDATA ?? homedir(), "jupyter");
  return join(XDG_DATA_HOME || join(homedir(), ".local", "share"), "jupyter");
}
