/** Finds Node, CMake, a build tool and a C++20 compiler; installs what is missing where it may, else names the line to type. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { runStep, SetupError } from "./step.mjs";

const NODE_MINIMUM = [20, 19];
const CMAKE_MINIMUM = [3, 20];
const GCC_MINIMUM = [11, 0];
const CLANG_MINIMUM = [14, 0];

const COMPILERS = [
  "c++",
  "g++",
  "clang++",
  "g++-14",
  "g++-13",
  "g++-12",
  "g++-11",
  "clang++-18",
  "clang++-16",
  "clang++-14",
];

/** Package names by package manager, for the exact line that a user types. */
const SYSTEM_PACKAGES = {
  "apt-get": { line: "sudo apt-get install -y", cmake: "cmake", make: "make", compiler: "g++" },
  dnf: { line: "sudo dnf install -y", cmake: "cmake", make: "make", compiler: "gcc-c++" },
  pacman: { line: "sudo pacman -S --needed", cmake: "cmake", make: "make", compiler: "gcc" },
  apk: { line: "sudo apk add", cmake: "cmake", make: "make", compiler: "g++" },
  zypper: { line: "sudo zypper install -y", cmake: "cmake", make: "make", compiler: "gcc-c++" },
  brew: { line: "brew install", cmake: "cmake", make: "make", compiler: "llvm" },
};

/** Debian's compiler for arm64, and the emulator that runs what it makes. */
export const ARM64_COMPILER = "aarch64-linux-gnu-g++";
export const ARM64_EMULATOR = "qemu-aarch64";
/** Where the emulator finds the C library of the packages below. */
export const ARM64_ROOT = "/usr/aarch64-linux-gnu";
const ARM64_PACKAGES = ["g++-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"];

/** Standard output of a short command, or undefined if it does not run. */
function outputOf(command, args) {
  const result = spawnSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return result.status === 0 ? result.stdout : undefined;
}

function isAtLeast(version, minimum) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > minimum[0] || (major === minimum[0] && minor >= minimum[1]);
}

export function checkNode(version = process.versions.node) {
  if (isAtLeast(version, NODE_MINIMUM)) return;
  throw new SetupError(
    `Expected Node.js ${NODE_MINIMUM.join(".")} or newer, got ${version}: install a newer one from https://nodejs.org.`,
  );
}

function packageManager() {
  return Object.keys(SYSTEM_PACKAGES).find((manager) => spawnSync(manager, ["--version"]).error === undefined);
}

/** The sentence for a tool that is missing and could not be installed. */
function missing(tool, kinds) {
  const names = SYSTEM_PACKAGES[packageManager()];
  if (names === undefined) return new SetupError(`${tool} was not found: install it and run the command again.`);
  const packages = kinds.map((kind) => names[kind]).join(" ");
  return new SetupError(`${tool} was not found. Type \`${names.line} ${packages}\` and run the command again.`);
}

/** Runs a step of an installation; false where it failed, so that the next way can be tried. */
async function attempt(label, command, args, options) {
  try {
    await runStep(label, command, args, options);
    return true;
  } catch (error) {
    if (error instanceof SetupError) return false;
    throw error;
  }
}

/** Installs system packages where that is allowed: as root, with apt-get. */
async function installWithApt(packages, root, logs) {
  if (process.getuid?.() !== 0 || packageManager() !== "apt-get") return;
  const options = (name) => ({ cwd: root, env: { DEBIAN_FRONTEND: "noninteractive" }, logFile: path.join(logs, name) });
  // A list that cannot be refreshed may still know the packages.
  await attempt("package lists (apt-get update)", "apt-get", ["update"], options("apt-update.log"));
  const install = ["install", "-y", "--no-install-recommends", ...packages];
  await attempt(`${packages.join(" ")} (apt-get install)`, "apt-get", install, options("apt-install.log"));
}

/** Installs `packages` from PyPI into the project's cache, where pip is at hand. */
async function installWithPip(packages, root, logs) {
  if (outputOf("python3", ["-m", "pip", "--version"]) === undefined) return;
  const target = path.join(root, ".cache", "cmake");
  const args = ["-m", "pip", "install", "--disable-pip-version-check", "--upgrade", "--target", target, ...packages];
  const logFile = path.join(logs, "pip.log");
  await attempt(`${packages.join(" and ")} (pip, into .cache)`, "python3", args, { cwd: root, logFile });
}

