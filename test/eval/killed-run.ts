import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { evaluate, type LanguageModel } from "../../src/index.js";
import { toyModel, toyTask } from "./toy-task.js";
import { tracedModel } from "./traced-model.js";

/** Runs for a process to be killed in, into the folder that MOESCOPE_TEST_RUN names, and the process. */

/** A slow run, one sample a batch. */
export async function slowRun(): Promise<void> {
  const model = toyModel();
  const slow: LanguageModel = {
    ...model,
    loglikelihood: async (requests, options) => {
      await new Promise((done) => setTimeout(done, 5));
      return model.loglikelihood(requests, options);
    },
  };
  await evaluate(slow, [toyTask()], { out: process.env.MOESCOPE_TEST_RUN, resume: true, batchSize: 1 });
}

export const TRACED_SIZE = 120;
export const TRACED = { trace: "topk", batchSize: 4 } as const;

/** A run that spends its time on writing: routes in shards, rows, the report. */
export async function tracedRun(): Promise<void> {
  const task = toyTask({ size: TRACED_SIZE });
  await evaluate(tracedModel(true), [task], { ...TRACED, out: process.env.MOESCOPE_TEST_RUN, resume: true });
}

/** Another process that does one of them; vite turns the TypeScript into JavaScript on the way. */
export function startKillable(kind: "slow" | "traced", out: string): ChildProcess {
  const main = resolve(import.meta.dirname, "killed-main.ts");
  const script = `import { runnerImport } from "vite";
    await runnerImport(${JSON.stringify(main)}, { configFile: false, logLevel: "error" });`;
  return spawn(process.execPath, ["--input-type=module", "-e", script], {
    cwd: resolve(import.meta.dirname, "../.."),
    env: { ...process.env, MOESCOPE_TEST_RUN: out, MOESCOPE_TEST_KIND: kind },
    stdio: ["ignore", "pipe", "inherit"],
  });
}
