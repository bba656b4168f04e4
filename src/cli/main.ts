#!/usr/bin/env node
/** The process around `run`: its streams, Ctrl-C, its exit code. */
import { run } from "./run.js";

const CANCELLED_AT_ONCE = 130;

const interrupted = new AbortController();
process.on("SIGINT", () => {
  if (interrupted.signal.aborted) process.exit(CANCELLED_AT_ONCE);
  interrupted.abort();
});

const { stdin, stdout, stderr } = process;
run(process.argv.slice(2), { stdin, stdout, stderr, signal: interrupted.signal }).then((code) => {
  process.exitCode = code;
  // A listener or a pipe that is still open would keep the process.
  stdin.unref?.();
});
