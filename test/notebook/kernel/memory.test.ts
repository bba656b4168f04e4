/** A kernel that is worked in all day: a thousand cells cost it neither memory nor time. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestKernel } from "./start.js";

let kernel: TestKernel;
beforeAll(async () => {
  kernel = await TestKernel.start();
});
afterAll(() => kernel.stop());

const NUM_CELLS = 1000;
/** The limit of the project: resident memory of a kernel that is ready, times this. */
const MOST_GROWTH = 1.5;
/** Of single cells' times; garbage collection and other programs of the machine make outliers, not medians. */
const MOST_SLOWDOWN = 1.5;

const residentMB = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${kernel.client.process.pid}/status`, "utf8"))![1]) / 1024;
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

it.skipIf(process.platform !== "linux")(
  "after a thousand cells memory has grown by less than half, and a cell takes no longer (skipped: no /proc here)",
  { timeout: 240_000 },
  async () => {
    const atStart = residentMB();
    const memory: number[] = [];
    const seconds: number[] = [];
    for (let i = 0; i < NUM_CELLS; i++) {
      seconds.push((await kernel.run(`const v${i % 50} = ${i};\nv${i % 50} + 1`)).seconds);
      if (i % 20 === 19) memory.push(residentMB());
    }
    // The compiler's heap is in balance after some cells; that of its last tenth is what a day of work ends with.
    expect(median(memory.slice(-5))).toBeLessThan(MOST_GROWTH * atStart);
    expect(median(memory)).toBeLessThan(MOST_GROWTH * atStart);
    expect(median(seconds.slice(-100))).toBeLessThan(MOST_SLOWDOWN * median(seconds.slice(1, 100)));
  },
);
