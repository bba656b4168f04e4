import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe } from "../errors.js";
import type { FileTensor } from "./file-tensor.js";
import { readJsonFile } from "./json-file.js";
import { badFile, notFound } from "./refuse.js";
import { readSafetensorsHeader } from "./safetensors.js";

/** The safetensors files of a model. */
export interface SafetensorsModel {
  /** Absolute paths. */
  files: string[];
  /** Of all files; `file` indexes `files`. */
  tensors: FileTensor[];
}

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const SHARD_NAME = /-\d{5}-of-\d{5}\.safetensors$/;
/** A name that stays in its folder. */
const PLAIN_NAME = /^[^/\\\0]+\.safetensors$/;

/**
 * Reads the headers of a folder's safetensors files: `model.safetensors`, else the shards that the index lists, else the only
 * file there is. The same order as transformers.
 * @param names the folder's files. @throws CheckpointError
 */
export function readSafetensorsModel(folder: string, names: readonly string[]): SafetensorsModel {
  if (names.includes(SINGLE)) return readSingle(join(folder, SINGLE));
  if (names.includes(INDEX)) return readShards(folder, join(folder, INDEX));
  const candidates = names.filter((name) => name.endsWith(".safetensors"));
  const shard = candidates.find((name) => SHARD_NAME.test(name));
  if (shard !== undefined) throw notFound(`${folder} holds shards (${shard}) but no ${INDEX}: download that file too.`);
  if (candidates.length > 1) {
    throw badFile(`${folder} holds ${candidates.length} safetensors files, none of them ${SINGLE}, and no ${INDEX}.`);
  }
  return readSingle(join(folder, candidates[0]!));
}

function readSingle(path: string): SafetensorsModel {
  return { files: [path], tensors: readSafetensorsHeader(path).tensors };
}

/** Every tensor must be in the shard that the index names, and in no other. */
function readShards(folder: string, indexPath: string): SafetensorsModel {
  const shardOf = readWeightMap(indexPath);
  const shards = [...new Set(shardOf.values())].sort();
  const missing = shards.filter((shard) => !existsSync(join(folder, shard)));
  if (missing.length > 0) {
    throw notFound(
      `${missing.length} of ${shards.length} shards that ${indexPath} lists are missing, the first is ${missing[0]}: the ` +
        "download is incomplete.",
    );
  }
  const files = shards.map((shard) => join(folder, shard));
  const tensors: FileTensor[] = [];
  for (const [file, path] of files.entries()) {
    for (const tensor of readSafetensorsHeader(path).tensors) {
      const named = shardOf.get(tensor.name);
      if (named !== shards[file]) {
        throw badFile(
          `Tensor ${JSON.stringify(tensor.name)} is in ${path}, but ${indexPath} ${named === undefined ? "does not list it" : `has it in ${named}`}.`,
        );
      }
      shardOf.delete(tensor.name);
      tensors.push({ ...tensor, file });
    }
  }
  const [absent] = shardOf;
  if (absent !== undefined) {
    throw badFile(`${indexPath} has tensor ${JSON.stringify(absent[0])} in ${absent[1]}, where it is not.`);
  }
  return { files, tensors };
}

function readWeightMap(indexPath: string): Map<string, string> {
  const map = readJsonFile(indexPath).weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw badFile(`Expected an object weight_map in ${indexPath}, found ${describe(map)}.`);
  }
  const shardOf = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== "string" || !PLAIN_NAME.test(shard)) {
      throw badFile(
        `Expected the name of a safetensors file in the same folder for tensor ${JSON.stringify(tensor)} in ${indexPath}, found ` +
          `${describe(shard)}.`,
      );
    }
    shardOf.set(tensor, shard);
  }
  if (shardOf.size === 0) throw badFile(`The weight_map of ${indexPath} is empty.`);
  return shardOf;
}
