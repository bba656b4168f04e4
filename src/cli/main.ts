#!/usr/bin/env node
/** The process around `run`: its streams, Ctrl-C, its exit code. */
import { run } from "./run.js";

const interrupted = new AbortController();
const onInterrupt = () => {
  if (interrupted.signal.aborted) {
    // The signal's own effect ends the process even where a thread waits for a disk or a pipe; a shell reads it as 130.
    process.off("SIGINT", onInterrupt);
    process.kill(process.pid, "SIGINT");
  }
  interrupted.abort();
};
process.on("SIGINT", onInterrupt);

const { stdin, stdout, stderr } = process;
run(process.argv.slice(2), { stdin, stdout, stderr, signal: interrupted.signal }).then((code) => {
  process.exitCode = code;
  // A listener or a pipe that is still open would keep the process.
  stdin.unref?.();
});
