/** `eval` and `compare`: run folders, resuming after Ctrl-C, interventions, routes beside scores. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadTrace } from "../../src/router/trace-files.js";
import { startServer } from "../eval/endpoint/server.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { writeProblems } from "./eval-data.js";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

describe("eval", () => {
  const folder = temporaryFolder();
  const data = writeProblems(join(folder, "data"), 40);
  const call = (out: string, ...more: string[]) => [
    ...["eval", seededModel(), "--tasks", "gsm8k", "--data", data, "--num-fewshot", "1", "--out", join(folder, out)],
    ...more,
  ];

  it("prints the table, leaves the run folder, and gives the same numbers as JSON", async () => {
    const { code, stdout } = await runCli(call("first", "--limit", "5"));
    expect(code).toBe(0);
    expect(stdout).toMatch(/gsm8k\s+ref\s+strict-match\s+0\.0/);
    expect(stdout).toContain("5 of the 40 samples were selected");
    expect(
      readFileSync(join(folder, "first", "samples.jsonl"), "utf8")
        .trim()
        .split("\n"),
    ).toHaveLength(5);
    const { stdout: json } = await runCli(call("second", "--limit", "5", "--json"));
    const result = JSON.parse(json);
    expect(stdout).toContain(`digest ${result.digest}`);
    expect(result.tasks[0].metrics[0].estimate).toMatchObject({ n: 5, value: 0 });
  });

  it("goes on after Ctrl-C and ends with the digest of an uninterrupted run", async () => {
    const stop = new AbortController();
    const samples = join(folder, "cut", "samples.jsonl");
    const watch = setInterval(() => {
      if (existsSync(samples) && readFileSync(samples, "utf8").includes("\n")) stop.abort();
    }, 2);
    const cut = await runCli(call("cut"), { signal: stop.signal });
    clearInterval(watch);
    expect(cut.code).toBe(130);
    expect(cut.stderr).toMatch(/The run was cancelled with (8|16|24|32) of 40 samples done\./);
    expect(cut.stderr).toContain("the same command with --resume goes on");
    const resumed = JSON.parse((await runCli(call("cut", "--resume", "--json"))).stdout);
    const whole = JSON.parse((await runCli(call("whole", "--json"))).stdout);
    expect(resumed.digest).toBe(whole.digest);
  });

  it("draws other examples with another --seed", async () => {
    const one = JSON.parse((await runCli(call("seed1", "--limit", "2", "--seed", "1", "--json"))).stdout);
    const two = JSON.parse((await runCli(call("seed2", "--limit", "2", "--seed", "2", "--json"))).stdout);
    expect(one.tasks[0].settings.fewshotSeed).toBe(1);
    expect(one.digest).not.toBe(two.digest);
  });

  it("writes the routes of every sample, under the intervention that it records", async () => {
    const masked = '{"kind": "mask", "layers": [1], "experts": [0, 3]}';
    const { code } = await runCli(call("masked", "--limit", "2", "--trace", "topk", "--intervene", masked));
    expect(code).toBe(0);
    const run = JSON.parse(readFileSync(join(folder, "masked", "run.json"), "utf8"));
    expect(run.identity.model.interventions).toEqual([JSON.parse(masked)]);
    const shard = readdirSync(join(folder, "masked", "trace"))[0]!;
    const trace = await loadTrace(join(folder, "masked", "trace", shard));
    const load = trace.expertLoad();
    expect([load.layer(1)[0], load.layer(1)[3]]).toEqual([0, 0]);
    expect(load.layer(0)[0]! + load.layer(2)[3]!).toBeGreaterThan(0);
    const ids = new Set(trace.keys.map(({ sampleId }) => sampleId).filter((id) => id !== undefined));
    expect([...ids].sort()).toEqual(["0", "1"]);
  });

  it("compares two runs item by item", async () => {
    const { code, stdout } = await runCli(["compare", join(folder, "seed1"), join(folder, "seed2"), "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)[0]).toMatchObject({ task: "gsm8k", n: 2, differentPrompts: 2, difference: 0 });
    const table = await runCli(["compare", join(folder, "first"), join(folder, "second")]);
    expect(table.stdout).toContain("McNemar p");
  });
});

describe("eval of an endpoint", () => {
  const folder = temporaryFolder();
  const data = writeProblems(join(folder, "data"), 12);
  const call = (url: string, out: string, ...more: string[]) => [
    ...["eval", "--endpoint", url, "--tasks", "gsm8k", "--data", data, "--num-fewshot", "1"],
    ...["--out", join(folder, out), "--json", ...more],
  ];
  /** Adds the two numbers of the question. */
  const adds = (prompt: string): string => {
    const [have, get] = prompt.split("Question:").at(-1)!.match(/\d+/g)!.map(Number);
    return ` They add up.\n#### ${have! + get!}`;
  };

  it("asks the server, some requests at a time, with the key of the named variable", async () => {
    const server = await startServer({ generate: adds });
    process.env.MOESCOPE_TEST_KEY = "sk-of-the-test";
    try {
      const { code, stdout } = await runCli(
        call(server.url, "served", "--concurrency", "3", "--api-key-env", "MOESCOPE_TEST_KEY", "--max-tokens", "99"),
      );
      expect(code).toBe(0);
      const { model, tasks } = JSON.parse(stdout);
      expect([model, tasks[0].settings.maxTokens]).toEqual(["table", 99]);
      expect(tasks[0].metrics[0].estimate).toMatchObject({ value: 1, n: 12 });
      // Never more; on a busy machine they may not all meet.
      expect(server.mostActive).toBeLessThanOrEqual(3);
      expect(new Set(server.asked.map(({ authorization }) => authorization))).toEqual(
        new Set(["Bearer sk-of-the-test"]),
      );
      expect(readFileSync(join(folder, "served", "run.json"), "utf8")).not.toContain("sk-of-the-test");
    } finally {
      delete process.env.MOESCOPE_TEST_KEY;
      await server.close();
    }
  });

  it("goes on after it was gone", async () => {
    let asked = 0;
    const broken = () =>
      ++asked > 6 && asked < 1000 ? { status: 400, body: { error: { message: "out of order" } } } : undefined;
    const server = await startServer({ generate: adds, before: broken });
    const cut = await runCli(call(server.url, "gone"));
    expect([cut.code, cut.stderr]).toEqual([6, expect.stringContaining("got status 400: out of order.")]);
    asked = 1000;
    const resumed = JSON.parse((await runCli(call(server.url, "gone", "--resume"))).stdout);
    const whole = JSON.parse((await runCli(call(server.url, "at-once"))).stdout);
    expect(resumed.digest).toBe(whole.digest);
    await server.close();
  });

  it.each([
    [["--threads", "2"], "Expected no --threads beside --endpoint: the server decides that."],
    [["--trace", "topk"], "Expected no --trace beside --endpoint: the server decides that."],
    [["--api-key-env", "NO_SUCH_KEY"], "Expected the key in the environment variable NO_SUCH_KEY, it is not set."],
    [
      ["--endpoint", "localhost"],
      'Expected an address such as http://localhost:8000/v1 for endpoint, got "localhost".',
    ],
  ])("refuses %j", async (more, sentence) => {
    const { code, stderr } = await runCli(call("http://127.0.0.1:9/v1", "refused", ...more));
    expect([code, stderr.trim()]).toEqual([2, sentence]);
  });

  it("wants a model or an endpoint, and no endpoint's options without one", async () => {
    const rest = ["--tasks", "gsm8k", "--out", join(folder, "none")];
    expect((await runCli(["eval", ...rest])).stderr).toBe("Expected a model or --endpoint URL, got neither.\n");
    expect((await runCli(["eval", "demo", ...rest, "--retries", "1"])).stderr).toBe(
      "Expected no --retries without --endpoint.\n",
    );
  });
});

describeWithGoldens("eval on official rows", ["data/mmlu/test", "data/gsm8k/test.jsonl"], () => {
  const folder = temporaryFolder();

  it("scores questions of every group, in both tracks", async () => {
    for (const track of ["ref", "qwen"]) {
      const argv = [
        "eval",
        seededModel(),
        "--tasks",
        "mmlu",
        "--track",
        track,
        "--limit",
        "4",
        "--data",
        sharedPath("data"),
      ];
      const shots = track === "ref" ? ["--num-fewshot", "0"] : [];
      const { code, stdout, stderr } = await runCli([
        ...argv,
        ...shots,
        "--out",
        join(folder, track),
        "--max-context",
        "1024",
        "--json",
      ]);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      expect(JSON.parse(stdout).tasks[0]).toMatchObject({ name: "mmlu", track, samples: 4, done: 4 });
    }
  });
});
