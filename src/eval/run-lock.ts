import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { fromSystemError, MoescopeError } from "../errors.js";

/**
 * The lock of a run folder: one process writes, and a lock whose process is gone is taken over. The process is known by host, id and
 * start time, because ids are used again.
 */

interface Holder {
  host: string;
  pid: number;
  /** Clock ticks from boot to the process's start, as /proc shows it; null where there is no /proc. */
  started: string | null;
}

/** @returns a function that gives the lock back. @throws MoescopeError RUN_CONFLICT while another process holds it. */
export async function lockRun(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, "lock");
  const own = join(folder, `lock.${process.pid}.${randomBytes(4).toString("hex")}`);
  const text = JSON.stringify({ host: hostname(), pid: process.pid, started: startOf(process.pid) } satisfies Holder);
  try {
    await writeFile(own, text);
    if (!(await tryLink(own, path))) {
      await removeStale(folder, path);
      if (!(await tryLink(own, path))) throw conflict(folder, "another process");
    }
  } catch (error) {
    throw fromSystemError(error, `lock ${folder}`);
  } finally {
    await unlink(own).catch(() => undefined);
  }
  return async () => {
    if ((await readFile(path, "utf8").catch(() => "")) === text) await unlink(path);
  };
}

/** link() fails where the name exists, on every file system, and the content is whole from the first moment. */
async function tryLink(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Moves a dead process's lock out of the way; puts it back if meanwhile it has become a living one's. */
async function removeStale(folder: string, path: string): Promise<void> {
  refuseLiving(folder, await readFile(path, "utf8").catch(() => ""));
  const aside = join(folder, `lock.stale.${randomBytes(4).toString("hex")}`);
  await rename(path, aside).catch(() => undefined);
  const moved = await readFile(aside, "utf8").catch(() => "");
  try {
    refuseLiving(folder, moved);
  } catch (error) {
    await link(aside, path).catch(() => undefined);
    throw error;
  } finally {
    await unlink(aside).catch(() => undefined);
  }
}

function refuseLiving(folder: string, text: string): void {
  let holder: Holder;
  try {
    holder = JSON.parse(text) as Holder;
  } catch {
    return;
  }
  if (holder.host !== hostname()) {
    throw conflict(folder, `process ${holder.pid} on ${holder.host} (delete the file lock if that process is gone)`);
  }
  if (isAlive(holder)) throw conflict(folder, `process ${holder.pid}`);
}

function isAlive(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return holder.started === null || startOf(holder.pid) === holder.started;
}

function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field, the command, may hold spaces and parentheses; the start time is the 20th after it.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

function conflict(folder: string, who: string): MoescopeError {
  return new MoescopeError("RUN_CONFLICT", `Expected ${folder} to be free, but ${who} is writing a run there.`);
}
