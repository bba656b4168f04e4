/** TypeScript: src/ and evals/ into dist/, only when a source changed. */
import fs from "node:fs";
import path from "node:path";
import { digestOf, filesUnder, isCurrent, writeStamp } from "./stamp.mjs";
import { runStep } from "./step.mjs";

const SOURCE_FOLDERS = ["src", "evals"];
const OUTPUT_SUFFIX = /\.(d\.ts|js|js\.map)$/;

const isSource = (name) => name.endsWith(".ts") && !name.endsWith(".d.ts");

/** Removes outputs whose source is gone, so that a deleted module cannot be imported from dist/. */
function removeOrphans(root) {
  for (const folder of SOURCE_FOLDERS) {
    for (const output of filesUnder(path.join(root, "dist", folder), (name) => OUTPUT_SUFFIX.test(name))) {
      const source = path.join(root, path.relative(path.join(root, "dist"), output).replace(OUTPUT_SUFFIX, ".ts"));
      if (!fs.existsSync(source)) fs.rmSync(output);
    }
  }
}

/** Compiles where needed; true if it had to. */
export async function ensureTypeScript(root, logs) {
  const sources = SOURCE_FOLDERS.flatMap((folder) => filesUnder(path.join(root, folder), isSource));
  const outputs = sources.map((file) => path.join(root, "dist", path.relative(root, file).replace(/\.ts$/, ".js")));
  const settings = [path.join(root, "tsconfig.json"), path.join(root, "package-lock.json")];
  const digest = digestOf([...settings, ...sources]);
  const stamp = path.join(root, "dist", ".stamp");
  if (isCurrent(stamp, digest, outputs)) return false;

  // tsc trusts its build information and would not write an output again that somebody removed.
  if (!outputs.every((output) => fs.existsSync(output))) {
    fs.rmSync(path.join(root, "dist", "tsconfig.tsbuildinfo"), { force: true });
  }
  await runStep("TypeScript (tsc)", process.execPath, ["node_modules/typescript/bin/tsc", "-p", "."], {
    cwd: root,
    logFile: path.join(logs, "tsc.log"),
    failure: "The TypeScript sources do not compile.",
  });
  removeOrphans(root);
  writeStamp(stamp, digest);
  return true;
}
