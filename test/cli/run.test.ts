/** The command line as a whole: help, versions, quiet ends. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { exitCodeOf } from "../../src/cli/exit-code.js";
import { expertHeatmap } from "../../src/cli/heatmap.js";
import { readLines } from "../../src/cli/lines.js";
import { suggestionFor } from "../../src/cli/suggest.js";
import { MoescopeError } from "../../src/errors.js";
import { ExpertLoad } from "../../src/router/expert-load.js";
import { runCli } from "./run-cli.js";
import { PROJECT, seededModel } from "./seeded.js";

const COMMANDS = ["demo", "inspect", "generate", "chat", "score", "trace", "perplexity", "eval", "compare"];

describe("help", () => {
  it("lists the commands and the exit codes", async () => {
    const { code, stdout } = await runCli(["--help"]);
    expect(code).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
    for (const exitCode of ["0", "1", "2", "3", "4", "5", "130"])
      expect(stdout).toMatch(new RegExp(`^  ${exitCode} +\\w`, "m"));
    expect(stdout).toContain("MOESCOPE_DEBUG");
  });

  it.each(COMMANDS)("of %s has one example", async (command) => {
    const { code, stdout } = await runCli([command, "--help"]);
    expect(code).toBe(0);
    expect(stdout.match(/^ {2}\$ .*moescope \w+/gm)).toHaveLength(1);
  });

  it("is what a call without a command gets, as a mistake", async () => {
    const { code, stdout, stderr } = await runCli([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^Usage: moescope/);
  });

  it("tells the version of package.json", async () => {
    const { version } = JSON.parse(readFileSync(join(PROJECT, "package.json"), "utf8"));
    expect(await runCli(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

describe("errors", () => {
  it("have their exit codes", () => {
    const codes = ["INVALID_ARGUMENT", "NOT_FOUND", "UNSUPPORTED", "DISK_FULL", "ABORTED", "INVARIANT"] as const;
    expect(codes.map((code) => exitCodeOf(new MoescopeError(code, "x")))).toEqual([2, 3, 4, 5, 130, 1]);
    expect(exitCodeOf(new TypeError("x"))).toBe(1);
  });

  it("show their stack only where MOESCOPE_DEBUG is set", async () => {
    const argv = ["inspect", "/nowhere"];
    expect((await runCli(argv)).stderr).toBe("Could not open the model /nowhere: it does not exist.\n");
    process.env.MOESCOPE_DEBUG = "1";
    try {
      expect((await runCli(argv)).stderr).toMatch(/\n\s+at .*\ncaused by /s);
    } finally {
      delete process.env.MOESCOPE_DEBUG;
    }
  });

  it("are none when the reader of stdout has left", async () => {
    const stdout = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
      },
    });
    const argv = ["generate", seededModel(), "--prompt", "hi", "--max-tokens", "500"];
    expect(await runCli(argv, { stdout })).toMatchObject({ code: 0, stderr: "" });
  });
});

describe("parts", () => {
  it("suggest the nearest word, or none", () => {
    expect(suggestionFor("mmul", ["gsm8k", "mmlu"])).toBe("mmlu");
    expect(suggestionFor("TOPK", ["counts", "topk"])).toBe("topk");
    expect(suggestionFor("hellaswag", ["gsm8k", "mmlu"])).toBeUndefined();
  });

  it.each([1, 3, 100])("read lines from chunks of %d bytes", async (size) => {
    const bytes = Buffer.from("één\r\ntwee\n\ndrie");
    const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    );
    const lines: string[] = [];
    for await (const line of readLines(Readable.from(chunks))) lines.push(line);
    expect(lines).toEqual(["één", "twee", "", "drie"]);
  });

  it("draw the load: blank for idle, full from four times the even share, pooled where a row is too long", () => {
    const load = new ExpertLoad(Float64Array.of(0, 10, 10, 20, 40, 0, 0, 0), [0, 3], 4);
    const [first, second] = expertHeatmap(load).split("\n");
    expect(first).toBe("layer 0 │  ░░░░▒▒│ expert 3 ×2.0, cv 0.71");
    expect(second).toBe("layer 3 │██      │ expert 0 ×4.0, cv 1.73");
    const wide = new ExpertLoad(new Float64Array(64).fill(3), [0], 64);
    expect(expertHeatmap(wide, { width: 60 })).toContain(`│${"░".repeat(22)}│`);
    expect(expertHeatmap(wide, { width: 60 })).toContain("each cell 3 experts");
    expect(expertHeatmap(new ExpertLoad(new Float64Array(4), [0], 4))).toContain("no tokens");
    expect(expertHeatmap(new ExpertLoad(new Float64Array(0), [], 0))).toBe("This model has no routed experts.");
  });
});
