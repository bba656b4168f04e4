import { mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError, invalidArgument } from "../errors.js";
import { checkTrace } from "../router/invariants.js";
import type { TraceKey } from "../router/schema.js";
import { RouterTrace } from "../router/trace.js";
import { loadTrace, saveTrace, TraceShards } from "../router/trace-files.js";
import { type KeyedTrace, prefixName, withSharedPrefixes } from "./shared-prefix.js";
import type { TraceEntry, TraceSink } from "./trace-sink.js";

/** Whether a sample's row is in samples.jsonl. */
export type IsCommitted = (sample: { task: string; sampleId: string; epoch: number }) => boolean;

/** Names of the prefixes that the shards hold, one a line. Readers of Parquet folders pass over names that begin with "_". */
const PREFIX_LIST = "_prefixes.txt";

/**
 * Writes routes as Parquet shards into a run's `trace/`, one or more for each batch, with common beginnings stored once. Every trace is
 * checked first: one that breaks an invariant stops the run with the row.
 *
 * The shards come before the rows, so a run that was killed between the two has routes without scores, all in its last shards: they are
 * taken out before those samples run again. A prefix stays, and the list of prefixes follows its shard, so it is never stored twice.
 *
 * @param run the run's name in the table's `run` column.
 */
export function routerTraceSink(folder: string, run: string, isCommitted: IsCommitted): TraceSink {
  let place: Promise<{ shards: TraceShards; stored: Set<string> }> | undefined;
  return {
    write: async (entries) => {
      place ??= openPlace(folder, isCommitted);
      const { shards, stored } = await place;
      const traces = entries.map((entry) => keyed(entry, run));
      const { prefixes, requests } = withSharedPrefixes(traces, (prefix) => stored.has(prefixName(prefix)));
      for (const { key, trace } of [...prefixes, ...requests]) shards.append(trace.withKey(key));
      await shards.flush();
      await appendNames(
        folder,
        prefixes.map(({ key }) => prefixName(key)),
      );
      for (const { key } of prefixes) stored.add(prefixName(key));
    },
    close: async () => undefined,
  };
}

function keyed({ trace, ...key }: TraceEntry, run: string): KeyedTrace {
  if (!(trace instanceof RouterTrace)) throw invalidArgument("the model's trace", "a RouterTrace", trace);
  checkTrace(trace);
  return { key: { run, ...key }, trace };
}

async function openPlace(
  folder: string,
  isCommitted: IsCommitted,
): Promise<{ shards: TraceShards; stored: Set<string> }> {
  try {
    await mkdir(folder, { recursive: true });
    const stored = new Set([...(await storedNames(folder)), ...(await dropUncommitted(folder, isCommitted))]);
    if (stored.size > 0) await rewriteNames(folder, [...stored]);
    return { shards: await TraceShards.open(folder), stored };
  } catch (error) {
    throw fromSystemError(error, `open the trace folder ${folder}`);
  }
}

/** The list's whole lines: a torn last one names a prefix of the last shard, where it is found as well. */
async function storedNames(folder: string): Promise<string[]> {
  const text = await readFile(join(folder, PREFIX_LIST), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  return text.split("\n").slice(0, -1);
}

function linesOf(names: readonly string[]): string {
  return names.map((name) => `${name}\n`).join("");
}

/** Writes the list anew, so that a torn last line does not run into the next name. */
async function rewriteNames(folder: string, names: readonly string[]): Promise<void> {
  const temporary = join(folder, `${PREFIX_LIST}.new`);
  await writeFile(temporary, linesOf(names));
  await rename(temporary, join(folder, PREFIX_LIST));
}

async function appendNames(folder: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const file = join(folder, PREFIX_LIST);
  try {
    const handle = await open(file, "a");
    try {
      await handle.appendFile(linesOf(names));
      await handle.datasync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fromSystemError(error, `write ${file}`);
  }
}

/** Takes samples without a row out of the last shards. @returns the names of the prefixes that those hold. */
async function dropUncommitted(folder: string, isCommitted: IsCommitted): Promise<string[]> {
  const prefixes: string[] = [];
  for (const shard of await shardsFromLast(folder)) {
    const trace = await loadTrace(shard);
    const runs = runsOf(trace);
    const kept = runs.filter(({ key }) => key.sampleId === undefined || isCommitted(sampleOf(key)));
    prefixes.push(...runs.filter(({ key }) => key.sampleId === undefined).map(({ key }) => prefixName(key)));
    if (kept.length === 0) await rm(shard);
    else if (kept.length < runs.length) {
      await saveTrace(shard, RouterTrace.concat(kept.map(({ start, end }) => trace.slice(start, end))));
    } else if (kept.some(({ key }) => key.sampleId !== undefined)) break;
  }
  return prefixes;
}

async function shardsFromLast(folder: string): Promise<string[]> {
  const numberOf = (name: string) => Number.parseInt(name.slice(5), 10);
  return (await readdir(folder))
    .filter((name) => /^part-\d+\.parquet$/.test(name))
    .sort((a, b) => numberOf(b) - numberOf(a))
    .map((name) => join(folder, name));
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
