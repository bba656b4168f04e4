/** Traces on disk: single files, and folders of shards that are complete or not there. */

import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { tableFromIPC } from "apache-arrow";
import { fromSystemError, invalidArgument, MoescopeError } from "../errors.js";
import { tableFromParquet, tableToParquet } from "./parquet.js";
import { RouterTrace } from "./trace.js";

/**
 * Writes a trace as `.parquet` or `.arrow` (Arrow IPC), by the name. The file appears whole or not at all: it is written and synced
 * under a temporary name beside its place, then renamed.
 */
export async function saveTrace(file: string, trace: RouterTrace): Promise<void> {
  const bytes = isParquet(file) ? await tableToParquet(trace.toArrow()) : trace.toIPC();
  const temporary = join(dirname(file), `${TEMPORARY}${randomUUID()}-${basename(file)}`);
  try {
    const handle = await open(temporary, "wx");
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fromSystemError(error, `write ${file}`);
  }
}

/** Reads what `saveTrace` wrote. Throws NOT_FOUND, NO_PERMISSION or BAD_FILE. */
export async function loadTrace(file: string): Promise<RouterTrace> {
  const parquet = isParquet(file);
  const bytes = await readFile(file).catch((error) => {
    throw fromSystemError(error, `read ${file}`);
  });
  if (parquet) return RouterTrace.fromArrow(await tableFromParquet(bytes, file));
  try {
    return RouterTrace.fromArrow(tableFromIPC(bytes));
  } catch (cause) {
    if (cause instanceof MoescopeError) throw cause;
    throw new MoescopeError("BAD_FILE", `Could not read ${file} as Arrow IPC: ${(cause as Error).message}.`, { cause });
  }
}

/** Bytes of a trace's arrays in one file: what a writer holds, some times over, while it writes. */
export const SHARD_BYTES: number = 2 ** 26;

/** The traces in order, joined and cut so that each part is of at most `limit` bytes or one token. */
export function* partsOfSize(traces: readonly RouterTrace[], limit: number = SHARD_BYTES): Generator<RouterTrace> {
  let waiting: RouterTrace[] = [];
  let bytes = 0;
  for (const trace of traces) {
    const perToken = trace.byteLength / Math.max(1, trace.numTokens);
    for (let from = 0; from === 0 || from < trace.numTokens; ) {
      const room = Math.floor((limit - bytes) / perToken);
      const to = Math.min(trace.numTokens, from + Math.max(waiting.length === 0 ? 1 : 0, room));
      if (to > from || trace.numTokens === 0) waiting.push(trace.slice(from, to));
      bytes += (to - from) * perToken;
      if (to === trace.numTokens) break;
      yield RouterTrace.concat(waiting);
      waiting = [];
      bytes = 0;
      from = to;
    }
  }
  if (waiting.length > 0) yield RouterTrace.concat(waiting);
}

const TEMPORARY = ".partial-";
const SHARD = /^part-(\d{5,})\.parquet$/;

/**
 * A folder of Parquet shards, `part-00000.parquet` and on. Traces wait in memory until `flush`: a sample may be committed only when the
 * flush after its `append` has returned. One writer and one flush at a time; a reopened folder goes on after its last shard.
 */
export class TraceShards {
  readonly folder: string;
  #next: number;
  #waiting: RouterTrace[] = [];

  private constructor(folder: string, next: number) {
    this.folder = folder;
    this.#next = next;
  }

  /** Opens or makes the folder, and removes what an interrupted write has left there. */
  static async open(folder: string): Promise<TraceShards> {
    try {
      await mkdir(folder, { recursive: true });
      const names = await readdir(folder);
      for (const name of names) if (name.startsWith(TEMPORARY)) await rm(join(folder, name), { force: true });
      const numbers = names.flatMap((name) => SHARD.exec(name)?.[1] ?? []).map(Number);
      return new TraceShards(folder, Math.max(-1, ...numbers) + 1);
    } catch (error) {
      throw fromSystemError(error, `open the trace folder ${folder}`);
    }
  }

  /** Rows that wait for the next flush. */
  get waitingRows(): number {
    return this.#waiting.reduce((rows, trace) => rows + trace.numTokens * trace.layers.length, 0);
  }

  append(trace: RouterTrace): void {
    this.#waiting.push(trace);
  }

  /** Writes what waits, as shards of at most SHARD_BYTES, and returns their paths. What could not be written waits on. */
  async flush(): Promise<string[]> {
    const files: string[] = [];
    const traces = this.#waiting;
    if (traces.length === 0) return files;
    this.#waiting = [];
    const parts = [...partsOfSize(traces)];
    while (parts.length > 0) {
      const file = join(this.folder, `part-${String(this.#next).padStart(5, "0")}.parquet`);
      try {
        await saveTrace(file, parts[0]!);
      } catch (error) {
        this.#waiting = [...parts, ...this.#waiting];
        throw error;
      }
      parts.shift();
      this.#next++;
      files.push(file);
    }
    return files;
  }

  /** Paths of the complete shards, in order. */
  async files(): Promise<string[]> {
    const names = (await readdir(this.folder)).filter((name) => SHARD.test(name));
    const numberOf = (name: string) => Number(SHARD.exec(name)![1]);
    return names.sort((a, b) => numberOf(a) - numberOf(b)).map((name) => join(this.folder, name));
  }
}

function isParquet(file: string): boolean {
  const extension = extname(file);
  if (extension !== ".parquet" && extension !== ".arrow") {
    throw invalidArgument("the trace file", "a name that ends in .parquet or .arrow", file);
  }
  return extension === ".parquet";
}
