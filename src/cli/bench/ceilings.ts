/** The machine and what it can do at most. */
import { arch, cpus, freemem, loadavg, platform, totalmem } from "node:os";
import { loadAddon } from "../../native/addon.js";
import type { Ceiling } from "../../native/binding.js";

/** A ceiling per second, in bytes or multiply-accumulates, with one thread and with all that are used. */
export interface MeasuredCeiling extends Ceiling {
  oneThread: number;
  allThreads: number;
}

export interface Machine {
  /** As the processor calls itself. */
  cpu: string;
  cores: number;
  memoryBytes: number;
  platform: string;
  node: string;
  /** Runnable processes in the last minute, at the start: what else the machine was doing. */
  loadAverage: number;
}

/** Caches hold less, and one in eight free bytes are to be had. */
const READ_BYTES = 2 ** 30;

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: loadAddon().availableCores(),
    memoryBytes: totalmem(),
    platform: `${platform()}-${arch()}`,
    node: process.version,
    loadAverage: loadavg()[0]!,
  };
}

/** How long each ceiling is measured, and how often. */
export interface CeilingEffort {
  seconds: number;
  rounds: number;
}

/** Measures all ceilings a few times; the best counts, because what disturbs can only lower it. */
export async function measureCeilings(
  threads: number,
  { seconds, rounds }: CeilingEffort,
  onProgress: (done: number, total: number, what: string) => void,
): Promise<MeasuredCeiling[]> {
  const addon = loadAddon();
  const readBytes = Math.max(2 ** 26, Math.min(READ_BYTES, Math.floor(freemem() / 8)));
  const found = addon.ceilings();
  const measured: MeasuredCeiling[] = [];
  for (const [index, ceiling] of found.entries()) {
    onProgress(index, found.length, `${ceiling.kind} ${ceiling.instructions}`);
    const best = async (count: number) => {
      let rate = 0;
      for (let round = 0; round < rounds; round++) {
        rate = Math.max(rate, await addon.measureCeiling(index, { threads: count, seconds, readBytes }));
      }
      return rate;
    };
    measured.push({ ...ceiling, oneThread: await best(1), allThreads: await best(threads) });
  }
  return measured;
}

/** The highest ceiling of a kind; undefined where the machine has no unit for it. */
export function highest(ceilings: readonly MeasuredCeiling[], kind: Ceiling["kind"]): MeasuredCeiling | undefined {
  return ceilings.filter((ceiling) => ceiling.kind === kind).sort((a, b) => b.allThreads - a.allThreads)[0];
}
