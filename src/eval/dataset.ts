import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join, posix } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { parse } from "csv-parse/sync";
import { fromSystemError, MoescopeError } from "../errors.js";
import { userCacheFolder } from "../hub/user-cache.js";
import type { DatasetFile } from "./task.js";
import { readZip } from "./zip.js";

/** Readers of the formats that benchmarks are published in. Cells stay strings: "None" and "NA" are answers, not gaps. */

/** A data file: its rows, and what a run records about it. */
export interface DataFile<Row> {
  rows: Row[];
  file: DatasetFile;
}

/** The folder that holds a benchmark's files, and how a user gets them. */
export interface DataFolder {
  /** The folder that holds one folder per dataset. */
  root: string;
  /** The dataset's name, for messages. */
  dataset: string;
  /** The command that brings the files, with `root` filled in. */
  howToGet: string;
}

/**
 * The data folder that the user named, that of `MOESCOPE_DATA`, or the one that `moescope data get` fills.
 *
 * @param name the benchmark's name on the command line.
 */
export function dataFolder(dataset: string, name: string, dataDir: string | undefined): DataFolder {
  const root = dataDir ?? (process.env.MOESCOPE_DATA || defaultDataFolder());
  const where = root === defaultDataFolder() ? "" : ` --dir ${/\s/.test(root) ? JSON.stringify(root) : root}`;
  return { root, dataset, howToGet: `moescope data get ${name}${where}` };
}

/** Where fetched benchmarks are kept. */
export function defaultDataFolder(): string {
  return userCacheFolder("data");
}

/**
 * Makes sure that files are there before anything is read.
 *
 * @throws MoescopeError NOT_FOUND naming up to three of the missing files and the command that brings them.
 */
export async function requireFiles(folder: DataFolder, paths: readonly string[]): Promise<void> {
  const present = await Promise.all(paths.map((path) => isFile(join(folder.root, path))));
  const missing = paths.filter((_, i) => !present[i]);
  if (missing.length === 0) return;
  const shown = missing.slice(0, 3).join(", ") + (missing.length > 3 ? ` and ${missing.length - 3} more` : "");
  throw new MoescopeError(
    "NOT_FOUND",
    `Expected the files of ${folder.dataset} in ${folder.root}, ${shown} missing; to fetch them: ${folder.howToGet}`,
  );
}

/** A CSV file without header. @throws MoescopeError BAD_FILE when a row has another number of cells than `columns`. */
export async function readCsv(folder: DataFolder, path: string, columns: number): Promise<DataFile<string[]>> {
  const { text, sha256 } = await readText(folder, path);
  const rows = csvRows(text, columns, join(folder.root, path));
  return { rows, file: { path, rows: rows.length, sha256 } };
}

/** The rows of CSV text, all of `columns` cells; `where` names it in errors. @throws MoescopeError BAD_FILE */
export function csvRows(text: string, columns: number, where: string): string[][] {
  let rows: string[][];
  try {
    rows = parse(text, { bom: true, relax_column_count: true, skip_empty_lines: true });
  } catch (error) {
    throw new MoescopeError("BAD_FILE", `Expected CSV in ${where}: ${(error as Error).message}.`, { cause: error });
  }
  const wrong = rows.findIndex((row) => row.length !== columns);
  if (wrong >= 0) {
    throw new MoescopeError(
      "BAD_FILE",
      `Expected ${columns} cells in row ${wrong + 1} of ${where}, got ${rows[wrong]!.length}.`,
    );
  }
  return rows;
}

/** A file's text, its hash, and its path inside the data folder; inside of an archive, the path goes on after the archive's. */
export interface DataText {
  path: string;
  text: string;
  sha256: string;
}

/**
 * Files of a dataset that is one zip archive, or the folder beside it that the archive was unpacked to.
 *
 * @param archive the archive's path inside the data folder; the unpacked files are looked for in its folder.
 * @param names the files' names inside the archive.
 * @throws MoescopeError NOT_FOUND naming what is missing and the command that brings it; BAD_FILE for a broken archive.
 */
