/**
 * Whether `moescope trace` holds its memory however long the text is: traces texts of growing length at level hidden with a small heap, and
 * prints the bytes of the trace beside the most memory that the process had (Linux: VmHWM).
 * node scripts/trace-memory.mjs [model] [MiB of trace...]
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Model } from "../dist/src/index.js";
import { bytesPerToken } from "../dist/src/router/capture.js";

const HEAP_MIB = 96;
const MAIN = resolve(import.meta.dirname, "../dist/src/cli/main.js");
const SENTENCE = "The cat sat on the mat, and 2 + 2 = 4. ";

/** Runs one trace; its most resident memory in MiB, and its seconds. */
async function traced(model, file, out) {
  const argv = [
    `--max-old-space-size=${HEAP_MIB}`,
    MAIN,
    "trace",
    model,
    "--file",
    file,
    "--level",
    "hidden",
    "--quiet",
  ];
  const start = performance.now();
  const child = spawn(process.execPath, [...argv, "--out", out, "--json"], { stdio: ["ignore", "ignore", "inherit"] });
  let peak = 0;
  const watch = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
    } catch {}
  }, 50);
  const code = await new Promise((done) => child.on("close", done));
  clearInterval(watch);
  if (code !== 0) throw new Error(`moescope trace ended with ${code}.`);
  return { peakMiB: Math.round(peak), seconds: Number(((performance.now() - start) / 1000).toFixed(1)) };
}

const [name = "demo", ...sizes] = process.argv.slice(2);
const model = await Model.load(name);
const { hiddenSize } = model.config;
const { shape } = model.parts;
const perToken = bytesPerToken({ level: "hidden" }, shape, { topK: shape.numExpertsPerToken, hiddenSize });
const sentenceTokens = (await model.tokenizer.encode(SENTENCE)).length;
await model.dispose();
const folder = mkdtempSync(join(tmpdir(), "moescope-memory-"));
try {
  for (const mebibytes of sizes.length === 0 ? [64, 256, 2048] : sizes.map(Number)) {
    const file = join(folder, "text");
    const repeats = Math.ceil((mebibytes * 2 ** 20) / perToken / sentenceTokens);
    writeFileSync(file, SENTENCE.repeat(repeats));
    const out = join(folder, "trace");
    console.log(
      JSON.stringify({ model: name, traceMiB: mebibytes, heapMiB: HEAP_MIB, ...(await traced(name, file, out)) }),
    );
    rmSync(out, { recursive: true });
  }
} finally {
  rmSync(folder, { recursive: true });
}
