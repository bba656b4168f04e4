import { execFile } from "node:child_process";
import { lstat, readlink } from "node:fs/promises";
import { promisify } from "node:util";
import { commandOnPath, type Interpreter, interpreterOf, USUAL_PYTHONS } from "./interpreter.js";
import { judge } from "./judge.js";
import { PooledSandbox, PROGRAM_ENVIRONMENT, type Runner, type SandboxOptions } from "./pooled-sandbox.js";
import { PROGRAM_LIMITS, type ProgramLimits, type Sandbox, type Unavailable } from "./sandbox.js";
import { seccompFilter } from "./seccomp.js";
import type { Launch } from "./side.js";
import { WAYS_OUT } from "./ways-out.js";

/**
 * The sandbox of Linux: bubblewrap (`bwrap`). Its processes have no network, no file system but the system's programs read-only and
 * an empty /tmp in memory, no /proc, a process table, user table and host name of their own, no capabilities, no environment and no
 * system calls that make new namespaces; they end with us.
 */
export function bubblewrap(options: SandboxOptions = {}): Sandbox {
  return new PooledSandbox("bubblewrap", () => findRunner(options.python), options.concurrency);
}

const NOBODY = 65_534;
/** What programs and their libraries are in; absent ones are left out. */
const SYSTEM_FOLDERS = ["/usr", "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"];

async function findRunner(python: string | undefined): Promise<Runner | Unavailable> {
  if (process.platform !== "linux") return unavailable(`bubblewrap is for Linux, this is ${process.platform}`);
  const bwrap = await commandOnPath("bwrap");
  if (bwrap === undefined) return unavailable("bwrap is not on PATH (Debian and Ubuntu: apt-get install bubblewrap)");
  const version = await versionOf(bwrap);
  if (version === undefined) return unavailable(`${bwrap} does not run`);
  const system = await systemMounts();
  const reasons: string[] = [];
  for (const command of python === undefined ? USUAL_PYTHONS : [python]) {
    const interpreter = await interpreterOf(command);
    if (interpreter === undefined) {
      reasons.push(`${command}: not a Python that runs`);
      continue;
    }
    const runner = runnerOf(bwrap, version, system, interpreter);
    const trial = await runner.run(WAYS_OUT, PROGRAM_LIMITS);
    if (trial.verdict === "passed") return runner;
    const found = trial.output.trim();
    reasons.push(
      `${interpreter.executable}: ${trial.verdict === "not-run" || found === "" ? trial.reason : `a program could ${found}`}`,
    );
  }
  return unavailable(`bubblewrap ${version} does not work here (${[...new Set(reasons)].join("; ")})`);
}

async function versionOf(bwrap: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(bwrap, ["--version"], { timeout: 30_000 });
    return stdout.trim().split(" ").at(-1);
  } catch {
    return undefined;
  }
}

function unavailable(reason: string): Unavailable {
  return { available: false, reason };
}

function runnerOf(bwrap: string, version: string, system: readonly string[], interpreter: Interpreter): Runner {
  return {
    description: `bubblewrap ${version}, Python ${interpreter.version}`,
    run: (program, limits, signal) => {
      const launch = launchOf(bwrap, system, interpreter, limits);
      return judge({ worker: launch, checker: launch }, program, limits, signal);
    },
  };
}

function launchOf(bwrap: string, system: readonly string[], interpreter: Interpreter, limits: ProgramLimits): Launch {
  const filter = seccompFilter();
  const elsewhere = interpreter.folders.filter((folder) => folder !== "/usr" && !folder.startsWith("/usr/"));
  const args = [
    ...["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"],
    ...["--uid", `${NOBODY}`, "--gid", `${NOBODY}`, "--hostname", "sandbox"],
    ...["--die-with-parent", "--new-session", "--cap-drop", "ALL"],
    ...system,
    ...elsewhere.flatMap((folder) => ["--ro-bind", folder, folder]),
    // /dev/shm and the root lie in memory too, without a limit: only /tmp may be written.
    ...["--dev", "/dev", "--remount-ro", "/dev"],
    ...["--size", `${limits.fileBytes}`, "--tmpfs", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"],
    ...(filter === undefined ? [] : ["--seccomp", "5"]),
    ...["--", interpreter.executable],
  ];
  // The kernel does not count the processes of root, so root runs programs as somebody else.
  const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  return { command: bwrap, args, env: PROGRAM_ENVIRONMENT, cwd: "/", input: filter, ...user };
}

async function systemMounts(): Promise<string[]> {
  const mounts = await Promise.all(
    SYSTEM_FOLDERS.map(async (folder) => {
      const stats = await lstat(folder).catch(() => undefined);
      if (stats === undefined) return [];
      return stats.isSymbolicLink() ? ["--symlink", await readlink(folder), folder] : ["--ro-bind", folder, folder];
    }),
  );
  return [...mounts.flat(), "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"];
}
