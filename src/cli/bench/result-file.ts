/** Where a run's figures are kept. */
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fromSystemError } from "../../errors.js";
import { toJson } from "../io.js";
import type { Machine } from "./ceilings.js";

/** A file's own path, or, in a folder, a name of the machine's words and the day: "intel-r-xeon-r-processor-2-cores-2026-11-24.json". */
export function resultPath(place: string, { cpu, cores }: Machine, date: Date): string {
  if (!isFolder(place)) return place;
  const words = `${cpu} ${cores} cores`
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return join(place, `${words}-${date.toISOString().slice(0, 10)}.json`);
}

/** Throws NO_PERMISSION, DISK_FULL and their like with the path. */
export function writeResult(path: string, result: unknown): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${toJson(result, 1)}\n`);
  } catch (error) {
    throw fromSystemError(error, `write ${path}`);
  }
}

function isFolder(place: string): boolean {
  if (place.endsWith("/")) return true;
  return statSync(place, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
