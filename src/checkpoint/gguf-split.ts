import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { FileTensor } from "./file-tensor.js";
import { type GgufHeader, readGgufHeader } from "./gguf.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import { badFile, notFound } from "./refuse.js";

/** A GGUF model, be it one file or several parts. */
export interface GgufModel {
  /** Absolute paths, in order. */
  files: string[];
  /** Of the first part, which holds it all. */
  metadata: GgufMetadata;
  /** Of all parts; `file` indexes `files`. */
  tensors: FileTensor[];
}

/** "name-00002-of-00003.gguf" */
const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/** The parts that a file name belongs to: all their names, or undefined for a name of no split set. */
export function partNames(name: string): string[] | undefined {
  const match = PART_NAME.exec(name);
  if (match === null) return undefined;
  const count = match[3]!;
  const width = (part: number) => String(part).padStart(5, "0");
  return Array.from({ length: Number(count) }, (_, index) => `${match[1]}-${width(index + 1)}-of-${count}.gguf`);
}

/**
 * Reads the headers of a GGUF model, given its file or any part of it. Parts are read where they are, never merged.
 * @throws CheckpointError
 */
export function readGgufModel(path: string): GgufModel {
  const header = readGgufHeader(path);
  const count = header.metadata.integer("split.count") ?? 1;
  if (count <= 1) return { files: [path], metadata: header.metadata, tensors: header.tensors };
  return joinParts(path, partPaths(path, count));
}

function partPaths(path: string, count: number): string[] {
  const names = partNames(basename(path));
  if (names === undefined) {
    throw badFile(
      `${path} says that it is one of ${count} parts, but is not named like one (name-00001-of-0000N.gguf), so the others ` +
        "cannot be found.",
    );
  }
  if (names.length !== count) {
    throw badFile(`Expected ${names.length} parts by the name of ${path}, its split.count says ${count}.`);
  }
  const paths = names.map((name) => join(dirname(path), name));
  const missing = paths.filter((part) => !existsSync(part));
  if (missing.length > 0) {
    throw notFound(
      `${missing.length} of ${count} parts of ${path} are missing, the first is ${missing[0]}: download all parts into one folder.`,
    );
  }
  return paths;
}

function joinParts(path: string, files: string[]): GgufModel {
  const tensors: FileTensor[] = [];
  const names = new Set<string>();
  const parts = files.map((file) => readGgufHeader(file));
  for (const [index, part] of parts.entries()) {
    checkPart(part, index, files);
    for (const tensor of part.tensors) {
      if (names.has(tensor.name)) {
        throw badFile(`Tensor ${JSON.stringify(tensor.name)} of ${files[index]} is in an earlier part too.`);
      }
      names.add(tensor.name);
      tensors.push({ ...tensor, file: index });
    }
  }
  const metadata = parts[0]!.metadata;
  const expected = metadata.integer("split.tensors.count");
  if (expected !== undefined && expected !== tensors.length) {
    throw badFile(`Expected ${expected} tensors in the ${files.length} parts of ${path}, found ${tensors.length}.`);
  }
  return { files, metadata, tensors };
}

function checkPart({ metadata }: GgufHeader, index: number, files: readonly string[]): void {
  const number = metadata.integer("split.no");
  const count = metadata.integer("split.count");
  if (number !== index || count !== files.length) {
    throw badFile(
      `Expected ${files[index]} to be part ${index + 1} of ${files.length}, its split.no and split.count say part ` +
        `${number === undefined ? "none" : number + 1} of ${count ?? "none"}.`,
    );
  }
}
