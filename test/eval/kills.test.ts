import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { evaluate } from "../../src/index.js";
import { startKillable, TRACED, TRACED_SIZE } from "./killed-run.js";
import { expectedRoutes, stored } from "./stored-routes.js";
import { toyTask } from "./toy-task.js";
import { SHARED, tracedModel } from "./traced-model.js";

/** Few in CI; MOESCOPE_KILLS=100 is the number that the claim rests on. */
const KILLS = Number(process.env.MOESCOPE_KILLS ?? 5);
const task = toyTask({ size: TRACED_SIZE });
const folder = mkdtempSync(join(tmpdir(), "moescope-kills-"));

it(`${KILLS} kills at random moments, each resumed, leave no mark on the digest and the routes`, {
  timeout: 60_000 + KILLS * 20_000,
}, async () => {
  const whole = join(folder, "whole", "run");
  const started = performance.now();
  const { digest } = await evaluate(tracedModel(true), [task], { ...TRACED, out: whole });
  // Moments are drawn from a little more than one attempt takes, so the report and the clean end are hit as well.
  const longest = 1.1 * (performance.now() - started);
  let resumed = 0;
  for (let kills = 0; kills < KILLS; ) {
    const out = join(folder, String(resumed), "run");
    let isComplete = false;
    while (!isComplete) {
      isComplete = !(await killAfter(
        startKillable("traced", out),
        kills < KILLS ? Math.random() * longest : Number.POSITIVE_INFINITY,
      ));
      if (!isComplete) kills++;
    }
    const result = await evaluate(tracedModel(true), [task], { ...TRACED, out, resume: true });
    expect(result.digest).toBe(digest);
    expect(await stored(out)).toEqual({ requests: expectedRoutes(true, TRACED_SIZE), prefixes: [SHARED] });
    resumed++;
  }
  console.log(`${KILLS} kills in ${resumed} runs of ${TRACED_SIZE} samples: ${resumed} times digest ${digest}`);
});

/** Kills a process `ms` after it has begun its run; false where it was done before. */
async function killAfter(child: ChildProcess, ms: number): Promise<boolean> {
  const ended = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  await Promise.race([once(child.stdout!, "data"), ended]);
  const timer = Number.isFinite(ms) ? setTimeout(() => child.kill("SIGKILL"), ms) : undefined;
  const [code, signal] = await ended;
  clearTimeout(timer);
  if (signal !== "SIGKILL") expect(code).toBe(0);
  return signal === "SIGKILL";
}
