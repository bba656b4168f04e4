import { join } from "node:path";
import { MoescopeError } from "../errors.js";
import type { RunResult, SampleScore, TaskResult } from "./result.js";
import { digestOfRows, rowDigest, rowKey } from "./row.js";
import { type RunIdentity, scoreOf } from "./run.js";
import { readRunFile } from "./run-folder.js";
import { readRows } from "./run-rows.js";

/**
 * Reads a finished run back from its folder.
 *
 * @throws MoescopeError RUN_CONFLICT for a run that is not complete; BAD_FILE when samples.jsonl is not the one that was summarised.
 */
export async function readRun(folder: string): Promise<RunResult> {
  const run = await readRunFile(folder);
  if (run.status !== "complete") {
    throw new MoescopeError(
      "RUN_CONFLICT",
      `Expected a complete run in ${folder}, it is still running or was cut off: resume it.`,
    );
  }
  const { digest, tasks } = run.result as { digest: string; tasks: TaskResult[] };
  const digests = new Map<string, string>();
  const scores = new Map<string, SampleScore[]>(tasks.map((task) => [task.name, []]));
  await readRows(join(folder, "samples.jsonl"), (row) => {
    if (digests.has(rowKey(row))) return;
    digests.set(rowKey(row), rowDigest(row));
    scores.get(row.task)?.push(scoreOf(row));
  });
  const actual = digestOfRows(digests);
  if (actual !== digest) {
    throw new MoescopeError("BAD_FILE", `Expected the samples of digest ${digest} in ${folder}, they have ${actual}.`);
  }
  return { folder, model: (run.identity as RunIdentity).model.name, tasks, digest, scores, traces: [] };
}
