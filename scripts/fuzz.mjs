#!/usr/bin/env node
import { spawn } from "node:child_process";
/**
 * Fuzzes what reads untrusted files, guided by the coverage of our sources, and ends with the line
 * "N passed, N failed, N skipped"; a target without a finding has passed.
 *
 *   node scripts/fuzz.mjs [--seconds 20] [--seed N] [target ...]      all targets, each for so long: `npm run fuzz`
 *
 * Targets are test/fuzz/targets. Inputs that reach something new are kept in .cache/fuzz/corpus, and a later run goes on from
 * there. A finding is written to .cache/fuzz/findings; once mended it belongs into test/fuzz/corpus, where `npm test` keeps it.
 */
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import util from "node:util";
import { createInstrumenter } from "istanbul-lib-instrument";
import { rolldown } from "rolldown";
import { SetupError, say } from "./prepare/step.mjs";
import { prepare, ROOT, runScript } from "./prepare.mjs";
import { Tally } from "./test/tally.mjs";

const SOURCES = path.join(ROOT, "test", "fuzz");
const WORK = path.join(ROOT, ".cache", "fuzz");
/** An input that takes longer is a finding: nothing here may hang on a file of some kilobytes. */
const HANG_MS = 10_000;
/** What a file of 16 KiB may make a reader take, V8's heap aside. */
const MEMORY_MEGABYTES = 1024;

const targetNames = () => fs.readdirSync(path.join(SOURCES, "targets")).map((file) => path.basename(file, ".ts"));

/** A target and the sources that it imports as one instrumented module. */
async function bundle(name) {
  const source = path.join(SOURCES, "targets", `${name}.ts`);
  const build = await rolldown({
    input: source,
    platform: "node",
    external: /^[^./]/,
    // Sources that ask for their own place look for the package's folder from there.
    transform: { define: { "import.meta.url": JSON.stringify(pathToFileURL(source).href) } },
  });
  const { output } = await build.generate({ format: "esm" });
  const file = path.join(WORK, "targets", `${name}.mjs`);
  const instrumenter = createInstrumenter({ esModules: true, compact: false });
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, instrumenter.instrumentSync(output[0].code, file));
  return file;
}

/** Runs a target's loop and watches it. Resolves to its counts, or to what the finding is. */
function watch(command, current) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    let hang = false;
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => (errors = (errors + data).slice(-4000)));
    const timer = setInterval(() => {
      const since = Date.now() - (fs.statSync(current, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (since < HANG_MS) return;
      hang = true;
      child.kill("SIGKILL");
    }, 500);
    child.on("close", (status, signal) => {
      clearInterval(timer);
      if (status === 0) resolve(JSON.parse(output.trim().split("\n").at(-1)));
      else resolve({ finding: hang ? `an input ran for more than ${HANG_MS / 1000} s` : `${signal ?? ""}${errors}` });
    });
  });
}

/** Fuzzes one target; true where there was no finding. */
async function fuzz(name, seconds, seed) {
  const [corpus, findings] = ["corpus", "findings"].map((folder) => path.join(WORK, folder, name));
  for (const folder of [corpus, findings]) fs.mkdirSync(folder, { recursive: true });
  const current = path.join(WORK, `${name}.current`);
  fs.rmSync(current, { force: true });
  const loop = path.join(ROOT, "scripts", "fuzz", "loop.mjs");
  const limits = [`--max-old-space-size=${MEMORY_MEGABYTES}`, "--stack-trace-limit=20"];
  const seeds = path.join(SOURCES, "corpus", name);
  const found = await watch([...limits, loop, await bundle(name), seeds, corpus, current, seconds, seed], current);
  if (found.finding === undefined) {
    say(`fuzz: ${name.padEnd(14)} ${found.runs} runs, ${found.places} places reached, ${found.corpus} inputs kept`);
    return true;
  }
  const kept = path.join(findings, `${Date.now()}`);
  fs.copyFileSync(current, kept);
  say(`fuzz: ${name.padEnd(14)} A FINDING, its input is ${path.relative(ROOT, kept)}\n${found.finding}`);
  return false;
}

/** A whole number, as text for the loop's command line. */
function wholeNumber(flag, text) {
  if (/^[1-9]\d*$/.test(text)) return text;
  throw new SetupError(`Expected a whole number above 0 for ${flag}, got ${text}.`);
}

runScript(async () => {
  const { values, positionals } = util.parseArgs({
    options: { seconds: { type: "string", default: "20" }, seed: { type: "string", default: `${Date.now()}` } },
    allowPositionals: true,
  });
  const seconds = wholeNumber("--seconds", values.seconds);
  const seed = wholeNumber("--seed", values.seed);
  const known = targetNames();
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new SetupError(`Expected one of ${known.join(", ")}, got ${unknown}.`);
  await prepare();
  say(`fuzz: seed ${seed}, ${seconds} s a target`);
  const tally = new Tally();
  for (const name of positionals.length > 0 ? positionals : known) {
    if (await fuzz(name, seconds, seed)) tally.passed++;
    else tally.failures.push(`fuzz ${name}`);
  }
  tally.print();
  process.exitCode = tally.failures.length === 0 ? 0 : 1;
});
