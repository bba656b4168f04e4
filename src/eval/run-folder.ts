import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, readFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError, MoescopeError } from "../errors.js";
import { canonicalJson } from "./canonical-json.js";
import type { SampleRow } from "./row.js";
import { lockRun } from "./run-lock.js";
import { readRows } from "./run-rows.js";

/**
 * A run on disk (contracts, section 7): `run.json` says what was run, `samples.jsonl` has one line per finished sample, `trace/` its
 * routes, `lock` the process that writes. Rows are appended and synced, so a run survives kill -9 and goes on where it was.
 */

/** Format of the folder; a reader refuses a newer one. */
export const RUN_FORMAT_VERSION = 1;

/** run.json. `identity` is what makes two runs the same one; a resumed run must have it in common with its folder. */
export interface RunFile<Identity = unknown, Result = unknown> {
  format: "moescope-run";
  formatVersion: number;
  createdAt: string;
  versions: Record<string, string>;
  identity: Identity;
  status: "running" | "complete";
  finishedAt?: string;
  result?: Result;
}

/** An open run folder, locked by this process. */
export class RunFolder {
  readonly path: string;
  readonly #samples: FileHandle;
  readonly #unlock: () => Promise<void>;
  #run: RunFile;

  private constructor(path: string, samples: FileHandle, unlock: () => Promise<void>, run: RunFile) {
    this.path = path;
    this.#samples = samples;
    this.#unlock = unlock;
    this.#run = run;
  }

  /**
   * Begins a run in a new or empty folder, or with `resume` goes on with the run that is there.
   *
   * @param onRow receives the rows that are already done.
   * @throws MoescopeError RUN_CONFLICT when the folder holds something else, another run, or is locked; NO_PERMISSION, DISK_FULL.
   */
  static async open(
    path: string,
    run: Pick<RunFile, "identity" | "versions">,
    options: { resume?: boolean; onRow: (row: SampleRow) => void },
  ): Promise<RunFolder> {
    const identity = JSON.parse(canonicalJson(run.identity)) as unknown;
    await makeFolder(path);
    const unlock = await lockRun(path);
    try {
      const existing = await existingRun(path, identity, options.resume ?? false);
      const file: RunFile = existing ?? {
        format: "moescope-run",
        formatVersion: RUN_FORMAT_VERSION,
        createdAt: new Date().toISOString(),
        versions: run.versions,
        identity,
        status: "running",
      };
      await writeRunFile(path, { ...file, status: "running", finishedAt: undefined, result: undefined });
      const samples = await openSamples(path, options.onRow);
      return new RunFolder(path, samples, unlock, file);
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  /** Where the run's trace shards go. */
  get tracePath(): string {
    return join(this.path, "trace");
  }

  /** Appends rows; they are on disk when this resolves. */
  async append(rows: readonly SampleRow[]): Promise<void> {
    try {
      await this.#samples.appendFile(rows.map((row) => `${canonicalJson(row)}\n`).join(""));
      await this.#samples.datasync();
    } catch (error) {
      throw fromSystemError(error, `write ${join(this.path, "samples.jsonl")}`);
    }
  }

  /** Records that all samples are done, with the summary. */
  async complete(result: unknown): Promise<void> {
    this.#run = { ...this.#run, status: "complete", finishedAt: new Date().toISOString(), result };
    await writeRunFile(this.path, this.#run);
  }

  async close(): Promise<void> {
    await this.#samples.close();
    await this.#unlock();
  }
}

/** run.json of a folder. @throws MoescopeError NOT_FOUND, BAD_FILE or UNSUPPORTED (a newer format). */
export async function readRunFile(path: string): Promise<RunFile> {
  const file = join(path, "run.json");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw fromSystemError(error, `read the run ${file}`);
  }
  let run: RunFile;
  try {
    run = JSON.parse(text) as RunFile;
  } catch (error) {
    throw new MoescopeError("BAD_FILE", `Expected JSON in ${file}: ${(error as Error).message}.`, { cause: error });
  }
  if (run?.format !== "moescope-run") throw new MoescopeError("BAD_FILE", `Expected a run of moescope in ${file}.`);
  if (run.formatVersion > RUN_FORMAT_VERSION) {
    throw new MoescopeError(
      "UNSUPPORTED",
      `Expected a run of format ${RUN_FORMAT_VERSION} or older in ${file}, got ${run.formatVersion}: use a newer moescope.`,
    );
  }
  return run;
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    const isFile = await stat(path).then(
      (stats) => !stats.isDirectory(),
      () => false,
    );
    if (isFile)
      throw new MoescopeError("RUN_CONFLICT", `Expected a folder for the run, ${path} is a file.`, { cause: error });
    throw fromSystemError(error, `create the run folder ${path}`);
  }
}

/** The run that the folder holds, if it may be gone on with; undefined in a folder that holds nothing. */
async function existingRun(path: string, identity: unknown, resume: boolean): Promise<RunFile | undefined> {
  const names = (await readdir(path)).filter((name) => !name.startsWith("lock"));
  if (names.length === 0) return undefined;
  if (!names.includes("run.json")) {
    if (names.every((name) => name.startsWith("run.json."))) return undefined;
    throw new MoescopeError(
      "RUN_CONFLICT",
      `Expected ${path} to be empty or a run, it holds ${names[0]} and no run.json.`,
    );
  }
  if (!resume) {
    throw new MoescopeError(
      "RUN_CONFLICT",
      `Expected a new folder, ${path} holds a run: resume it or name another folder.`,
    );
  }
  const run = await readRunFile(path);
  const difference = firstDifference(run.identity, identity, "");
  if (difference !== undefined) {
    throw new MoescopeError("RUN_CONFLICT", `Expected the run that ${path} holds, this is another one: ${difference}.`);
  }
  return run;
}

/** Where two JSON values first differ, as a sentence; undefined where they do not. */
function firstDifference(was: unknown, is: unknown, at: string): string | undefined {
  if (canonicalJson(was) === canonicalJson(is)) return undefined;
  if (isRecord(was) && isRecord(is)) {
    for (const key of new Set([...Object.keys(was), ...Object.keys(is)])) {
      const difference = firstDifference(was[key], is[key], at === "" ? key : `${at}.${key}`);
      if (difference !== undefined) return difference;
    }
  }
  const shown = (value: unknown): string => (canonicalJson(value) ?? "absent").slice(0, 80);
  return `${at} was ${shown(was)} and is ${shown(is)}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Opens samples.jsonl for appending, after its rows were read and a torn last line was cut off. */
async function openSamples(path: string, onRow: (row: SampleRow) => void): Promise<FileHandle> {
  const file = join(path, "samples.jsonl");
  let samples: FileHandle | undefined;
  try {
    samples = await open(file, "a+");
    const { size } = await samples.stat();
    const whole = await readRows(file, onRow);
    if (whole < size) await samples.truncate(whole);
    return samples;
  } catch (error) {
    await samples?.close();
    throw fromSystemError(error, `open ${file}`);
  }
}

/** Writes run.json so that a reader sees the old one or the new one, never a part. */
async function writeRunFile(path: string, run: RunFile): Promise<void> {
  const file = join(path, "run.json");
  const temporary = `${file}.${randomBytes(4).toString("hex")}`;
  try {
    const handle = await open(temporary, "w");
    try {
      await handle.writeFile(`${JSON.stringify(JSON.parse(canonicalJson(run)), null, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    throw fromSystemError(error, `write ${file}`);
  }
}
