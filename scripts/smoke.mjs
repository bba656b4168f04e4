#!/usr/bin/env node
/**
 * Smoke test on another Node: brings that Node from npm into .cache, loads the library in both module systems, and generates on the
 * demo model; the ids must be those of the Node that runs this script.
 *
 *   node scripts/smoke.mjs 24
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { runStep, SetupError } from "./prepare/step.mjs";
import { prepare, ROOT, runScript } from "./prepare.mjs";
import { Tally } from "./test/tally.mjs";

const TIMEOUT_MS = 120_000;
const GENERATE = ["dist/src/cli/main.js", "generate", "demo", "--prompt", "1, 2, 3,", "--max-tokens", "8", "--json"];

/** Imports and requires the library, and prints the names that each gives. */
const LOAD_BOTH = `
  import { createRequire } from "node:module";
  const imported = Object.keys(await import("moescope")).sort();
  const required = Object.keys(createRequire(process.cwd() + "/package.json")("moescope")).filter((name) => name !== "__esModule").sort();
  if (imported.length === 0 || imported.join() !== required.join()) throw new Error(imported + " is not " + required);
`;

/** The program of Node `major` from npm's package for this machine, or undefined where it cannot be had. */
async function bringNode(major) {
  const folder = path.join(ROOT, ".cache", `node-${major}`);
  const name = `node-${process.platform}-${process.arch}`;
  const program = path.join(folder, "node_modules", name, "bin", "node");
  if (fs.existsSync(program)) return program;
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, "package.json"), "{}");
  const args = ["install", "--no-save", "--no-audit", "--no-fund", `${name}@${major}`];
  const logFile = path.join(ROOT, ".cache", "logs", `node-${major}.log`);
  try {
    await runStep(`Node ${major} (npm)`, "npm", args, { cwd: folder, logFile });
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return undefined;
  }
  return program;
}

/** Standard output of a program, or an Error with the end of what it said. */
function run(program, args) {
  const result = spawnSync(program, args, { cwd: ROOT, encoding: "utf8", timeout: TIMEOUT_MS });
  if (result.status === 0) return result.stdout;
  const said = result.error?.message ?? result.stderr.trim().split("\n").slice(-5).join("\n");
  return new Error(`${path.basename(program)} ${args[0]}: ${said}`);
}

function check(tally, name, outcome) {
  if (outcome instanceof Error) tally.failures.push(`${name}: ${outcome.message}`);
  else tally.passed += 1;
}

/** Error where the two runs did not give the same tokens. */
function compareIds(ours, theirs) {
  if (ours instanceof Error) return ours;
  if (theirs instanceof Error) return theirs;
  const [expected, actual] = [ours, theirs].map((output) => JSON.stringify(JSON.parse(output).tokenIds));
  return expected !== undefined && expected === actual ? actual : new Error(`expected ids ${expected}, got ${actual}`);
}

await runScript(async () => {
  const major = process.argv[2] ?? "24";
  if (!/^\d+$/.test(major)) throw new SetupError(`Expected a major version of Node, got ${major}.`);
  await prepare();
  const tally = new Tally();
  const program = await bringNode(major);
  if (program === undefined) {
    tally.skip(`smoke test on Node ${major}`, `Node ${major} could not be had from npm`);
  } else {
    check(
      tally,
      `Node ${major} imports and requires the library`,
      run(program, ["--input-type=module", "-e", LOAD_BOTH]),
    );
    check(tally, `Node ${major} generates`, compareIds(run(process.execPath, GENERATE), run(program, GENERATE)));
  }
  tally.print();
  process.exitCode = tally.failures.length === 0 ? 0 : 1;
});
