import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { FirstSandbox } from "../../../src/eval/sandbox/first-sandbox.js";
import { PooledSandbox } from "../../../src/eval/sandbox/pooled-sandbox.js";
import {
  AbortError,
  openSandbox,
  PROGRAM_LIMITS,
  type Program,
  SANDBOX_NAMES,
  type Sandbox,
  type SandboxName,
  type SandboxStatus,
} from "../../../src/index.js";
import { sandboxHere } from "./here.js";

const notLinux = process.platform === "linux" ? "" : " (skipped: bubblewrap is for Linux)";
const PATH = process.env.PATH;
afterEach(() => {
  process.env.PATH = PATH;
});

const identity = (tests: string, source: string = "def f(*x): return x[0] if len(x) == 1 else x"): Program => {
  return { source, entryPoint: "f", prelude: "", tests };
};

describe("a program's values", () => {
  it.for([
    [
      "numbers",
      "assert f(-3) == -3 and f(2.5) == 2.5 and f(2**70) == 2**70 and f(-(2**70)) == -(2**70) and f(1j) == 1j",
    ],
    ["large numbers", "assert f(7**9000) == 7**9000"],
    ["kinds of number", "assert type(f(1)) is int and type(f(1.0)) is float and f(True) is True and f(None) is None"],
    [
      "what is not finite",
      "import math\nassert math.isinf(f(math.inf)) and math.isnan(f(math.nan)) and math.copysign(1, f(-0.0)) == -1",
    ],
    ["text", "assert f('é漢😀\\x00\\n\\ud800') == 'é漢😀\\x00\\n\\ud800' and f(b'\\x00\\xff') == b'\\x00\\xff'"],
    [
      "sequences",
      "assert f([1, (2, [3])]) == [1, (2, [3])] and type(f((1,))) is tuple and f([]) == [] and f(()) == ()",
    ],
    [
      "sets and dicts",
      "assert f({1, 'a'}) == {1, 'a'} and f({(1, 2): {'a': [None]}}) == {(1, 2): {'a': [None]}} and list(f({2: 0, 1: 0})) == [2, 1]",
    ],
    ["ranges", "assert f(range(1, 9, 2)) == range(1, 9, 2)"],
    [
      "fractions and decimals",
      "import fractions, decimal\nassert f(fractions.Fraction(1, 3)) == fractions.Fraction(1, 3) and f(decimal.Decimal('0.1')) == decimal.Decimal('0.1')",
    ],
    ["several arguments and names", "assert f(1, 2) == (1, 2)"],
  ])("arrive as they are: %s", async ([, tests], context) => {
    const sandbox = await sandboxHere(context);
    expect(await sandbox.run(identity(tests!))).toMatchObject({ verdict: "passed" });
  });

  it("arrive as they are in WebAssembly too", async (context) => {
    const sandbox = await sandboxHere(context, "wasi");
    const tests =
      "assert f([1, (2.5, {'é漢': {2**70, None}}), b'\\x00', range(3)]) == [1, (2.5, {'é漢': {2**70, None}}), b'\\x00', range(3)]";
    const twice = [
      identity(tests),
      identity("import random, hashlib\nf(random.random())", "def f(x): print(hash('a'), x)"),
    ];
    const [first, second, third] = await Promise.all([...twice, twice[1]!].map((program) => sandbox.run(program)));
    expect(first).toMatchObject({ verdict: "passed", reason: "" });
    expect([second!.verdict, second!.output]).toEqual(["passed", third!.output]);
  });

  it.for([
    ["an iterator is no list, and can be made one", "map(int, '12')", "assert f() != [1, 2] and list(f()) == [1, 2]"],
    ["keys are a set", "{1: 2}.keys()", "assert f() == {1} and f() != [1]"],
    ["a subclass is what it stands on", "__import__('collections').Counter('aab')", "assert f() == {'a': 2, 'b': 1}"],
    ["an object equals nothing", "object()", "assert f() != f()"],
    ["an argument is a copy", "x.append(1)", "a = []\nf(a)\nassert a == []"],
  ])("have the meaning that they had: %s", async ([, value, tests], context) => {
    const sandbox = await sandboxHere(context);
    const source = `def f(x=None): return ${value}`;
    expect(await sandbox.run(identity(tests!, source))).toMatchObject({ verdict: "passed" });
  });
});

