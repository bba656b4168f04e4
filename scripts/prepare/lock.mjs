/** One set-up at a time: two that build into the same folders would break each other. */
import fs from "node:fs";
import path from "node:path";
import { say } from "./step.mjs";

const POLL_MS = 500;

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Whether the process that made the lock is gone. An empty file is one that its holder is just about to fill. */
function isLeftBehind(file) {
  try {
    const holder = Number(fs.readFileSync(file, "utf8"));
    return holder !== 0 && !isAlive(holder);
  } catch {
    return false;
  }
}

/** Takes the lock; false if another live process holds it. The lock of a process that is gone is removed. */
function tryLock(file) {
  try {
    fs.writeFileSync(file, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  if (!isLeftBehind(file)) return false;
  fs.rmSync(file, { force: true });
  return tryLock(file);
}

/** Runs `work` while holding `file` as a lock. */
export async function withLock(file, work) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  let hasSaid = false;
  while (!tryLock(file)) {
    if (!hasSaid) say(`prepare: waiting for another one that is under way (${file})`);
    hasSaid = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  try {
    return await work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}
