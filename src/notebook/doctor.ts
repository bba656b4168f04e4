/** What `moescope kernel doctor` looks at; each check says in one sentence what is wrong and what helps. */
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { promisify } from "node:util";
import { loadAddon } from "../native/addon.js";
import { KernelClient } from "./client.js";
import { kernelCommand } from "./kernel-process.js";
import { installedKernels, KERNEL_NAME, kernelJson } from "./kernelspec.js";
import { requireOptional } from "./optional.js";

export interface Finding {
  check: string;
  isGood: boolean;
  detail: string;
}

/** The oldest Node whose `require` takes ES modules, as major and minor version. */
const OLDEST_NODE = [20, 19] as const;

/** Commands of which one prints the versions of Jupyter where there is one. */
const JUPYTERS: readonly (readonly string[])[] = [
  ["jupyter", "--version"],
  ["python3", "-c", "import jupyter_client; print('jupyter_client', jupyter_client.__version__)"],
  ["/usr/bin/python3", "-c", "import jupyter_client; print('jupyter_client', jupyter_client.__version__)"],
];

export interface DiagnoseOptions {
  /** Where else the kernel may be installed. */
  prefix?: string;
  /** Default: of this process. */
  nodeVersion?: string;
  jupyters?: readonly (readonly string[])[];
  /** Whether a kernel is started and runs a cell, where nothing before is wrong with it. Default true. */
  withCell?: boolean;
}

/** Looks at everything that a notebook needs. */
export async function diagnose(options: DiagnoseOptions = {}): Promise<Finding[]> {
  const { prefix, nodeVersion = process.versions.node, jupyters = JUPYTERS, withCell = true } = options;
  const findings = [
    checkNode(nodeVersion),
    attempt(
      "native core",
      () => loadAddon().availableCores(),
      (cores) => `loads, ${cores} cores`,
    ),
    attempt(
      "tslab",
      () => requireOptional<{ version: string }>("tslab/package.json").version,
      (version) => version,
    ),
    attempt(
      "zeromq",
      () => requireOptional<{ version: string }>("zeromq").version,
      (version) => `libzmq ${version}`,
    ),
    checkSpec(prefix),
    await checkJupyter(jupyters),
  ];
  const canStart = findings.slice(0, 4).every(({ isGood }) => isGood);
  if (canStart && withCell) findings.push(await checkCell());
  return findings;
}

function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isGood = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  const detail = isGood ? version : `expected ${OLDEST_NODE.join(".")} or newer, got ${version}`;
  return { check: "Node.js", isGood, detail };
}

function attempt<T>(check: string, work: () => T, say: (value: T) => string): Finding {
  try {
    return { check, isGood: true, detail: say(work()) };
  } catch (error) {
    return { check, isGood: false, detail: (error as Error).message };
  }
}

function checkSpec(prefix: string | undefined): Finding {
  const check = "kernelspec";
  const kernel = installedKernels(prefix).find(({ name }) => name === KERNEL_NAME);
  if (kernel === undefined) return { check, isGood: false, detail: "not installed: run moescope kernel install" };
  const { folder, missing, spec } = kernel;
  if (missing.length > 0)
    return { check, isGood: false, detail: `${folder} names ${missing[0]}, which is not there: install it again` };
  if (spec.argv.at(-2) !== kernelJson().argv.at(-2)) {
    return {
      check,
      isGood: false,
      detail: `${folder} starts another copy of moescope, ${spec.argv.at(-2)}: install it again`,
    };
  }
  return { check, isGood: true, detail: folder };
}

/** Jupyter on PATH, or the client that notebooks are run with, in one of the Pythons that there are. */
async function checkJupyter(jupyters: readonly (readonly string[])[]): Promise<Finding> {
  const run = promisify(execFile);
  for (const [program, ...args] of jupyters) {
    try {
      const { stdout } = await run(program!, args, { timeout: 20_000 });
      const versions = stdout
        .trim()
        .split("\n")
        .filter((line) => !/not installed/.test(line));
      if (versions.length > 0)
        return { check: "Jupyter", isGood: true, detail: versions.slice(0, 3).join(", ").replace(/ +/g, " ") };
    } catch {
      // the next one may be there
    }
  }
  return {
    check: "Jupyter",
    isGood: false,
    detail: "not found on PATH: install it (notebooks run without it by moescope notebook run)",
  };
}

async function checkCell(): Promise<Finding> {
  const check = "a cell";
  const started = performance.now();
  try {
    const client = await KernelClient.start({ cwd: tmpdir(), command: kernelCommand });
    const ready = (performance.now() - started) / 1000;
    try {
      const { content } = await client.execute('import { packageRoot } from "moescope"; packageRoot()');
      const isGood = content.status === "ok";
      return {
        check,
        isGood,
        detail: isGood ? `runs; the kernel was ready after ${ready.toFixed(1)} s` : String(content.evalue),
      };
    } finally {
      await client.shutdown();
    }
  } catch (error) {
    return { check, isGood: false, detail: (error as Error).message };
  }
}
