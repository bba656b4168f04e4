import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { gunzip, gzipSync } from "node:zlib";
import { AbortError, fromSystemError, MoescopeError } from "../errors.js";
import { download } from "../hub/download.js";
import { datasetFileUrl, type HubFile, hubHeaders } from "../hub/hub-file.js";
import { tableFromParquet } from "../router/parquet.js";
import { readTar } from "./tar.js";

/** Bringing a benchmark's files, each pinned by the hash of its content, from the first of several places that has it. */

/** Where a file is: on the hub (or the mirror that HF_ENDPOINT names), or at its authors'. */
export type Origin = (HubFile | { url: string }) & {
  /** Columns of a Parquet file that are written as the JSON lines that the authors published, in this order. */
  jsonlOf?: readonly string[];
};

/** A file that the benchmark reads, or a folder of files out of an archive. */
export interface DatasetPart {
  /** Inside the data folder. */
  path: string;
  /** SHA-256 of the content: of a .gz what is inside it, of a folder its files one after the other, in the order of their names. */
  sha256: string;
  from: readonly Origin[];
  /** The folder's name inside the tar archive. */
  folder?: string;
}

export interface DatasetSource {
  title: string;
  licence: string;
  parts: readonly DatasetPart[];
}

export interface FetchOptions {
  signal?: AbortSignal;
  onProgress?: (file: string, done: number, total: number | undefined) => void;
  /** Take content with another hash than the pinned one. */
  unpinned?: boolean;
  /** As `DownloadOptions`. */
  retries?: number;
  backoffMs?: number;
}

export interface FetchedPart {
  path: string;
  sha256: string;
  isPinned: boolean;
  /** Where it came from; undefined where it was here already. */
  url?: string;
  /** The hub's commit. */
  commit?: string;
}

/**
 * Brings the parts of a dataset that are not there. A part appears whole or not at all.
 *
 * @throws MoescopeError BAD_FILE for content with another hash, there or fetched; NETWORK, NOT_FOUND, NO_PERMISSION of the last place
 *   that was tried; AbortError.
 */
export async function fetchDataset(
  source: DatasetSource,
  root: string,
  options: FetchOptions = {},
): Promise<FetchedPart[]> {
  const fetched: FetchedPart[] = [];
  const downloads: Downloads = new Map();
  try {
    for (const part of source.parts) {
      const present = await presentPart(part, root, options);
      fetched.push(present ?? (await fetchPart(part, source, root, options, downloads)));
    }
  } finally {
    for (const { raw } of downloads.values()) await rm(raw, { force: true });
  }
  return fetched;
}

/** What was downloaded in this call, by its address: parts may share an archive. */
type Downloads = Map<string, { raw: string; commit: string | undefined }>;

/** Whether a part's files are there, whatever they hold. */
export async function hasPart({ path, folder }: DatasetPart, root: string): Promise<boolean> {
  const full = join(root, path);
  const found = await (folder === undefined ? readFile(full) : readdir(full)).catch(() => undefined);
  return found !== undefined && found.length > 0;
}

async function presentPart(part: DatasetPart, root: string, options: FetchOptions): Promise<FetchedPart | undefined> {
  if (!(await hasPart(part, root))) return undefined;
  const full = join(root, part.path);
  const names = part.folder === undefined ? [full] : (await readdir(full)).sort().map((name) => join(full, name));
  const sha256 = await contentHash(await Promise.all(names.map((name) => readFile(name))), part.path);
  if (sha256 === part.sha256 || options.unpinned) {
    return { path: part.path, sha256, isPinned: sha256 === part.sha256 };
  }
  throw new MoescopeError(
    "BAD_FILE",
    `Expected content of sha256 ${part.sha256} in ${full}, it has ${sha256}: remove it to fetch it again.`,
  );
}

async function fetchPart(
  part: DatasetPart,
  source: DatasetSource,
  root: string,
  options: FetchOptions,
  downloads: Downloads,
): Promise<FetchedPart> {
  const failures: MoescopeError[] = [];
  for (const origin of part.from) {
    try {
      return await fetchFrom(origin, part, root, options, downloads);
    } catch (error) {
      if (!(error instanceof MoescopeError) || error instanceof AbortError) throw error;
      if (!["NETWORK", "NOT_FOUND", "NO_PERMISSION", "BAD_FILE"].includes(error.code)) throw error;
      failures.push(error);
    }
  }
  const last = failures.at(-1)!;
  const isOffline = failures.every(({ message }) => message.startsWith("Could not reach"));
  if (!isOffline) throw failures.find(({ code }) => code === "BAD_FILE") ?? last;
  throw new MoescopeError(
    "NETWORK",
    `Could not reach ${part.from.map((origin) => new URL(urlOf(origin)).host).join(" or ")} for ${source.title}: this machine seems to be offline; bring ${part.path} by other means into ${root}, or name a mirror of the hub in HF_ENDPOINT.`,
    { cause: last },
  );
}

