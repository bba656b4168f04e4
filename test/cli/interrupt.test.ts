/** Ctrl-C and a closed pipe, in a process of its own. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { writeProblems } from "./eval-data.js";
import { runCli } from "./run-cli.js";
import { PROJECT, seededModel, temporaryFolder } from "./seeded.js";

const LONG = ["generate", seededModel(), "--prompt", "The cat", "--max-tokens", "1000", "--quiet"];

describe("a process", () => {
  const folder = temporaryFolder();

  it("ends at Ctrl-C with 130, keeping the text that was printed", async () => {
    const child = start(LONG);
    const shown = collect(child);
    await shown.until(({ stdout }) => stdout.length > 60);
    child.kill("SIGINT");
    const { code, stdout, stderr } = await shown.end();
    expect({ code, stderr }).toEqual({ code: 130, stderr: "ready\nThe operation was cancelled.\n" });
    expect(stdout.endsWith("\n")).toBe(true);
    const whole = JSON.parse((await runCli([...LONG, "--json"])).stdout).text as string;
    expect(whole.startsWith(stdout.slice(0, -1))).toBe(true);
  });

  it("leaves a run that --resume goes on with", async () => {
    const data = writeProblems(join(folder, "data"), 64);
    const out = join(folder, "run");
    const argv = ["eval", seededModel(), "--tasks", "gsm8k", "--data", data, "--num-fewshot", "2", "--out", out];
    const child = start(argv);
    const shown = collect(child);
    await shown.until(() => lines(join(out, "samples.jsonl")) > 0);
    child.kill("SIGINT");
    const { code, stderr } = await shown.end();
    expect(code).toBe(130);
    expect(stderr).toMatch(/cancelled with \d+ of 64 samples done/);
    const resumed = await runCli([...argv, "--resume", "--quiet"]);
    expect(resumed.code).toBe(0);
    expect(lines(join(out, "samples.jsonl"))).toBe(64);
  });

  it("ends at the second Ctrl-C although a thread waits for a pipe that nobody opens", async (context) => {
    const fifo = join(folder, "fifo");
    if (spawnSync("mkfifo", [fifo]).status !== 0) context.skip("mkfifo is not installed");
    const child = start(["score", seededModel(), "--requests", fifo]);
    const shown = collect(child);
    await shown.until(({ stderr }) => stderr.includes("ready"));
    const moment = () => new Promise((done) => setTimeout(done, 200));
    await moment();
    child.kill("SIGINT");
    await moment();
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
    child.kill("SIGINT");
    expect((await shown.end()).code).toBeNull();
    expect(child.signalCode).toBe("SIGINT");
  });

  it("ends at Ctrl-C while it waits for stdin", async () => {
    const child = start(["generate", seededModel()]);
    const shown = collect(child);
    await shown.until(({ stderr }) => stderr.includes("ready"));
    child.kill("SIGINT");
    const { code, stderr } = await shown.end();
    expect(code).toBe(130);
    expect(stderr).toContain("The operation was cancelled.");
  });

  it("ends quietly when the reader of its output leaves", async () => {
    const child = start(LONG);
    const shown = collect(child);
    await shown.until(({ stdout }) => stdout.length > 20);
    child.stdout.destroy();
    expect(await shown.end()).toMatchObject({ code: 0, stderr: "ready\n" });
  });
});

/** `main.ts` in another Node; vite turns the TypeScript into JavaScript on the way. */
function start(argv: readonly string[]): ChildProcessWithoutNullStreams {
  const main = resolve(PROJECT, "src/cli/main.ts");
  const script = `import { runnerImport } from "vite"; await runnerImport(${JSON.stringify(main)}, { configFile: false, logLevel: "error" });
    process.stderr.write("ready\\n");`;
  return spawn(process.execPath, ["--input-type=module", "-e", script, "moescope", ...argv], { cwd: PROJECT });
}

interface Shown {
  stdout: string;
  stderr: string;
}

function collect(child: ChildProcessWithoutNullStreams) {
  const shown: Shown = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => {
    shown.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    shown.stderr += chunk;
  });
  const exit = new Promise<number | null>((done) => child.once("close", done));
  return {
    async until(condition: (shown: Shown) => boolean): Promise<void> {
      while (!condition(shown)) {
        if (child.exitCode !== null)
          throw new Error(`The process ended by itself with ${child.exitCode}: ${shown.stderr}`);
        await new Promise((done) => setTimeout(done, 2));
      }
    },
    end: async () => ({ code: await exit, ...shown }),
  };
}

function lines(file: string): number {
  try {
    return readFileSync(file, "utf8").split("\n").length - 1;
  } catch {
    return 0;
  }
}
