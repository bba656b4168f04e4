import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of specifications, goldens and data that lies beside the checkout; `MOESCOPE_SHARED` names another place. */
const root: string =
  process.env.MOESCOPE_SHARED ?? resolve(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "shared");

/** Empty when the shared folder is there; otherwise the reason that a skipped test shows in its name. */
export const skipReason: string = existsSync(join(root, "golden", "lm_eval"))
  ? ""
  : ` (skipped: ${root} is not there; set MOESCOPE_SHARED)`;

/** The path of a file in the shared folder. */
export function shared(path: string): string {
  return join(root, path);
}

/** All rows of a JSONL file under `golden/`. */
export function readGolden<T>(path: string): T[] {
  return readFileSync(shared(join("golden", path)), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}