function findCmake(root) {
  // The wheel's own launcher needs Python's path set up; the program under data/ does not.
  const cached = path.join(root, ".cache", "cmake", "cmake", "data", "bin", "cmake");
  return ["cmake", cached].find((command) => {
    const version = /version (\d+\.\d+)/.exec(outputOf(command, ["--version"]) ?? "");
    return version !== null && isAtLeast(version[1], CMAKE_MINIMUM);
  });
}

/** A build tool as [CMake generator, program], or undefined. */
function findBuildTool(root) {
  if (outputOf("ninja", ["--version"]) !== undefined) return ["Ninja", "ninja"];
  if (outputOf("make", ["--version"]) !== undefined) return ["Unix Makefiles", "make"];
  const wheel = path.join(root, ".cache", "cmake");
  const cached = [path.join(wheel, "bin", "ninja"), path.join(wheel, "ninja", "data", "bin", "ninja")];
  const ninja = cached.find((file) => fs.existsSync(file) && outputOf(file, ["--version"]) !== undefined);
  return ninja === undefined ? undefined : ["Ninja", ninja];
}

/** Whether a compiler's `--version` names a gcc or clang that knows C++20 well enough. */
export function isModernCompiler(banner) {
  const clang = /clang version (\d+\.\d+)/.exec(banner);
  if (clang !== null) return isAtLeast(clang[1], CLANG_MINIMUM);
  const gcc = /\(.*\)\s+(\d+\.\d+)/.exec(banner.split("\n")[0]);
  return gcc !== null && isAtLeast(gcc[1], GCC_MINIMUM);
}

function findCompiler() {
  const candidates = process.env.CXX ? [process.env.CXX] : COMPILERS;
  return candidates.find((command) => isModernCompiler(outputOf(command, ["--version"]) ?? ""));
}

/** The three programs of a native build. Installs what is missing; throws a SetupError with the line to type where it cannot. */
export async function findToolchain(root, logs) {
  if (process.env.CXX && findCompiler() === undefined) {
    throw new SetupError(
      `CXX is ${process.env.CXX}, which is not g++ >= 11 or clang++ >= 14: unset it or name another.`,
    );
  }
  const missingKinds = () =>
    [
      findCompiler() === undefined && "compiler",
      findCmake(root) === undefined && "cmake",
      findBuildTool(root) === undefined && "make",
    ].filter((kind) => kind !== false);

  const kinds = missingKinds();
  const names = kinds.map((kind) => SYSTEM_PACKAGES["apt-get"][kind]);
  if (names.length > 0) await installWithApt(names, root, logs);
  const wheels = missingKinds()
    .filter((kind) => kind !== "compiler")
    .map((kind) => (kind === "make" ? "ninja" : "cmake"));
  if (wheels.length > 0) await installWithPip(wheels, root, logs);

  const [compiler, cmake, buildTool] = [findCompiler(), findCmake(root), findBuildTool(root)];
  if (compiler === undefined) throw missing("A C++20 compiler (g++ >= 11 or clang++ >= 14)", missingKinds());
  if (cmake === undefined) throw missing(`CMake >= ${CMAKE_MINIMUM.join(".")}`, missingKinds());
  if (buildTool === undefined) throw missing("A build tool (ninja or make)", missingKinds());
  const [generator, program] = buildTool;
  return { compiler, cmake, generator, program };
}

/** Why tests for arm64 cannot be built or run on this machine, or undefined where they can. Installs what is missing where it may. */
export async function missingForArm64(root, logs) {
  const missingTools = () =>
    [ARM64_COMPILER, ARM64_EMULATOR].filter((tool) => outputOf(tool, ["--version"]) === undefined);
  if (missingTools().length > 0) await installWithApt(ARM64_PACKAGES, root, logs);
  const tools = missingTools();
  if (tools.length === 0) return undefined;
  return `${tools.join(" and ")} not found: \`sudo apt-get install ${ARM64_PACKAGES.join(" ")}\` on Debian`;
}
