import type { TestContext } from "vitest";
import { openSandbox, type Program, type ProgramVerdict, type Sandbox } from "../../../src/index.js";

const sandboxes = { bubblewrap: openSandbox("bubblewrap"), wasi: openSandbox("wasi") };

/** A sandbox of this machine, tried once; where there is none, the test is skipped and says why. */
export async function sandboxHere(context: TestContext, name: keyof typeof sandboxes = "bubblewrap"): Promise<Sandbox> {
  const sandbox = sandboxes[name];
  const status = await sandbox.status();
  if (!status.available) context.skip(status.reason);
  return sandbox;
}

/** Remembers the programs that a sandbox is given. */
export type Recorded = Sandbox & { programs: Program[] };

export function recorded(sandbox: Sandbox): Recorded {
  const programs: Program[] = [];
  return {
    name: sandbox.name,
    programs,
    status: () => sandbox.status(),
    run: (program, options) => {
      programs.push(program);
      return sandbox.run(program, options);
    },
  };
}

/** A sandbox that runs nothing and gives these verdicts in turn, and then `failed`. */
export function scriptedSandbox(...verdicts: ProgramVerdict[]): Recorded {
  return recorded({
    name: "script",
    status: async () => ({ available: true, description: "a script" }),
    run: async () => {
      const verdict = verdicts.shift() ?? "failed";
      return { verdict, reason: verdict === "passed" ? "" : "of the script", output: "", durationMs: 0 };
    },
  });
}
