/**
 * One target's loop, in a process of its own, so that a crash or a hang of native code is a finding and not the end:
 *
 *   node scripts/fuzz/loop.mjs BUNDLE SEED_FOLDER CORPUS_FOLDER CURRENT_FILE SECONDS SEED
 *
 * Every input is written to CURRENT_FILE before it runs. Ends with one line of JSON: {runs, places, corpus}.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { Coverage } from "./coverage.mjs";
import { mutate, randomIntegers } from "./mutate.mjs";

/** No reader here needs more to show what it does. */
const MAX_INPUT_BYTES = 16_384;

const [bundle, seedFolder, corpusFolder, currentFile, seconds, seed] = process.argv.slice(2);
const { fuzz } = await import(pathToFileURL(bundle).href);
const coverage = new Coverage(globalThis.__coverage__);
const pick = randomIntegers(Number(seed));
const read = (folder) => fs.readdirSync(folder).map((file) => fs.readFileSync(path.join(folder, file)));
const inputs = [];
let runs = 0;

/** Runs an input; kept where it reached something new. */
async function run(bytes, keep) {
  fs.writeFileSync(currentFile, bytes);
  coverage.reset();
  await fuzz(bytes);
  runs++;
  if (!coverage.takeNew()) return;
  inputs.push(bytes);
  if (keep)
    fs.writeFileSync(path.join(corpusFolder, createHash("sha256").update(bytes).digest("hex").slice(0, 16)), bytes);
}

const started = Date.now();
for (const bytes of [...read(seedFolder), ...read(corpusFolder)]) await run(bytes, false);
if (inputs.length === 0) throw new Error(`no seeds in ${seedFolder}`);
/** Words of the format: runs of printable characters in the seeds. */
const words = [
  ...new Set(inputs.flatMap((bytes) => bytes.toString("latin1").match(/[\w.]{2,}|[^\w\s]{1,2}/g) ?? ["\0"])),
];
while (Date.now() - started < Number(seconds) * 1000) {
  // Half of the time one of the last that were found: what is new there has been tried least.
  const from = pick(2) === 0 ? inputs.length - 1 - pick(Math.min(16, inputs.length)) : pick(inputs.length);
  const other = inputs[pick(inputs.length)];
  await run(mutate(inputs[from], { pick, other, words, maxBytes: MAX_INPUT_BYTES }), true);
}
console.log(JSON.stringify({ runs, places: coverage.places, corpus: inputs.length }));
process.exit(0);
