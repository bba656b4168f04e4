import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Program } from "../../../src/index.js";
import type { Attack } from "./attack.js";
import { EXHAUSTION } from "./exhaustion.js";
import { FORGERY } from "./forgery.js";
import { sandboxHere } from "./here.js";
import { REACHING } from "./reaching.js";
import { WASI_ATTACKS, WASI_ENDINGS } from "./wasi-endings.js";

const ATTACKS = [...EXHAUSTION, ...REACHING, ...FORGERY];

const folder = mkdtempSync(join(tmpdir(), "moescope-attacked-"));
let server: Server;
let connections = 0;

beforeAll(async () => {
  writeFileSync(join(folder, "secret"), "secret");
  server = createServer(() => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => server.close());

const programOf = (source: string): Program => {
  const filled = source
    .replaceAll("HOST_PORT", String((server.address() as AddressInfo).port))
    .replaceAll("HOST_PID", String(process.pid))
    .replaceAll("HOST_FOLDER", folder);
  const tests =
    "def check(candidate):\n    return THE_ANSWER_IS(candidate())\ndef THE_ANSWER_IS(x):\n    assert x == 42\ncheck(attack)";
  return { source: filled, entryPoint: "attack", prelude: "", tests };
};

const LISTS: Readonly<Record<string, readonly Attack[]>> = {
  bubblewrap: ATTACKS,
  wasi: [...ATTACKS.map((attack) => ({ ...attack, ...WASI_ENDINGS[attack.name] })), ...WASI_ATTACKS],
};

describe.each(["bubblewrap", "wasi"] as const)("attacks are contained in %s", (name) => {
  it.for(LISTS[name]!.map((attack) => [attack.name, attack] as const))(
    "%s",
    { timeout: 90_000 },
    async ([, attack], context) => {
      const { source, verdict, reason, output, limits } = attack;
      const sandbox = await sandboxHere(context, name);
      const before = connections;
      const result = await sandbox.run(programOf(source), limits);
      expect(result).toMatchObject({ verdict, ...(reason && { reason }), ...(output !== undefined && { output }) });
      expect(result.output.length).toBeLessThanOrEqual(8192);
      expect(result.durationMs).toBeLessThan(limits?.timeoutMs === undefined ? 10_000 : limits.timeoutMs + 5000);
      expect(readdirSync(folder)).toEqual(["secret"]);
      expect(connections).toBe(before);
      expect(await until(() => namedProcesses("moescope-bomb") === 0, 5000)).toBe(true);
    },
  );
});

describe("programs in bubblewrap", () => {
  it("background processes end with their program", async (context) => {
    const sandbox = await sandboxHere(context);
    // A daemon: its own session, no parent, no descriptors, and a name by which it can be seen from outside.
    const source = `
import ctypes, os, time
def attack():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, b"moescope-daemon")
            os.closerange(0, 64)
            time.sleep(3600)
        os._exit(0)
    time.sleep(0.5)
    return 42`;
    const running = sandbox.run(programOf(source));
    const seen = await until(() => namedProcesses("moescope-daemon") > 0, 5000);
    expect(await running).toMatchObject({ verdict: "passed" });
    expect(seen).toBe(true);
    expect(await until(() => namedProcesses("moescope-daemon") === 0, 5000)).toBe(true);
  });

  it("programs do not see each other's files", async (context) => {
    const sandbox = await sandboxHere(context);
    const writes =
      "import time\ndef attack():\n    open('/tmp/mine', 'w').write('x')\n    time.sleep(1)\n    return 42";
    const looks = "import os, time\ndef attack():\n    time.sleep(0.5)\n    print(os.listdir('/tmp'))\n    return 42";
    const results = await Promise.all([sandbox.run(programOf(writes)), sandbox.run(programOf(looks))]);
    expect(results.map(({ verdict, output }) => [verdict, output])).toEqual([
      ["passed", ""],
      ["passed", "[]\n"],
    ]);
    expect(existsSync("/tmp/mine")).toBe(false);
  });
});

/** Processes of this machine whose name is this. */
function namedProcesses(name: string): number {
  return readdirSync("/proc").filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === name;
    } catch {
      return false;
    }
  }).length;
}

async function until(isSo: () => boolean, ms: number): Promise<boolean> {
  const end = Date.now() + ms;
  while (!isSo()) {
    if (Date.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}