export async function readArchive(
  folder: DataFolder,
  archive: string,
  names: readonly string[],
): Promise<Map<string, DataText>> {
  const full = join(folder.root, archive);
  if (!(await isFile(full))) {
    const beside = (name: string): string => posix.join(posix.dirname(archive), name);
    if (!(await isFile(join(folder.root, beside(names[0]!))))) await requireFiles(folder, [archive]);
    await requireFiles(folder, names.map(beside));
    const texts = names.map(async (name) => {
      return [name, { path: beside(name), ...(await readText(folder, beside(name))) }] as const;
    });
    return new Map(await Promise.all(texts));
  }
  const wanted = new Set(names);
  const files = await readZip(full, (name) => wanted.has(name));
  const missing = names.find((name) => !files.has(name));
  if (missing !== undefined) throw new MoescopeError("BAD_FILE", `Expected ${missing} in ${full}, it is not there.`);
  const texts = [...files].map(([name, bytes]) => {
    return [name, { path: `${archive}/${name}`, text: bytes.toString("utf8"), sha256: sha256Of(bytes) }] as const;
  });
  return new Map(texts);
}

/** A JSONL file, plain or .gz; `check` turns a parsed line into a row and returns undefined for one that is none. */
export async function readJsonl<Row>(
  folder: DataFolder,
  path: string,
  check: (value: unknown) => Row | undefined,
): Promise<DataFile<Row>> {
  const { text, sha256 } = await readText(folder, path);
  const rows: Row[] = [];
  text.split("\n").forEach((line, i) => {
    if (line.trim() !== "") rows.push(checkRow(parseJson(line, folder, path, i + 1), check, folder, path, i + 1));
  });
  return { rows, file: { path, rows: rows.length, sha256 } };
}

/** A JSON file that holds one array, plain or .gz. */
export async function readJsonArray<Row>(
  folder: DataFolder,
  path: string,
  check: (value: unknown) => Row | undefined,
): Promise<DataFile<Row>> {
  const { text, sha256 } = await readText(folder, path);
  const value = parseJson(text, folder, path, 1);
  if (!Array.isArray(value)) {
    throw new MoescopeError("BAD_FILE", `Expected a JSON array in ${join(folder.root, path)}, got another JSON value.`);
  }
  const rows = value.map((entry, i) => checkRow(entry, check, folder, path, i + 1));
  return { rows, file: { path, rows: rows.length, sha256 } };
}

/** The text of a data file as it is. */
export async function readText(folder: DataFolder, path: string): Promise<{ text: string; sha256: string }> {
  const full = join(folder.root, path);
  let bytes: Buffer;
  try {
    bytes = await readFile(full);
  } catch (error) {
    throw fromSystemError(error, `read ${full}`);
  }
  return { text: (path.endsWith(".gz") ? await unzip(bytes, full) : bytes).toString("utf8"), sha256: sha256Of(bytes) };
}

function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
}

function sha256Of(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function unzip(bytes: Buffer, path: string): Promise<Buffer> {
  try {
    return await promisify(gunzip)(bytes);
  } catch (error) {
    throw new MoescopeError("BAD_FILE", `Expected a gzip file at ${path}: ${(error as Error).message}.`, {
      cause: error,
    });
  }
}

function parseJson(text: string, folder: DataFolder, path: string, row: number): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MoescopeError(
      "BAD_FILE",
      `Expected JSON in row ${row} of ${join(folder.root, path)}: ${(error as Error).message}.`,
      { cause: error },
    );
  }
}

function checkRow<Row>(
  value: unknown,
  check: (value: unknown) => Row | undefined,
  folder: DataFolder,
  path: string,
  row: number,
): Row {
  const checked = check(value);
  if (checked === undefined) {
    throw new MoescopeError(
      "BAD_FILE",
      `Expected a row of ${folder.dataset} in row ${row} of ${join(folder.root, path)}, got another shape.`,
    );
  }
  return checked;
}

/** The object with these string fields, or undefined: a `check` for the readers. */
export function withStrings<Key extends string>(value: unknown, keys: readonly Key[]): Record<Key, string> | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const record = value as Record<string, unknown>;
  return keys.every((key) => typeof record[key] === "string") ? (record as Record<Key, string>) : undefined;
}