describe("a program", () => {
  it("is no main program, has nothing to read, and its errors reach its tests by name", async (context) => {
    const sandbox = await sandboxHere(context);
    const source = "print('seen')\nif __name__ == '__main__': raise SystemExit\ndef f(): return input()";
    const tests = "try:\n    f()\nexcept EOFError:\n    pass\nelse:\n    assert False";
    expect(await sandbox.run(identity(tests, source))).toMatchObject({
      verdict: "passed",
      reason: "",
      output: "seen\n",
    });
  });

  it("hashes and draws alike in every run", async (context) => {
    const sandbox = await sandboxHere(context);
    const source = "def f(x):\n    print(hash('a'), x)";
    const run = async () => (await sandbox.run(identity("import random\nf(random.random())", source))).output;
    expect(await run()).toBe(await run());
  });

  it("is tested with what stands in its prompt, the last body of which may be missing", async (context) => {
    const sandbox = await sandboxHere(context);
    const program = {
      source: "def f(x): return x * 2",
      entryPoint: "f",
      prelude: "def half(x):\n    return x / 2\n\ndef f(x):\n",
    };
    expect(await sandbox.run({ ...program, tests: "assert half(f(3)) == 3" })).toMatchObject({ verdict: "passed" });
  });
});

describe("a run", () => {
  const endless = identity("f()", "def f():\n    while True: pass");

  it("ends when it is cancelled, running or waiting", async (context) => {
    const sandbox = await sandboxHere(context);
    const abort = new AbortController();
    const runs = Array.from({ length: 6 }, () => sandbox.run(endless, { signal: abort.signal, timeoutMs: 60_000 }));
    setTimeout(() => abort.abort(), 300);
    const started = performance.now();
    const results = await Promise.allSettled(runs);
    expect(results.map((r) => r.status === "rejected" && r.reason instanceof AbortError)).toEqual(Array(6).fill(true));
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it("ends although the checker does not read what is left of an answer", async (context) => {
    const sandbox = await sandboxHere(context);
    const large = identity("f()", "def f(): return 'x' * 2**23");
    const results = await Promise.all(Array.from({ length: 24 }, () => sandbox.run(large)));
    expect(new Set(results.map(({ verdict }) => verdict))).toEqual(new Set(["output"]));
  });

  it("waits where as many run as the pool allows", async () => {
    let running = 0;
    let most = 0;
    const sandbox = new PooledSandbox(
      "counted",
      async () => ({
        description: "",
        run: async () => {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setTimeout(resolve, 5));
          running--;
          return { verdict: "passed", reason: "", output: "", durationMs: 5 };
        },
      }),
      3,
    );
    await Promise.all(Array.from({ length: 20 }, () => sandbox.run(endless)));
    expect(most).toBe(3);
  });

  it("refuses limits that cannot be meant", async () => {
    const sandbox = openSandbox("none");
    await expect(sandbox.run(endless, { timeoutMs: 0 })).rejects.toThrow(
      "Expected a whole number, at least 1 for timeoutMs",
    );
    await expect(sandbox.run(endless, { memoryBytes: NaN })).rejects.toThrow("for memoryBytes");
    expect(() => openSandbox("docker" as SandboxName)).toThrow(/^Expected one of bubblewrap, wasi, none for sandbox/);
    expect(() => openSandbox("none", { concurrency: 0 })).toThrow("for concurrency");
    expect([SANDBOX_NAMES, PROGRAM_LIMITS.timeoutMs]).toEqual([["bubblewrap", "wasi", "none"], 3000]);
  });
});

describe("where bubblewrap does not work", () => {
  /** A folder with a `bwrap` of our own. */
  const withBwrap = (script: string): string => {
    const folder = mkdtempSync(join(tmpdir(), "moescope-bwrap-"));
    writeFileSync(
      join(folder, "bwrap"),
      `#!/bin/sh\n[ "$1" = --version ] && echo "bubblewrap 9.9" && exit\n${script}\n`,
    );
    for (const path of [folder, join(folder, "bwrap")]) chmodSync(path, 0o755);
    process.env.PATH = `${folder}:${PATH}`;
    return folder;
  };
  const program = identity("assert f(1) == 1");

  it.skipIf(notLinux)(`programs are not run, and the reason is said: it is missing${notLinux}`, async () => {
    process.env.PATH = "/nowhere";
    const sandbox = openSandbox("bubblewrap");
    const reason = "bwrap is not on PATH (Debian and Ubuntu: apt-get install bubblewrap)";
    expect(await sandbox.status()).toEqual({ available: false, reason });
    expect(await sandbox.run(program)).toEqual({ verdict: "not-run", reason, output: "", durationMs: 0 });
  });

  it.skipIf(notLinux)(`programs are not run, and the reason is said: it may not${notLinux}`, async () => {
    withBwrap('echo "bwrap: No permissions to create new namespace" >&2; exit 1');
    const result = await openSandbox("bubblewrap").run(program);
    expect(result.verdict).toBe("not-run");
    expect(result.reason).toMatch(
      /^bubblewrap 9\.9 does not work here \(.*: bwrap: No permissions to create new namespace/,
    );
  });

  it.skipIf(notLinux)(`programs are not run, and the reason is said: it isolates nothing${notLinux}`, async () => {
    withBwrap('while [ "$1" != -- ]; do shift; done; shift; exec "$@"');
    const result = await openSandbox("bubblewrap").run(program);
    expect(result.verdict).toBe("not-run");
    expect(result.reason).toMatch(/a program could .*see \/etc\/passwd/);
  });

  it.skipIf(notLinux)(`programs are not run, and the reason is said: it is gone${notLinux}`, async (context) => {
    await sandboxHere(context);
    const folder = withBwrap('exec bwrap "$@"');
    const sandbox = openSandbox("bubblewrap");
    expect(await sandbox.run(program)).toMatchObject({ verdict: "passed" });
    rmSync(folder, { recursive: true });
    const result = await sandbox.run(program);
    expect([result.verdict, result.reason]).toEqual(["not-run", `spawn ${folder}/bwrap ENOENT`]);
  });

  it("programs are not run, and the reason is said: there is no Python", async () => {
    const result = await openSandbox("none", { python: "/nowhere/python3" }).run(program);
    expect(result).toMatchObject({ verdict: "not-run", reason: "Python is not to be had (/nowhere/python3)" });
  });
});

describe("without a name", () => {
  const backend = (name: string, status: SandboxStatus): Sandbox => ({
    name,
    status: async () => status,
    run: async () => ({ verdict: "passed", reason: name, output: "", durationMs: 0 }),
  });
  const missing = (name: string) => backend(name, { available: false, reason: `no ${name}` });
  const there = (name: string) => backend(name, { available: true, description: name });

  it("the first sandbox that works runs programs, and says which it is", async () => {
    const first = new FirstSandbox([missing("a"), there("b"), there("c")]);
    expect([first.name, await first.status()]).toEqual(["a or b or c", { available: true, description: "b" }]);
    expect((await first.run(identity("f(1)"))).reason).toBe("b");
  });

  it("none runs them where none works, and all reasons are said", async () => {
    const none = new FirstSandbox([missing("a"), missing("b")]);
    expect(await none.status()).toEqual({ available: false, reason: "no a; no b" });
    expect(await none.run(identity("f(1)"))).toMatchObject({ verdict: "not-run", reason: "no a; no b" });
  });

  it("it is bubblewrap or WebAssembly, never no isolation", () => {
    expect(openSandbox().name).toBe("bubblewrap or wasi");
  });
});

describe("without a sandbox", () => {
  it("programs run with their limits", async (context) => {
    const sandbox = openSandbox("none");
    const status = await sandbox.status();
    if (!status.available) context.skip(status.reason);
    expect(status).toMatchObject({ description: expect.stringMatching(/^no sandbox, Python 3/) });
    const sleeps = identity("f()", "import time\ndef f(): time.sleep(60)");
    const grows = identity("f()", "def f(): return len(bytearray(10 * 2**30))");
    const results = [
      await sandbox.run(identity("assert f(1) == 1")),
      await sandbox.run(identity("assert f(1) == 2")),
      await sandbox.run(sleeps, { timeoutMs: 300 }),
      await sandbox.run(grows),
      await sandbox.run(identity("f()", "import os\ndef f(): os._exit(0)")),
      await sandbox.run(identity("f()", "def f(): open('large', 'wb').write(bytes(2**25))")),
    ];
    expect(results.map(({ verdict }) => verdict)).toEqual([
      ...["passed", "failed", "timeout", "memory", "failed", "failed"],
    ]);
    expect(results.at(-1)!.reason).toBe("OSError");
  });

  it("a run ends although something that it left behind does not", async (context) => {
    const sandbox = openSandbox("none");
    if (!(await sandbox.status()).available) context.skip("Python is not to be had");
    const source = `
import os, time
def f():
    if os.fork() == 0:
        os.setsid()
        time.sleep(8)
        os._exit(0)
    return 1`;
    const started = performance.now();
    expect(await sandbox.run(identity("assert f() == 1", source))).toMatchObject({ verdict: "passed" });
    expect(performance.now() - started).toBeLessThan(7000);
  });
});
