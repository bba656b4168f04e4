/** Finds a CUDA 13 compiler: nvcc on PATH, else pinned wheels of PyPI in the project's cache. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { runStep, SetupError } from "../prepare/step.mjs";

/** Must agree in their minor version, else the headers refuse the compiler. */
const WHEELS = [
  "nvidia-cuda-nvcc==13.0.88",
  "nvidia-cuda-crt==13.0.88",
  "nvidia-nvvm==13.0.88",
  "nvidia-cuda-cccl==13.0.85",
  "nvidia-cuda-runtime==13.0.96",
];
const NEEDED_MAJOR = 13;

/** "13.0.88" of `nvcc --version`, or undefined where it does not run. */
function versionOf(nvcc) {
  const result = spawnSync(nvcc, ["--version"], { encoding: "utf8" });
  return result.status === 0 ? /\bV(\d+\.\d+\.\d+)/.exec(result.stdout)?.[1] : undefined;
}

/** The toolkit whose nvcc is `nvcc`: with the static runtime in one of the places where toolkits keep it. */
function toolkitOf(nvcc) {
  const version = versionOf(nvcc);
  if (version === undefined || Number(version.split(".")[0]) !== NEEDED_MAJOR) return undefined;
  const home = path.dirname(path.dirname(fs.realpathSync(nvcc)));
  const libraries = ["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"]
    .map((folder) => path.join(home, folder))
    .find((folder) => fs.existsSync(path.join(folder, "libcudart_static.a")));
  return libraries === undefined ? undefined : { nvcc, version, libraries };
}

function onPath() {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    const nvcc = path.join(folder, "nvcc");
    const toolkit = folder !== "" && fs.existsSync(nvcc) ? toolkitOf(nvcc) : undefined;
    if (toolkit !== undefined) return toolkit;
  }
  return undefined;
}

/** `{ nvcc, version, libraries }`. Installs the wheels where no toolkit is there; a SetupError says what is missing. */
export async function findCudaToolkit(root, logs) {
  if (process.platform !== "linux") {
    throw new SetupError(`Expected Linux for the CUDA build, got ${process.platform}: the CPU package needs none.`);
  }
  const wheels = path.join(root, ".cache", "cuda", "wheels");
  const nvcc = path.join(wheels, "nvidia", "cu13", "bin", "nvcc");
  const found = onPath() ?? (fs.existsSync(nvcc) ? toolkitOf(nvcc) : undefined);
  if (found !== undefined) return found;
  if (spawnSync("python3", ["-m", "pip", "--version"]).status !== 0) {
    throw new SetupError(
      `Expected nvcc ${NEEDED_MAJOR} on PATH, or python3 with pip to install it from PyPI: found neither. The CPU package needs none.`,
    );
  }
  fs.rmSync(wheels, { recursive: true, force: true });
  const args = ["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--target", wheels, ...WHEELS];
  await runStep(`CUDA ${NEEDED_MAJOR} compiler (pip, into .cache)`, "python3", args, {
    cwd: root,
    logFile: path.join(logs, "cuda-wheels.log"),
    failure: "The CUDA compiler could not be installed from PyPI.",
  });
  const installed = toolkitOf(nvcc);
  if (installed === undefined) throw new SetupError(`The wheels in ${wheels} hold no working nvcc.`);
  return installed;
}
