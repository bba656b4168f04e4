/** A program that runs beside this one: its output, how long it took, how much memory it had at most. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { AbortError, MoescopeError } from "../../errors.js";

export interface ChildResult {
  stdout: string;
  /** Its end. */
  stderr: string;
  /** From the start to the end of the process. */
  seconds: number;
  /** The most that was resident at once; null where the system does not say. */
  peakBytes: number | null;
}

const POLL_MS = 10;
/** Of what the child wrote to stderr, for the sentence when it fails. */
const KEPT_CHARACTERS = 2000;

/** Runs a program to its end. Throws NOT_FOUND, INTERNAL with what it said last, or AbortError. */
export async function runChild(program: string, args: readonly string[], signal: AbortSignal): Promise<ChildResult> {
  if (signal.aborted) throw new AbortError();
  const start = performance.now();
  const child = spawn(program, [...args], { stdio: ["ignore", "pipe", "pipe"] });
  const stop = () => child.kill("SIGKILL");
  signal.addEventListener("abort", stop, { once: true });
  let stdout = "";
  let stderr = "";
  let peakBytes: number | null = null;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-KEPT_CHARACTERS);
  });
  const poll = setInterval(() => {
    peakBytes = peakBytesOf(child) ?? peakBytes;
  }, POLL_MS);
  try {
    const code = await ended(child, program);
    if (signal.aborted) throw new AbortError();
    if (code !== 0) throw childFailed(program, code, stderr);
    return { stdout, stderr, seconds: (performance.now() - start) / 1000, peakBytes };
  } finally {
    clearInterval(poll);
    signal.removeEventListener("abort", stop);
  }
}

export function ended(child: ChildProcess, program: string): Promise<number | string> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => {
      reject(new MoescopeError("NOT_FOUND", `Could not start ${program}: ${error.message}.`, { cause: error }));
    });
    child.once("close", (code, signal) => resolve(code ?? signal ?? "an unknown signal"));
  });
}

export function childFailed(program: string, code: number | string, stderr: string): MoescopeError {
  const last = stderr.trim().split("\n").slice(-3).join(" | ");
  return new MoescopeError("INTERNAL", `${program} ended with ${code}${last === "" ? "" : `: ${last}`}`);
}

/** Of Linux: the most that the process has had resident. */
function peakBytesOf({ pid }: ChildProcess): number | null {
  try {
    const kibibytes = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kibibytes === undefined ? null : Number(kibibytes) * 1024;
  } catch {
    return null;
  }
}
