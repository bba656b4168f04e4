/** The native core: configures and builds native/ with CMake, only when a source or a setting changed. */
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { digestOf, filesUnder, isCurrent, writeStamp } from "./stamp.mjs";
import { runStep } from "./step.mjs";
import { ARM64_COMPILER, findToolchain } from "./toolchain.mjs";

const INPUTS = /^CMakeLists\.txt$|\.(cpp|h|inc|cu|cuh)$/;

/** Kinds of builds and their folders under native/: the ordinary one, those with sanitizers, and the one for arm64 by a cross compiler. */
const FOLDERS = { "": "build", "address,undefined": "build-asan", thread: "build-tsan", arm64: "build-arm64" };

/** Build folder of a kind, relative to the project. */
export function buildFolder(kind) {
  return path.join("native", FOLDERS[kind]);
}

/** Names of the native test executables, in order; those of the emulator are another suite's. */
export function nativeTestNames(root) {
  return testNamesIn(path.join(root, "native", "test"), (name) => name === "emulator");
}

/** Names of the tests of CUDA kernels under the emulator, in order. */
export function emulatorTestNames(root) {
  return testNamesIn(path.join(root, "native", "test", "emulator")).map((name) => `emulator_${name}`);
}

function testNamesIn(folder, skip) {
  return filesUnder(folder, (name) => name.endsWith("_test.cpp"), skip).map((file) => path.basename(file, ".cpp"));
}

/** A build folder that was configured for another place, compiler or generator cannot be used again. */
function removeForeignBuild(folder, root, tools) {
  const cache = path.join(folder, "CMakeCache.txt");
  if (!fs.existsSync(cache)) return;
  const values = new Map();
  for (const line of fs.readFileSync(cache, "utf8").split("\n")) {
    const match = /^(CMAKE_HOME_DIRECTORY|CMAKE_GENERATOR|MOESCOPE_COMPILER):[A-Z]+=(.*)$/.exec(line);
    if (match !== null) values.set(match[1], match[2]);
  }
  const isOurs =
    values.get("CMAKE_HOME_DIRECTORY") === path.join(root, "native") &&
    values.get("CMAKE_GENERATOR") === tools.generator &&
    values.get("MOESCOPE_COMPILER") === tools.compiler;
  if (!isOurs) fs.rmSync(folder, { recursive: true });
}

/** package.json of the two packages of headers that the addon needs: beside us, or above us where npm installed moescope. */
function addonHeaders(root) {
  const { resolve } = createRequire(path.join(root, "package.json"));
  return ["node-addon-api", "node-api-headers"].map((name) => resolve(`${name}/package.json`));
}

/** Has CMake make the build folder of a kind; answers the tools. */
async function configure(root, logs, kind) {
  const folder = path.join(root, buildFolder(kind));
  const isCross = kind === "arm64";
  const host = await findToolchain(root, logs);
  const tools = isCross ? { ...host, compiler: ARM64_COMPILER } : host;
  const headers = addonHeaders(root);
  removeForeignBuild(folder, root, tools);
  await runStep(
    `native configure (${tools.generator}, ${tools.compiler}${kind && `, ${kind}`})`,
    tools.cmake,
    [
      ...["-S", path.join(root, "native"), "-B", folder, "-G", tools.generator],
      `-DCMAKE_MAKE_PROGRAM=${tools.program}`,
      `-DCMAKE_CXX_COMPILER=${tools.compiler}`,
      `-DMOESCOPE_COMPILER:STRING=${tools.compiler}`,
      `-DSANITIZE=${isCross ? "" : kind}`,
      `-DNODE_ADDON_API=${path.dirname(headers[0])}`,
      `-DNODE_API_HEADERS=${path.dirname(headers[1])}`,
      ...(isCross ? ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"] : []),
      "--no-warn-unused-cli",
    ],
    { cwd: root, logFile: path.join(logs, `${path.basename(folder)}-configure.log`) },
  );
  return tools;
}

/** Builds where needed; true if it had to. `kind`: one of FOLDERS; the tools of "arm64" must be there. */
export async function ensureNative(root, logs, kind) {
  const folder = path.join(root, buildFolder(kind));
  const sources = filesUnder(
    path.join(root, "native"),
    (name) => INPUTS.test(name),
    (name) => name.startsWith("build"),
  );
  const headers = addonHeaders(root);
  const digest = digestOf(
    [...sources, ...headers],
    [process.env.CXX ?? "", process.env.CXXFLAGS ?? "", os.arch(), kind],
  );
  const outputs = nativeTestNames(root).map((name) => path.join(folder, "test", name));
  const hasAddon = sources.some((file) => path.dirname(file) === path.join(root, "native", "addon"));
  if (hasAddon && (kind === "" || kind === "arm64")) outputs.push(path.join(folder, "moescope.node"));
  const stamp = path.join(folder, ".stamp");
  if (isCurrent(stamp, digest, outputs)) return false;

  const tools = await configure(root, logs, kind);
  const cores = String(os.availableParallelism?.() ?? os.cpus().length);
  await runStep(`native build (${cores} cores)`, tools.cmake, ["--build", folder, "--parallel", cores], {
    cwd: root,
    logFile: path.join(logs, `${path.basename(folder)}.log`),
    failure: "The native sources do not compile.",
  });
  writeStamp(stamp, digest);
  return true;
}

/** Builds the kernels under the emulator, their tests and what these need of the core. CMake does what changed. */
export async function ensureEmulator(root, logs, kind) {
  const tools = await configure(root, logs, kind);
  const folder = path.join(root, buildFolder(kind));
  const cores = String(os.availableParallelism?.() ?? os.cpus().length);
  const args = ["--build", folder, "--target", "emulator", "--parallel", cores];
  await runStep("kernels under the emulator", tools.cmake, args, {
    cwd: root,
    logFile: path.join(logs, `${path.basename(folder)}-emulator.log`),
    failure: "The CUDA kernels do not compile under the emulator.",
  });
}
