import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { invalidArgument } from "../errors.js";
import type { LoadPlan } from "../native/binding.js";
import { withFile } from "./file-source.js";
import type { GenerationDefaults } from "./generation-defaults.js";
import { GGUF_MAGIC } from "./gguf.js";
import { openGgufCheckpoint } from "./gguf-checkpoint.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import { partNames } from "./gguf-split.js";
import { openHfCheckpoint } from "./hf-checkpoint.js";
import type { Architecture, ModelConfig, ParameterCounts } from "./model-config.js";
import { badFile, fileError, notFound, unsupported } from "./refuse.js";
import type { ConfigOptions } from "./rope-scaling.js";

/** Where text is turned into tokens. */
export type TokenizerSource =
  | {
      kind: "files";
      /** Absolute paths; null where the folder has no such file. */
      tokenizerJson: string | null;
      tokenizerConfig: string | null;
      chatTemplate: string | null;
      generationConfig: string | null;
    }
  | { kind: "gguf"; metadata: GgufMetadata };

/** What a checkpoint says about its terms; each part only if it is stated. */
export interface Licence {
  /** As the files name it, e.g. "apache-2.0". */
  name?: string;
  /** Where the terms are to be read. */
  link?: string;
  /** Path of the text in the checkpoint's folder. */
  file?: string;
}

/** Files that were read and accepted. Nothing of the weights has been touched yet. */
export interface Checkpoint extends ParameterCounts {
  /** As it was given, made absolute. */
  path: string;
  format: "safetensors" | "gguf";
  architecture: Architecture;
  config: ModelConfig;
  plan: LoadPlan;
  tokenizer: TokenizerSource;
  generationDefaults: GenerationDefaults;
  licence: Licence | null;
  /** Bytes of all weights in their files. */
  weightBytes: number;
}

export type OpenOptions = ConfigOptions;

/**
 * Opens a model: a folder with config.json and safetensors files, a folder with one GGUF model, or a GGUF file (any part of a
 * split one, or an ollama blob). Everything but the weights is read and checked.
 * @throws CheckpointError saying what is wrong with the files, InvalidArgumentError for `options`
 */
export async function openCheckpoint(path: string, options: OpenOptions = {}): Promise<Checkpoint> {
  if (typeof path !== "string" || path === "") throw invalidArgument("the model", "a path", path);
  const absolute = resolve(path);
  if (!(await isFolder(absolute))) return openFile(absolute, options);
  const names = await list(absolute);
  const safetensors = names.filter((name) => name.endsWith(".safetensors"));
  const ggufs = names.filter((name) => name.endsWith(".gguf"));
  refuseAdapter(absolute, names);
  const hasIndex = names.includes("model.safetensors.index.json");
  if (safetensors.length > 0 || hasIndex) return openHfCheckpoint(absolute, names, options);
  if (ggufs.length > 0) return openGgufCheckpoint(soleGguf(absolute, ggufs), options);
  throw noWeights(absolute, names);
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    throw fileError(error, `open the model ${path}`);
  }
}

async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    throw fileError(error, `list the model folder ${folder}`);
  }
}

function openFile(path: string, options: OpenOptions): Checkpoint {
  const name = basename(path);
  if (name.endsWith(".gguf") || hasGgufMagic(path)) return openGgufCheckpoint(path, options);
  if (/\.(safetensors|json)$/.test(name) && existsSync(join(dirname(path), "config.json"))) {
    throw unsupported(`${path} is one file of a model; give its folder, ${dirname(path)}.`);
  }
  if (/\.(bin|pt|pth|ckpt|pkl)$/.test(name)) throw pickle(path);
  throw unsupported(`Expected a model folder or a GGUF file, found ${path}, which is neither.`);
}

function hasGgufMagic(path: string): boolean {
  return withFile(path, (source) => {
    if (source.sizeBytes < GGUF_MAGIC.length) return false;
    return source.read(0, GGUF_MAGIC.length).toString("latin1") === GGUF_MAGIC;
  });
}

function refuseAdapter(folder: string, names: readonly string[]): void {
  if (!names.includes("adapter_config.json") || names.includes("config.json")) return;
  throw unsupported(
    `${folder} holds an adapter (adapter_config.json), not a model: merge it into its base model first.`,
  );
}

/** The GGUF model of a folder: its only file, or the first part of its only split set. */
function soleGguf(folder: string, names: readonly string[]): string {
  const models = new Set(names.map((name) => partNames(name)?.[0] ?? name));
  if (models.size > 1) {
    throw badFile(
      `${folder} holds ${models.size} GGUF models (${[...models].slice(0, 4).join(", ")}): give the path of one.`,
    );
  }
  const first = names.find((name) => models.has(name)) ?? names[0]!;
  return join(folder, first);
}

function noWeights(folder: string, names: readonly string[]): Error {
  if (names.length === 0) return notFound(`The model folder ${folder} is empty.`);
  const pickled = names.find((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  if (pickled !== undefined) return pickle(join(folder, pickled));
  const partial = names.find((name) => /\.(part|incomplete|aria2|crdownload|tmp)$/.test(name));
  if (partial !== undefined) {
    return notFound(`${folder} holds no weights but ${partial}: the download has not finished.`);
  }
  if (names.includes("config.json")) {
    return notFound(`${folder} holds config.json but no weights (no .safetensors file): the download is incomplete.`);
  }
  return notFound(
    `Expected a model in ${folder} (config.json with .safetensors files, or a .gguf file), found ${names.slice(0, 4).join(", ")}` +
      `${names.length > 4 ? " and others" : ""}.`,
  );
}

function pickle(path: string): Error {
  return unsupported(
    `${path} is a PyTorch pickle, which can run code when it is read and is never loaded: take the safetensors files of the ` +
      "model, or convert it.",
  );
}
