/** Two programs of others that read GGUF files: where they are, or why a test cannot have them. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../../src/native/addon.js";

/** What a peer computes for a text. */
export interface PeerRows {
  ids: number[];
  /** One row for each token, over the vocabulary. */
  logprobs: number[][];
}

export type Peer = { reason: string } | { run(model: string, text: string): PeerRows };

const HERE = import.meta.dirname;
/** llama.cpp as npm brings it, built for this platform. */
const VERSION = "3.22.1";

/** llama.cpp inside node-llama-cpp, installed once into the project's cache. */
export function nodeLlama(): Peer {
  const folder = join(packageRoot(), ".cache", "peers", `node-llama-cpp-${VERSION}`);
  const platform = `@node-llama-cpp/${process.platform}-${process.arch === "x64" ? "x64" : process.arch}`;
  if (!existsSync(join(folder, "node_modules", platform))) {
    mkdirSync(folder, { recursive: true });
    const packages = [`node-llama-cpp@${VERSION}`, `${platform}@${VERSION}`];
    const options = ["--prefix", folder, "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"];
    const npm = spawnSync("npm", ["install", ...options, ...packages], { encoding: "utf8" });
    if (npm.status !== 0) return { reason: `node-llama-cpp cannot be installed: ${lastLine(npm.stderr)}` };
  }
  return { run: (model, text) => run(process.execPath, [join(HERE, "node-llama.mjs"), folder, model, text]) };
}

/** transformers, in the Python that trains the demo model (`models/demo/train`) or the one that is named. */
export function transformers(config: string): Peer {
  const training = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "moescope", "venv", "bin", "python");
  const python = process.env.MOESCOPE_PYTHON ?? training;
  const probe = spawnSync(python, ["-c", "import torch, transformers, gguf, accelerate"], { encoding: "utf8" });
  if (probe.status !== 0) {
    return { reason: `no Python with torch, transformers, gguf and accelerate (MOESCOPE_PYTHON names one)` };
  }
  return { run: (model, text) => run(python, [join(HERE, "from_gguf.py"), model, text, config]) };
}

function run(program: string, args: string[]): PeerRows {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8", maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${status}:\n${stderr.slice(-2000)}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as PeerRows;
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
