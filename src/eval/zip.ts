import { readFile, stat } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { type Entry, fromBuffer, type ZipFile } from "yauzl";
import { fromSystemError, MoescopeError } from "../errors.js";

/** Reads zip archives of benchmarks. They come from the network: everything in them is bounded, and nothing is written to disk. */

export interface ZipLimits {
  /** Of the archive itself. */
  maxArchiveBytes: number;
  maxEntries: number;
  /** Of one entry and of all that are read, unpacked. */
  maxEntryBytes: number;
  maxTotalBytes: number;
}

/** Far above any benchmark that is read here, far below what would hurt. */
export const ZIP_LIMITS: ZipLimits = {
  maxArchiveBytes: 64 << 20,
  maxEntries: 10_000,
  maxEntryBytes: 64 << 20,
  maxTotalBytes: 256 << 20,
};

/**
 * The unpacked files that `isWanted` names, by their names in the archive.
 *
 * @throws MoescopeError NOT_FOUND or NO_PERMISSION for the archive; BAD_FILE for one that is not a zip, is encrypted, names a file twice
 *   or outside of its folder, has a wrong length or checksum, or exceeds a limit.
 */
export async function readZip(
  path: string,
  isWanted: (name: string) => boolean,
  limits: Partial<ZipLimits> = {},
): Promise<Map<string, Buffer>> {
  const bounds = { ...ZIP_LIMITS, ...limits };
  const bytes = await readBounded(path, bounds.maxArchiveBytes);
  try {
    return await readEntries(bytes, isWanted, bounds);
  } catch (error) {
    throw new MoescopeError("BAD_FILE", `Expected a sound zip archive at ${path}: ${(error as Error).message}.`, {
      cause: error,
    });
  }
}

async function readBounded(path: string, maxBytes: number): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size <= maxBytes) return await readFile(path);
    throw new MoescopeError("BAD_FILE", `Expected at most ${maxBytes} bytes in ${path}, got ${size}.`);
  } catch (error) {
    throw fromSystemError(error, `read ${path}`);
  }
}

/** yauzl refuses absolute names, names with "..", backslashes, and entries whose length is not the declared one. */
async function readEntries(
  bytes: Buffer,
  isWanted: (name: string) => boolean,
  limits: ZipLimits,
): Promise<Map<string, Buffer>> {
  const zip = await openZip(bytes);
  if (zip.entryCount > limits.maxEntries) {
    throw new Error(`expected at most ${limits.maxEntries} entries, got ${zip.entryCount}`);
  }
  const files = new Map<string, Buffer>();
  let total = 0;
  for (let entry = await nextEntry(zip); entry !== undefined; entry = await nextEntry(zip)) {
    const { fileName: name, uncompressedSize: size } = entry;
    if (name.endsWith("/") || !isWanted(name)) continue;
    if (files.has(name)) throw new Error(`"${name}" is in it twice`);
    total += size;
    if (size > limits.maxEntryBytes || total > limits.maxTotalBytes) {
      throw new Error(`"${name}" unpacks to ${size} bytes, which passes the limit`);
    }
    files.set(name, await readEntry(zip, entry));
  }
  return files;
}

function openZip(bytes: Buffer): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    fromBuffer(bytes, { lazyEntries: true, strictFileNames: true, validateEntrySizes: true }, (error, zip) => {
      if (error !== null) reject(error);
      else resolve(zip);
    });
  });
}

/** The next entry of the directory, or undefined after the last. */
function nextEntry(zip: ZipFile): Promise<Entry | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      zip.removeAllListeners();
      act();
    };
    zip.once("entry", (entry: Entry) => settle(() => resolve(entry)));
    zip.once("end", () => settle(() => resolve(undefined)));
    zip.once("error", (error: Error) => settle(() => reject(error)));
    zip.readEntry();
  });
}

async function readEntry(zip: ZipFile, entry: Entry): Promise<Buffer> {
  const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
    zip.openReadStream(entry, (error, opened) => {
      if (error !== null) reject(error);
      else resolve(opened);
    });
  });
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  if (crc32(bytes) !== entry.crc32) throw new Error(`"${entry.fileName}" has another checksum than the archive says`);
  return bytes;
}
