import { readFileSync } from "node:fs";
import { missingShared, sharedPath } from "../golden/shared.js";

const missing = missingShared("golden/lm_eval");

/** Empty when the shared folder is there; otherwise the reason that a skipped test shows in its name. */
export const skipReason: string = missing === undefined ? "" : ` (skipped: ${missing})`;

/** The path of a file in the shared folder. */
export function shared(path: string): string {
  return sharedPath(path);
}

/** All rows of a JSONL file under `golden/`. */
export function readGolden<T>(path: string): T[] {
  return readFileSync(sharedPath("golden", path), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}
