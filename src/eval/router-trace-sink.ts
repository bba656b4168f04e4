import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError, invalidArgument } from "../errors.js";
import type { TraceKey } from "../router/schema.js";
import { RouterTrace } from "../router/trace.js";
import { loadTrace, saveTrace, TraceShards } from "../router/trace-files.js";
import type { TraceEntry, TraceSink } from "./trace-sink.js";

/** Whether a sample's row is in samples.jsonl. */
export type IsCommitted = (sample: { task: string; sampleId: string; epoch: number }) => boolean;

/**
 * Writes routes as Parquet shards into a run's `trace/`, one for each batch. The shard comes before the rows, so a run that was killed
 * between the two has routes without scores, all in its last shard: they are taken out before the samples run again.
 *
 * @param run the run's name in the table's `run` column.
 */
export function routerTraceSink(folder: string, run: string, isCommitted: IsCommitted): TraceSink {
  let shards: TraceShards | undefined;
  return {
    write: async (entries) => {
      if (shards === undefined) {
        await dropUncommitted(folder, isCommitted);
        shards = await TraceShards.open(folder);
      }
      for (const entry of entries) shards.append(keyed(entry, run));
      await shards.flush();
    },
    close: async () => undefined,
  };
}

function keyed({ trace, ...key }: TraceEntry, run: string): RouterTrace {
  if (!(trace instanceof RouterTrace)) throw invalidArgument("the model's trace", "a RouterTrace", trace);
  return trace.withKey({ run, ...key });
}

async function dropUncommitted(folder: string, isCommitted: IsCommitted): Promise<void> {
  const last = await lastShard(folder);
  if (last === undefined) return;
  const trace = await loadTrace(last);
  const kept = runsOf(trace).filter(({ key }) => isCommitted(sampleOf(key)));
  const numKept = kept.reduce((sum, { start, end }) => sum + end - start, 0);
  if (numKept === trace.numTokens) return;
  if (numKept === 0) await rm(last);
  else await saveTrace(last, RouterTrace.concat(kept.map(({ start, end }) => trace.slice(start, end))));
}

async function lastShard(folder: string): Promise<string | undefined> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fromSystemError(error, `read the trace folder ${folder}`);
  }
  const last = names
    .filter((name) => /^part-\d+\.parquet$/.test(name))
    .sort((a, b) => Number.parseInt(a.slice(5), 10) - Number.parseInt(b.slice(5), 10))
    .at(-1);
  return last === undefined ? undefined : join(folder, last);
}

/** Stretches of tokens [start, end) with one key. */
function runsOf(trace: RouterTrace): { key: TraceKey; start: number; end: number }[] {
  const { keys } = trace.columns;
  const runs: { key: TraceKey; start: number; end: number }[] = [];
  for (let start = 0; start < keys.length; start = runs.at(-1)!.end) {
    let end = start + 1;
    while (end < keys.length && keys[end] === keys[start]) end++;
    runs.push({ key: trace.keys[keys[start]!]!, start, end });
  }
  return runs;
}

function sampleOf(key: TraceKey): Parameters<IsCommitted>[0] {
  return { task: key.task ?? "", sampleId: key.sampleId ?? "", epoch: key.epoch ?? 0 };
}
