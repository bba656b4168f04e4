/** A process that takes one core and nothing else: what a neighbour does to an engine. */
import { spawn } from "node:child_process";
import { MoescopeError } from "../../errors.js";

/** Runs `work` while another process keeps core 0 busy. Throws NOT_FOUND where processes cannot be pinned (Linux' taskset). */
export async function withBusyCore<T>(work: () => Promise<T>): Promise<T> {
  const child = spawn("taskset", ["-c", "0", process.execPath, "-e", "for (;;);"], { stdio: "ignore" });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => {
      reject(
        new MoescopeError("NOT_FOUND", "Expected taskset (util-linux), which pins a process to a core, found none.", {
          cause,
        }),
      );
    });
  });
  try {
    return await work();
  } finally {
    child.kill("SIGKILL");
  }
}
