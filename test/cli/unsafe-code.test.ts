/** `eval` on programs: where they ran stands in the table and in the run folder, and a run has one place for all of them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

describe("eval on programs", () => {
  const folder = temporaryFolder();
  const call = (out: string, ...more: string[]) => [
    ...["eval", seededModel(), "--tasks", "humaneval-mini", "--limit", "2", "--out", join(folder, out)],
    ...more,
  ];

  it("runs them in a sandbox or not at all", async () => {
    const { code, stdout } = await runCli(call("sandboxed"));
    expect(code).toBe(0);
    expect(stdout).toMatch(/sandbox bubblewrap or wasi.*programs (run in (bubblewrap|WebAssembly)|not run: )/);
  });

  it("runs them without a sandbox where --unsafe-code says so, and keeps that with the score", async () => {
    const { code, stdout } = await runCli(call("unsafe", "--unsafe-code"));
    expect(code).toBe(0);
    expect(stdout).toMatch(/sandbox none.*programs (run in no sandbox|not run: Python)/);
    const [task] = JSON.parse(readFileSync(join(folder, "unsafe", "run.json"), "utf8")).identity.tasks;
    expect(task.settings.sandbox).toBe("none");
    expect(task.environment.programs).toMatch(/^(run in no sandbox, Python 3|not run: Python)/);
  });

  it("does not go on with a run whose programs ran elsewhere", async () => {
    const { code, stderr } = await runCli(call("unsafe", "--resume"));
    expect(code).not.toBe(0);
    expect(stderr).toContain("this is another one: tasks.0.");
  });
});
