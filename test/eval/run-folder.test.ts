import type { ChildProcess } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { evaluate, MoescopeError, readRun, scriptedModel } from "../../src/index.js";
import { startKillable } from "./killed-run.js";
import { toyModel, toyTask } from "./toy-task.js";

const newFolder = (): string => join(mkdtempSync(join(tmpdir(), "moescope-run-")), "run");
const toy = toyTask();

async function codeOf(run: Promise<unknown>): Promise<[string, string]> {
  const error = await run.then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason,
  );
  return error instanceof MoescopeError ? [error.code, error.message] : ["not ours", String(error)];
}

describe("a run folder", () => {
  it("holds the provenance, one row per sample and the result, and reads back as it was", async () => {
    const out = newFolder();
    const result = await evaluate(toyModel(), [toy], { out });
    const run = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    expect(run).toMatchObject({
      format: "moescope-run",
      formatVersion: 1,
      status: "complete",
      versions: { node: process.versions.node },
      identity: {
        model: { name: "toy-model", kind: "scripted" },
        tasks: [{ name: "toy", track: "ref", settings: { size: 40 } }],
      },
      result: { digest: result.digest },
    });
    const rows = readFileSync(join(out, "samples.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(rows.length).toBe(40);
    expect(rows[5]).toMatchObject({
      task: "toy",
      sample_id: "5",
      group: "fives",
      input: "5 + 1",
      target: "6",
      responses: [
        { continuation: " 5", logprob: -0.25 },
        { continuation: " 6", logprob: -1.75 },
      ],
      scores: { acc: { value: 0, answer: "same" } },
    });
    expect(readdirSync(out).sort()).toEqual(["prompts.jsonl.gz", "report.html", "run.json", "samples.jsonl"]);
    const { traces: _, ...saved } = await readRun(out);
    expect(saved).toEqual({ ...result, traces: undefined });
  });

  it("goes on after a cut at any byte and ends with the digest of an uninterrupted run", async () => {
    const { digest } = await evaluate(toyModel(), [toy]);
    const out = newFolder();
    await evaluate(toyModel(), [toy], { out });
    const file = join(out, "samples.jsonl");
    const whole = readFileSync(file);
    const ends = [...whole].flatMap((byte, i) => (byte === 10 ? [i + 1] : []));
    const cuts = [0, 1, ends[0]! - 1, ends[0]!, ends[20]! + 100, ends[38]!, whole.length - 1, whole.length];
    for (const cut of cuts) {
      writeFileSync(file, whole.subarray(0, cut));
      let asked = 0;
      const model = scriptedModel({
        name: "toy-model",
        loglikelihood: ({ context, continuation }) => {
          asked++;
          const sum = Number.parseInt(String(context), 10) + 1;
          return (Number(continuation) === sum) === (sum % 3 !== 0) ? -0.25 : -1.75;
        },
      });
      const resumed = await evaluate(model, [toy], { out, resume: true, batchSize: 3 });
      expect(resumed.digest, `cut at ${cut}`).toBe(digest);
      expect((await readRun(out)).digest, `the folder after a cut at ${cut}`).toBe(digest);
      expect(asked, `cut at ${cut}`).toBe(2 * (40 - ends.filter((end) => end <= cut).length));
    }
  });

  it("counts a row that stands there twice once", async () => {
    const out = newFolder();
    const { digest, tasks } = await evaluate(toyModel(), [toy], { out });
    const file = join(out, "samples.jsonl");
    appendFileSync(file, `${readFileSync(file, "utf8").split("\n")[0]}\n`);
    const resumed = await evaluate(toyModel(), [toy], { out, resume: true });
    expect(resumed).toMatchObject({ digest, tasks });
    expect((await readRun(out)).scores.get("toy")).toHaveLength(40);
  });

  it("survives kill -9", async () => {
    const { digest } = await evaluate(toyModel(), [toy]);
    const out = newFolder();
    for (const rowsWanted of [3, 15, 33]) {
      const child = startKillable("slow", out);
      await waitFor(() => linesOf(out) >= rowsWanted, child);
      child.kill("SIGKILL");
      await new Promise((done) => child.once("exit", done));
      expect(existsSync(join(out, "lock"))).toBe(true);
      expect(linesOf(out)).toBeLessThan(40);
    }
    expect((await evaluate(toyModel(), [toy], { out, resume: true })).digest).toBe(digest);
  }, 60_000);

  it("refuses a broken line in the middle, which no kill leaves", async () => {
    const out = newFolder();
    await evaluate(toyModel(), [toy], { out });
    const file = join(out, "samples.jsonl");
    const lines = readFileSync(file, "utf8").split("\n");
    lines[6] = "{}";
    writeFileSync(file, lines.join("\n"));
    expect(await codeOf(evaluate(toyModel(), [toy], { out, resume: true }))).toEqual([
      "BAD_FILE",
      `Expected a sample's row in line 7 of ${file}, got something else.`,
    ]);
  });

  it("is not another run's: task, model and files must be the same", async () => {
    const out = newFolder();
    await evaluate(toyModel(), [toy], { out });
    const resume = { out, resume: true };
    const [code, message] = await codeOf(evaluate(toyModel(), [toyTask({ version: "2" })], resume));
    expect([code, message]).toEqual([
      "RUN_CONFLICT",
      `Expected the run that ${out} holds, this is another one: tasks.0.version was "1" and is "2".`,
    ]);
    const other = {
      ...toyModel(),
      describe: () => ({ name: "toy-model", kind: "scripted" as const, files: [{ name: "w", bytes: 1, sha256: "b" }] }),
    };
    expect((await codeOf(evaluate(other, [toy], resume)))[1]).toMatch(/another one: model\.files\.0 was absent and is/);
    expect(linesOf(out)).toBe(40);
  });

  it("is not begun over: an existing run, other files and a file are left alone", async () => {
    const out = newFolder();
    await evaluate(toyModel(), [toy], { out });
    expect((await codeOf(evaluate(toyModel(), [toy], { out })))[1]).toBe(
      `Expected a new folder, ${out} holds a run: resume it or name another folder.`,
    );
    const foreign = mkdtempSync(join(tmpdir(), "moescope-run-"));
    writeFileSync(join(foreign, "thesis.txt"), "");
    expect(await codeOf(evaluate(toyModel(), [toy], { out: foreign, resume: true }))).toEqual([
      "RUN_CONFLICT",
      `Expected ${foreign} to be empty or a run, it holds thesis.txt and no run.json.`,
    ]);
    const file = join(foreign, "thesis.txt");
    expect((await codeOf(evaluate(toyModel(), [toy], { out: file })))[1]).toBe(
      `Expected a folder for the run, ${file} is a file.`,
    );
  });

  it("is written by one process at a time, and a dead one's lock is taken over", async () => {
    const out = newFolder();
    await evaluate(toyModel(), [toy], { out });
    const lock = join(out, "lock");
    const start = readFileSync("/proc/self/stat", "utf8").split(") ")[1]!.split(" ")[19]!;
    const held = { host: hostname(), pid: process.pid, started: start };
    writeFileSync(lock, JSON.stringify(held));
    expect(await codeOf(evaluate(toyModel(), [toy], { out, resume: true }))).toEqual([
      "RUN_CONFLICT",
      `Expected ${out} to be free, but process ${process.pid} is writing a run there.`,
    ]);
    writeFileSync(lock, JSON.stringify({ ...held, host: "elsewhere" }));
    expect((await codeOf(evaluate(toyModel(), [toy], { out, resume: true })))[1]).toMatch(
      /on elsewhere \(delete the file lock/,
    );
    for (const dead of [
      { ...held, pid: 2 ** 22 + 1 },
      { ...held, started: "1" },
    ]) {
      writeFileSync(lock, JSON.stringify(dead));
      await evaluate(toyModel(), [toy], { out, resume: true });
      expect(existsSync(lock)).toBe(false);
    }
  });

  it("lets only one of two runs that start at once have it", async () => {
    const out = newFolder();
    const codes = await Promise.all([1, 2].map(() => codeOf(evaluate(toyModel(), [toy], { out }))));
    expect(codes.filter(([code]) => code === "RUN_CONFLICT").length).toBe(1);
    expect(linesOf(out)).toBe(40);
  });

  it("says that a newer moescope wrote it", async () => {
    const out = newFolder();
    await evaluate(toyModel(), [toy], { out });
    const run = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    writeFileSync(join(out, "run.json"), JSON.stringify({ ...run, formatVersion: 99 }));
    expect((await codeOf(readRun(out)))[0]).toBe("UNSUPPORTED");
  });

  it("is read only when it is complete and whole", async () => {
    const out = newFolder();
    await evaluate(toyModel(), [toy], { out });
    const file = join(out, "samples.jsonl");
    const size = statSync(file).size;
    truncateSync(file, size - 1);
    expect((await codeOf(readRun(out)))[1]).toMatch(/^Expected the samples of digest [0-9a-f]{64} in /);
    appendFileSync(file, "\n");
    expect((await readRun(out)).tasks[0]!.done).toBe(40);
    expect((await codeOf(readRun(join(out, "none"))))[0]).toBe("NOT_FOUND");
  });

  it("cannot be made where writing is forbidden", async () => {
    const forbidden = process.platform === "darwin" ? "/System/moescope" : "/sys/moescope";
    expect((await codeOf(evaluate(toyModel(), [toy], { out: forbidden })))[0]).toBe("NO_PERMISSION");
  });
});

describe("a full disk", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("ends the run with its name and keeps what is done", async () => {
    const out = newFolder();
    const handle = await open(join(tmpdir(), "moescope-handle"), "w");
    const prototype = Object.getPrototypeOf(handle) as { appendFile(data: string): Promise<void> };
    await handle.close();
    const append = prototype.appendFile;
    let calls = 0;
    vi.spyOn(prototype, "appendFile").mockImplementation(async function (this: typeof prototype, data: string) {
      // A full disk takes a part of what it is given.
      if (++calls < 3) return append.call(this, data);
      await append.call(this, data.slice(0, 50));
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    });
    expect(await codeOf(evaluate(toyModel(), [toy], { out, batchSize: 10 }))).toEqual([
      "DISK_FULL",
      `Could not write ${join(out, "samples.jsonl")}: the disk is full.`,
    ]);
    vi.restoreAllMocks();
    expect(linesOf(out)).toBe(20);
    const { digest } = await evaluate(toyModel(), [toy]);
    expect((await evaluate(toyModel(), [toy], { out, resume: true })).digest).toBe(digest);
  });
});

function linesOf(out: string): number {
  const file = join(out, "samples.jsonl");
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").length - 1 : 0;
}

async function waitFor(condition: () => boolean, child: ChildProcess): Promise<void> {
  while (!condition()) {
    if (child.exitCode !== null) throw new Error(`The process to be killed ended by itself with ${child.exitCode}.`);
    await new Promise((done) => setTimeout(done, 2));
  }
}
