/** What ptxas says about the kernels, and the limits that a build is held to. */
import { spawnSync } from "node:child_process";

/** Compute capabilities that are compiled for; the first one's PTX serves every later card. */
export const TARGETS = [80, 86, 89, 90];

/** Shared memory that a block may have, bytes (CUDA C++ Programming Guide 13, compute capabilities). */
export const SHARED_BYTES = { 80: 163 * 1024, 86: 99 * 1024, 89: 99 * 1024, 90: 227 * 1024 };

/** Registers of a multiprocessor. */
export const REGISTERS = 65536;

/** Kernels that run once for a model or a sequence, never for a token: they may spill. Names as in KernelInfo.
 * @type {Set<string>} */
export const COLD_KERNELS = new Set([]);

/** Readable names of mangled ones; the mangled ones where binutils are missing. */
function demangled(names) {
  const result = spawnSync("c++filt", [], { input: names.join("\n"), encoding: "utf8" });
  return result.status === 0 ? result.stdout.trimEnd().split("\n") : names;
}

/** "matmul_kernel<...>" of a demangled signature: no namespaces, no parameters. */
function shortName(signature) {
  const name = signature.replaceAll("(anonymous namespace)::", "").replace(/^void /, "");
  return name
    .slice(0, name.lastIndexOf("(") < 0 ? undefined : name.lastIndexOf("("))
    .replaceAll("moescope::cuda::", "");
}

/**
 * The kernels in the output of `nvcc -Xptxas -v`, one entry for each kernel and target.
 *
 * @param {string} log
 * @returns {{ kernel: string, target: number, registers: number, spillBytes: number, stackBytes: number, sharedBytes: number }[]}
 */
export function parseResources(log) {
  const found = [];
  for (const line of log.split("\n")) {
    const entry = /Compiling entry function '([^']+)' for 'sm_(\d+)a?'/.exec(line);
    if (entry !== null) {
      found.push({
        kernel: entry[1],
        target: Number(entry[2]),
        registers: -1,
        spillBytes: 0,
        stackBytes: 0,
        sharedBytes: 0,
      });
      continue;
    }
    const last = found.at(-1);
    if (last === undefined || last.registers >= 0) continue;
    const spills = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spills !== null) {
      last.stackBytes = Number(spills[1]);
      last.spillBytes = Number(spills[2]) + Number(spills[3]);
    }
    const used = /Used (\d+) registers/.exec(line);
    if (used !== null) {
      last.registers = Number(used[1]);
      last.sharedBytes = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    }
  }
  const names = found.length === 0 ? [] : demangled(found.map((one) => one.kernel)).map(shortName);
  return found.map((one, index) => ({ ...one, kernel: names[index] }));
}

/** One sentence for each kernel that must not be as it is. */
export function resourceViolations(resources, cold = COLD_KERNELS) {
  const found = [];
  for (const { kernel, target, registers, spillBytes, sharedBytes } of resources) {
    const name = `${kernel} for sm_${target}`;
    const isCold = cold.has(kernel.replace(/_kernel.*$/, ""));
    if (spillBytes > 0 && !isCold) found.push(`${name} spills ${spillBytes} bytes of registers`);
    if (registers < 0) found.push(`${name}: ptxas did not say what it uses`);
    if (sharedBytes > SHARED_BYTES[target]) {
      found.push(`${name} takes ${sharedBytes} bytes of shared memory, a block has ${SHARED_BYTES[target]}`);
    }
  }
  return found;
}
