#!/usr/bin/env node
/**
 * Times of the notebook kernel beside plain tslab, on this machine: start to ready, a trivial cell, 1000 declaring cells, memory.
 *
 *   npm run build && node scripts/kernel-times.mjs [CELLS]
 */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { KernelClient } from "../dist/src/notebook/client.js";
import { kernelCommand } from "../dist/src/notebook/kernel-process.js";
import { ROOT } from "./prepare.mjs";

const tslab = path.join(ROOT, "node_modules", "tslab", "bin", "tslab");
const KERNELS = {
  moescope: kernelCommand,
  "plain tslab": (file) => [process.execPath, tslab, "kernel", "--config-path", file],
};
const numCells = Number(process.argv[2] ?? 1000);

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const residentMB = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

for (const [name, command] of Object.entries(KERNELS)) {
  const started = performance.now();
  const client = await KernelClient.start({ cwd: tmpdir(), command });
  const ready = (performance.now() - started) / 1000;
  const times = [];
  const memory = [];
  for (let i = 0; i < numCells; i++) {
    const before = performance.now();
    await client.execute(`const v${i % 50} = ${i};`);
    times.push(performance.now() - before);
    if (i % Math.max(1, Math.floor(numCells / 10)) === 0) memory.push(residentMB(client.process.pid));
  }
  memory.push(residentMB(client.process.pid));
  const tenth = Math.max(1, Math.floor(numCells / 10));
  const figures = {
    readySeconds: ready.toFixed(2),
    firstCellMs: times[0].toFixed(0),
    medianFirstTenthMs: median(times.slice(1, tenth)).toFixed(1),
    medianLastTenthMs: median(times.slice(-tenth)).toFixed(1),
    residentMB: memory.map((value) => value.toFixed(0)).join(" "),
  };
  console.log(name, JSON.stringify(figures));
  await client.shutdown();
}