async function fetchFrom(
  origin: Origin,
  part: DatasetPart,
  root: string,
  options: FetchOptions,
  downloads: Downloads,
): Promise<FetchedPart> {
  const url = urlOf(origin);
  const target = join(root, part.path);
  const { raw, commit } = downloads.get(url) ?? (await fetchRaw(origin, dirname(target), options, downloads));
  const files = await contentOf(await readFile(raw), origin, part);
  const contents = files.map(({ bytes }) => bytes);
  const sha256 = await contentHash(contents, part.path);
  const isPinned = sha256 === part.sha256;
  if (!isPinned && !options.unpinned) {
    throw new MoescopeError(
      "BAD_FILE",
      `Expected content of sha256 ${part.sha256} for ${part.path} from ${url}, got ${sha256}.`,
    );
  }
  try {
    await place(files, target, part.folder !== undefined);
  } catch (error) {
    throw fromSystemError(error, `write ${target}`);
  }
  return { path: part.path, sha256, isPinned, url, ...(commit === undefined ? {} : { commit }) };
}

/** Downloads to a hidden name beside the target: the same one in a later call, which goes on where this one broke off. */
async function fetchRaw(
  origin: Origin,
  folder: string,
  { signal, retries, backoffMs, onProgress }: FetchOptions,
  downloads: Downloads,
): Promise<{ raw: string; commit: string | undefined }> {
  const url = urlOf(origin);
  const name = basename(new URL(url).pathname);
  const raw = join(folder, `.fetch-${createHash("sha256").update(url).digest("hex").slice(0, 8)}-${name}`);
  const { commit } = await download({
    ...{ url, path: raw, signal, retries, backoffMs },
    headers: "repo" in origin ? hubHeaders() : {},
    onProgress: onProgress && ((done, total) => onProgress(name, done, total)),
  });
  downloads.set(url, { raw, commit });
  return { raw, commit };
}

function urlOf(origin: Origin): string {
  return "url" in origin ? origin.url : datasetFileUrl(origin);
}

interface NamedBytes {
  name: string;
  bytes: Buffer;
}

async function contentOf(raw: Buffer, { jsonlOf }: Origin, { path, folder }: DatasetPart): Promise<NamedBytes[]> {
  if (folder !== undefined) {
    const files = readTar(raw, (name) => dirname(name) === folder && !basename(name).startsWith("."), path);
    const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
    return sorted.map(([name, bytes]) => ({ name: basename(name), bytes: Buffer.from(bytes) }));
  }
  if (jsonlOf === undefined) return [{ name: "", bytes: raw }];
  const table = await tableFromParquet(raw, path);
  const lines = table.toArray().map((row: Record<string, unknown>) => `${pythonJson(row, jsonlOf)}\n`);
  const jsonl = Buffer.from(lines.join(""));
  return [{ name: "", bytes: path.endsWith(".gz") ? gzipSync(jsonl, { level: 9 }) : jsonl }];
}

/** An object of strings as Python's `json.dumps` writes it. */
function pythonJson(row: Record<string, unknown>, keys: readonly string[]): string {
  const text = (value: string): string =>
    JSON.stringify(value).replace(/[^\0-\x7f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return `{${keys.map((key) => `${text(key)}: ${text(String(row[key]))}`).join(", ")}}`;
}

async function contentHash(files: readonly Buffer[], path: string): Promise<string> {
  const hash = createHash("sha256");
  for (const bytes of files) hash.update(path.endsWith(".gz") ? await unzipped(bytes, path) : bytes);
  return hash.digest("hex");
}

async function unzipped(bytes: Buffer, path: string): Promise<Buffer> {
  try {
    return await promisify(gunzip)(bytes);
  } catch (error) {
    throw new MoescopeError("BAD_FILE", `Expected gzip in ${path}: ${(error as Error).message}.`, { cause: error });
  }
}

async function place(files: readonly NamedBytes[], target: string, isFolder: boolean): Promise<void> {
  const temporary = `${target}.${randomBytes(4).toString("hex")}`;
  try {
    if (isFolder) await mkdir(temporary, { recursive: true });
    for (const { name, bytes } of files) await writeFile(isFolder ? join(temporary, name) : temporary, bytes);
    await rename(temporary, target);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
