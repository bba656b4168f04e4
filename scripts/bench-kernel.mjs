#!/usr/bin/env node
/**
 * The notebook kernel beside plain tslab and Deno's: start to ready, a trivial cell, 1000 declaring cells, memory. Prints a table and
 * writes all figures to bench/results/. Kernels take turns for the starts.
 *
 *   npm run build && node scripts/bench-kernel.mjs [--cells 1000] [--starts 5] [--deno PATH] [--out FOLDER]
 *
 * Deno's is measured where PATH is its program (`npm install --prefix DIR deno@2.9.6` brings it to DIR/node_modules/.bin/deno).
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { KernelClient } from "../dist/src/notebook/client.js";
import { kernelCommand } from "../dist/src/notebook/kernel-process.js";
import { ROOT } from "./prepare.mjs";

const TRIVIAL_CELLS = 200;
/** Names that the declaring cells share, each declared anew many times. */
const NAMES = 50;
const CHECKPOINTS = 10;
/** A kernel that has not run its declaring cells by then is left at the number that it did. */
const MOST_MS = 50_000;

const { values: options } = parseArgs({
  options: {
    cells: { type: "string", default: "1000" },
    starts: { type: "string", default: "5" },
    deno: { type: "string" },
    out: { type: "string", default: path.join(ROOT, "bench", "results") },
  },
});
const [numCells, numStarts] = [Number(options.cells), Number(options.starts)];
if (!(Number.isInteger(numCells) && numCells >= 100 && Number.isInteger(numStarts) && numStarts >= 1)) {
  console.error("Expected --cells of 100 or more and --starts of 1 or more, whole numbers.");
  process.exit(2);
}

const tslab = path.join(ROOT, "node_modules", "tslab", "bin", "tslab");
const versionOf = (file) => JSON.parse(readFileSync(path.join(ROOT, file), "utf8")).version;
const kernels = [
  { name: `moescope ${versionOf("package.json")}`, command: kernelCommand },
  {
    name: `plain tslab ${versionOf("node_modules/tslab/package.json")}`,
    command: (file) => [process.execPath, tslab, "kernel", "--config-path", file],
  },
];
if (options.deno === undefined) console.error("Deno's kernel is not measured: no --deno PATH.");
else {
  const version = execFileSync(options.deno, ["--version"], { encoding: "utf8" }).split(/\s+/)[1];
  // The npm package starts the program from a script; the program itself is what Jupyter would start.
  const program = execFileSync(options.deno, ["eval", "console.log(Deno.execPath())"], { encoding: "utf8" }).trim();
  kernels.push({
    name: `deno ${version}`,
    command: (file) => [program, "jupyter", "--kernel", "--conn", file],
  });
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const round = (value, digits) => Number(value.toFixed(digits));

const residentMB = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

async function start(command) {
  const started = performance.now();
  const client = await KernelClient.start({ cwd: os.tmpdir(), command });
  return { client, seconds: (performance.now() - started) / 1000 };
}

/** Milliseconds of one cell, from the request to the reply and the idle status; undefined where these have not come by `deadline`. */
async function timed(client, code, deadline = Number.POSITIVE_INFINITY) {
  const before = performance.now();
  const late = new Promise((resolve) => setTimeout(resolve, Math.min(deadline - before, 60_000)).unref());
  const reply = await Promise.race([client.execute(code), late]);
  if (reply === undefined) return undefined;
  const { content } = reply;
  if (content.status !== "ok") throw new Error(`${code} ended with ${JSON.stringify(content)}`);
  return performance.now() - before;
}

/** A fresh kernel: its first cell, then trivial cells, then `numCells` that declare. */
async function cells(command) {
  const { client } = await start(command);
  try {
    const idleMB = residentMB(client.process.pid);
    const firstMs = await timed(client, "1 + 1");
    const trivial = [];
    for (let i = 0; i < TRIVIAL_CELLS; i++) trivial.push(await timed(client, "1 + 1"));
    const declaring = [];
    const memoryMB = [round(residentMB(client.process.pid), 0)];
    const deadline = performance.now() + MOST_MS;
    for (let i = 1; i <= numCells; i++) {
      const ms = await timed(client, `const v${i % NAMES} = ${i};`, deadline);
      if (ms === undefined) break;
      declaring.push(ms);
      if (i % Math.floor(numCells / CHECKPOINTS) === 0) memoryMB.push(round(residentMB(client.process.pid), 0));
    }
    const sorted = [...trivial].sort((a, b) => a - b);
    return {
      firstMs: round(firstMs, 0),
      trivialMs: { median: round(median(trivial), 1), p95: round(sorted[Math.floor(0.95 * sorted.length)], 1) },
      declared: declaring.length,
      declaringMs: {
        first100: round(median(declaring.slice(0, 100)), 1),
        last100: round(median(declaring.slice(-100)), 1),
      },
      idleMB: round(idleMB, 0),
      memoryMB,
      memoryGrowth: round(memoryMB.at(-1) / memoryMB[0], 2),
    };
  } finally {
    await client.kill();
  }
}

const seconds = kernels.map(() => []);
for (let i = 0; i < numStarts; i++) {
  for (const [k, { command }] of kernels.entries()) {
    const { client, seconds: ready } = await start(command);
    seconds[k].push(round(ready, 2));
    await client.shutdown();
  }
  console.error(
    `start ${i + 1} of ${numStarts}: ${kernels.map(({ name }, k) => `${name} ${seconds[k].at(-1)} s`).join(", ")}`,
  );
}
const rows = [];
for (const [k, { name, command }] of kernels.entries()) {
  rows.push({ kernel: name, readySeconds: { median: median(seconds[k]), all: seconds[k] }, ...(await cells(command)) });
  console.error(JSON.stringify(rows.at(-1)));
}

console.table(
  rows.map(({ kernel, readySeconds, firstMs, trivialMs, declared, declaringMs, idleMB, memoryMB, memoryGrowth }) => ({
    kernel,
    "ready, s": `${readySeconds.median} (${Math.min(...readySeconds.all)}-${Math.max(...readySeconds.all)})`,
    "first cell, ms": firstMs,
    "trivial cell, ms (95 %)": `${trivialMs.median} (${trivialMs.p95})`,
    declared,
    "declaring, first and last 100, ms": `${declaringMs.first100}, ${declaringMs.last100}`,
    "memory idle, before and after, MB": `${idleMB}, ${memoryMB[0]}, ${memoryMB.at(-1)}`,
    growth: memoryGrowth,
  })),
);
const date = new Date().toISOString().slice(0, 10);
const cpu = {
  model: os.cpus()[0].model,
  cores: os.cpus().length,
  load: round(os.loadavg()[0], 1),
  node: process.version,
};
const slug = cpu.model
  .toLowerCase()
  .replace(/[^a-z0-9]+/g, "-")
  .replace(/^-|-$/g, "");
mkdirSync(options.out, { recursive: true });
const file = path.join(options.out, `kernel-${slug}-${cpu.cores}-cores-${date}.json`);
writeFileSync(file, `${JSON.stringify({ date, cpu, numCells, trivialCells: TRIVIAL_CELLS, rows }, null, 2)}\n`);
console.log(file);
