/**
 * One Python in WebAssembly: `node host.js PYTHON_WASM LIMITS ARGUMENT...`. Everything that the module can call is in this folder: a
 * folder /tmp in memory, a clock, random numbers, and the descriptors 0 to 4 of this process, byte by byte: 3 and 4 as /line/3 and /line/4. There is no import that
 * opens a file of the machine, a socket or a process, and none that runs JavaScript, so a program has no name for any of it.
 */
import { readFileSync } from "node:fs";
import { PreopenDirectory, WASI, WASIProcExit } from "@bjorn3/browser_wasi_shim";
import { boundedFiles } from "./bounded-files.js";
import { withMemoryLimit } from "./memory-limit.js";
import { Line, PipeFd, withoutWaste } from "./pipe-fd.js";

const [, , wasmPath, limitsText, ...pythonArguments] = process.argv;
/** @type {{ memoryBytes: number, fileBytes: number, openFiles: number }} */
const limits = JSON.parse(limitsText);

const module = new WebAssembly.Module(withMemoryLimit(readFileSync(wasmPath), limits.memoryBytes));
const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
const tmp = new PreopenDirectory("/tmp", new Map());
const lines = new Map([
  ["3", new Line(3, 2)],
  ["4", new Line(4, 1)],
]);
const descriptors = [new PipeFd(0), new PipeFd(1), new PipeFd(2), tmp, new PreopenDirectory("/line", lines)];
const wasi = new WASI(["python", ...pythonArguments], environment, descriptors, { debug: false });
const imports = withoutWaste(boundedFiles(wasi.wasiImport, wasi, tmp, limits), () => instance.exports.memory);
const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: imports });
try {
  process.exitCode = wasi.start(instance);
} catch (error) {
  // A trap: the stack or the memory of the module is at its end, or the module is broken.
  process.exitCode = error instanceof WASIProcExit ? error.code : 134;
}
