#!/usr/bin/env node
/**
 * Makes a fresh clone ready to run: npm packages, native core, TypeScript. Needs Node, npm and a C++ compiler only.
 * Each step is skipped when its inputs did not change. Used by `npm run demo`, `npm test` and the rest.
 *
 *   node scripts/prepare.mjs [--packages-only | --native-only] [--sanitize address,undefined|thread]
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import util from "node:util";
import { withLock } from "./prepare/lock.mjs";
import { ensureNative } from "./prepare/native.mjs";
import { ensurePackages } from "./prepare/packages.mjs";
import { SetupError, say, seconds } from "./prepare/step.mjs";
import { checkNode } from "./prepare/toolchain.mjs";
import { ensureTypeScript } from "./prepare/typescript.mjs";

/** The project's folder. */
export const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** Whether the package was installed by npm into another project, with its packages and its dist/: only the native core is missing. */
export const IS_INSTALLED = path.basename(path.dirname(ROOT)) === "node_modules";

/** Sanitizer sets that native/CMakeLists.txt knows; "" is the ordinary build. */
const SANITIZERS = ["", "address,undefined", "thread"];

/** Where the steps write what their tools say. */
export const LOGS = path.join(ROOT, ".cache", "logs");

/** Does the steps that are needed; `kind` of the native build: see ensureNative(). Throws a SetupError whose message is all that a user needs. */
export async function prepare({ packagesOnly = false, nativeOnly = false, kind = "" } = {}) {
  const started = Date.now();
  checkNode();
  await withLock(path.join(ROOT, ".cache", "prepare.lock"), async () => {
    let hasWorked = !IS_INSTALLED && (await ensurePackages(ROOT, LOGS));
    if (!packagesOnly) hasWorked = (await ensureNative(ROOT, LOGS, kind)) || hasWorked;
    if (!packagesOnly && !nativeOnly && !IS_INSTALLED) hasWorked = (await ensureTypeScript(ROOT, LOGS)) || hasWorked;
    say(`prepare: ${hasWorked ? "ready" : "up to date"} (${seconds(Date.now() - started)})`);
  });
}

/** Runs `main`, turns a SetupError into its sentence and exit code 1, and leaves other errors their stack. */
export async function runScript(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`\n${error.message}`);
    process.exitCode = 1;
  }
}

async function main() {
  say("prepare: checking packages, native core and TypeScript");
  checkNode();
  const { values } = util.parseArgs({
    options: {
      "packages-only": { type: "boolean", default: false },
      "native-only": { type: "boolean", default: false },
      sanitize: { type: "string", default: "" },
    },
  });
  if (!SANITIZERS.includes(values.sanitize)) {
    throw new SetupError(`Expected address,undefined or thread for --sanitize, got ${values.sanitize}.`);
  }
  await prepare({
    packagesOnly: values["packages-only"],
    nativeOnly: values["native-only"] || values.sanitize !== "",
    kind: values.sanitize,
  });
}

if (process.argv[1] !== undefined && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  runScript(main);
}
