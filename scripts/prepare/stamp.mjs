/** Decides whether a step's inputs changed since its outputs were made. A stamp lies beside the outputs and goes with them. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";

/**
 * Files under `folder` whose name `accepts`, sorted; folders whose name is to `skip` are not entered. A missing folder is empty.
 *
 * @param {string} folder
 * @param {(name: string) => boolean} accepts
 * @param {(name: string) => boolean} skip
 * @returns {string[]}
 */
export function filesUnder(folder, accepts, skip = () => false) {
  const found = [];
  const visit = (at) => {
    for (const entry of fs.readdirSync(at, { withFileTypes: true })) {
      const full = path.join(at, entry.name);
      if (entry.isDirectory()) {
        if (!skip(entry.name)) visit(full);
      } else if (accepts(entry.name)) {
        found.push(full);
      }
    }
  };
  if (fs.existsSync(folder)) visit(folder);
  return found.sort();
}

/** A digest of names and contents of `files` and of the strings in `settings`. A change of times alone changes nothing. */
export function digestOf(files, settings = []) {
  const hash = createHash("sha256");
  for (const setting of settings) hash.update(`${setting}\0`);
  for (const file of files) hash.update(`${file}\0`).update(fs.readFileSync(file)).update("\0");
  return hash.digest("hex");
}

/** Whether `stampFile` holds `digest` and every one of `outputs` exists. */
export function isCurrent(stampFile, digest, outputs) {
  return (
    fs.existsSync(stampFile) &&
    fs.readFileSync(stampFile, "utf8") === digest &&
    outputs.every((output) => fs.existsSync(output))
  );
}

export function writeStamp(stampFile, digest) {
  fs.writeFileSync(stampFile, digest);
}
