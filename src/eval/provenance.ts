import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The versions that a run records: ours, and of what it ran on. */
export function versions(): Record<string, string> {
  return { moescope: moescopeVersion(), node: process.versions.node, platform: `${process.platform}-${process.arch}` };
}

/** The folder of our package.json, some folders above this file, in the sources as in the build; undefined where there is none. */
export function packageFolder(): string | undefined {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    if (versionIn(join(folder, "package.json")) !== undefined) return folder;
  }
  return undefined;
}

function moescopeVersion(): string {
  const folder = packageFolder();
  return (folder === undefined ? undefined : versionIn(join(folder, "package.json"))) ?? "unknown";
}

function versionIn(path: string): string | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(path, "utf8")) as { name?: string; version?: string };
    return name === "moescope" ? version : undefined;
  } catch {
    return undefined;
  }
}
