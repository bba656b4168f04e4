import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The versions that a run records: ours, and of what it ran on. */
export function versions(): Record<string, string> {
  return { moescope: moescopeVersion(), node: process.versions.node, platform: `${process.platform}-${process.arch}` };
}

/** The version in our package.json, which lies some folders above this file, in the sources as in the build. */
function moescopeVersion(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder)) {
    const version = versionIn(join(folder, "package.json"));
    if (version !== undefined) return version;
  }
  return "unknown";
}

function versionIn(path: string): string | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(path, "utf8")) as { name?: string; version?: string };
    return name === "moescope" ? version : undefined;
  } catch {
    return undefined;
  }
}
