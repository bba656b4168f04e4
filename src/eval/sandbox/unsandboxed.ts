import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { interpreterOf, USUAL_PYTHONS } from "./interpreter.js";
import { judge } from "./judge.js";
import { PooledSandbox, PROGRAM_ENVIRONMENT, type Runner, type SandboxOptions } from "./pooled-sandbox.js";
import type { Sandbox, Unavailable } from "./sandbox.js";

/**
 * No sandbox: programs run as the user who runs us, with a time limit, resource limits and an empty environment, in a folder that is
 * removed afterwards. They can read, write and send whatever that user can. For machines that are a sandbox themselves.
 */
export function unsandboxed(options: SandboxOptions = {}): Sandbox {
  return new PooledSandbox("none", () => findRunner(options.python), options.concurrency);
}

async function findRunner(python: string | undefined): Promise<Runner | Unavailable> {
  const commands = python === undefined ? USUAL_PYTHONS : [python];
  for (const command of commands) {
    const interpreter = await interpreterOf(command);
    if (interpreter === undefined) continue;
    return {
      description: `no sandbox, Python ${interpreter.version}`,
      run: async (program, limits, signal) => {
        const folder = await mkdtemp(join(tmpdir(), "moescope-program-"));
        const launch = { command: interpreter.executable, args: [], env: PROGRAM_ENVIRONMENT, cwd: folder };
        try {
          return await judge({ worker: launch, checker: launch }, program, limits, signal);
        } finally {
          await rm(folder, { recursive: true, force: true });
        }
      },
    };
  }
  return { available: false, reason: `Python is not to be had (${commands.join(", ")})` };
}
