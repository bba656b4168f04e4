/** Compiles the files of native/cuda, each only when it or a header of the project that it includes changed. */
import fs from "node:fs";
import path from "node:path";
import { digestOf, isCurrent, writeStamp } from "../prepare/stamp.mjs";
import { runStep } from "../prepare/step.mjs";
import { parseResources, TARGETS } from "./resources.mjs";

/** No contraction, so that the bits are those of the emulator; no fast-math. */
const HOST_FLAGS = ["-std=c++20", "-O2", "-DNDEBUG", "-ffunction-sections"];
const HOST_WARNINGS = ["-Wall", "-Wextra", "-Werror"];
const HOST_CODE = ["-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-ffp-contract=off"];

function nvccFlags(compiler) {
  const targets = TARGETS.flatMap((target) => ["-gencode", `arch=compute_${target},code=sm_${target}`]);
  return [
    "-std=c++20",
    "-O3",
    "-DNDEBUG",
    "-fmad=false",
    "--expt-relaxed-constexpr",
    "-lineinfo",
    ...targets,
    ...["-gencode", `arch=compute_${TARGETS[0]},code=compute_${TARGETS[0]}`],
    ...["-Werror", "all-warnings", "-Xptxas", "-v"],
    ...["-ccbin", compiler, "-Xcompiler", [...HOST_WARNINGS, ...HOST_CODE].join(",")],
  ];
}

/** Files of the project that a dependency file of make names, the source among them. */
function dependenciesIn(file, root) {
  if (!fs.existsSync(file)) return undefined;
  const text = fs.readFileSync(file, "utf8").replaceAll("\\\n", " ");
  const names = text.slice(text.indexOf(":") + 1).split(/\s+/);
  const native = path.join(root, "native") + path.sep;
  const inside = names.map((name) => path.resolve(root, name)).filter((name) => name.startsWith(native));
  return [...new Set(inside)].sort();
}

/** Compiles `source` where needed; true if it had to. */
async function compileOne(root, folder, toolkit, compiler, source) {
  const name = path.basename(source);
  const base = path.join(folder, name);
  const isKernel = name.endsWith(".cu");
  const flags = isKernel ? nvccFlags(compiler) : [...HOST_FLAGS, ...HOST_WARNINGS, ...HOST_CODE];
  const settings = [isKernel ? toolkit.version : "", compiler, ...flags];
  const outputs = [`${base}.o`, ...(isKernel ? [`${base}.json`] : [])];
  const current = () => {
    const files = dependenciesIn(`${base}.d`, root);
    if (files === undefined || !files.every((file) => fs.existsSync(file))) return undefined;
    return digestOf(files, settings);
  };
  const before = current();
  if (before !== undefined && isCurrent(`${base}.stamp`, before, outputs)) return false;

  const logFile = path.join(root, ".cache", "logs", `cuda-${name}.log`);
  const io = ["-I", path.join(root, "native"), "-MD", "-MF", `${base}.d`, "-c", source, "-o", `${base}.o`];
  const failure = `native/cuda/${name} does not compile.`;
  const log = await runStep(name, isKernel ? toolkit.nvcc : compiler, [...flags, ...io], {
    cwd: root,
    logFile,
    failure,
  });
  if (isKernel) fs.writeFileSync(`${base}.json`, JSON.stringify(parseResources(log)));
  writeStamp(`${base}.stamp`, current());
  return true;
}

/** Objects of files that are gone would still say what their kernels use. */
function removeOrphans(folder, sources) {
  const names = new Set(sources.map((source) => path.basename(source)));
  for (const entry of fs.readdirSync(folder)) {
    const match = /^(.+\.(cu|cpp))\.(o|d|json|stamp)$/.exec(entry);
    if (match !== null && !names.has(match[1])) fs.rmSync(path.join(folder, entry));
  }
}

/** Compiles all `sources`, `jobs` at a time, and answers their objects and what their kernels use. */
export async function compileAll(root, folder, toolkit, compiler, sources, jobs) {
  fs.mkdirSync(folder, { recursive: true });
  removeOrphans(folder, sources);
  // The largest first: the last one to end decides the time.
  const waiting = [...sources].sort((a, b) => fs.statSync(b).size - fs.statSync(a).size);
  let numCompiled = 0;
  const worker = async () => {
    for (let source = waiting.shift(); source !== undefined; source = waiting.shift()) {
      if (await compileOne(root, folder, toolkit, compiler, source)) ++numCompiled;
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  const objects = sources.map((source) => path.join(folder, `${path.basename(source)}.o`));
  const resources = sources
    .map((source) => path.join(folder, `${path.basename(source)}.json`))
    .filter((file) => fs.existsSync(file))
    .flatMap((file) =>
      JSON.parse(fs.readFileSync(file, "utf8")).map((one) => ({ file: path.basename(file, ".json"), ...one })),
    );
  return { objects, resources, numCompiled };
}
