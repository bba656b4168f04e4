import { type FileHandle, mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withProgress } from "../ambient-progress.js";
import { AbortError, fromSystemError, MoescopeError } from "../errors.js";

/**
 * Downloads one file. What has come lies in `PATH.part` and is gone on with after a break or in a later call, if the server still has
 * the same version; the file appears under its name when it is whole, after `check`, and never in part.
 */
export interface DownloadOptions {
  url: string;
  path: string;
  headers?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
  /** Bytes so far, and in all where the server says it. */
  onProgress?: (done: number, total: number | undefined) => void;
  /** Looks at the whole file under its temporary name; what it throws is thrown, and the file is removed. */
  check?: (partPath: string) => Promise<void>;
  /** Attempts after the first, each goes on where the last broke off. Default 5. */
  retries?: number;
  /** Wait before the second attempt in milliseconds, doubling. Default 500. */
  backoffMs?: number;
}

/** The commit that the hub answered from, where it was a hub. */
export interface Downloaded {
  commit: string | undefined;
}

/** @throws MoescopeError NOT_FOUND, NO_PERMISSION, NETWORK by the server's answer or its silence; DISK_FULL; AbortError. */
export function download(options: DownloadOptions): Promise<Downloaded> {
  return withProgress(
    options.onProgress,
    {
      label: `download ${basename(options.path)}`,
      unit: "MB",
      move: (bar, done, total) => bar.update(done / 1e6, total === undefined ? undefined : total / 1e6),
    },
    (onProgress) => downloadWhole({ ...options, onProgress }),
  );
}

async function downloadWhole(options: DownloadOptions): Promise<Downloaded> {
  const { path, check, retries = 5, backoffMs = 500, signal } = options;
  const part = `${path}.part`;
  await mkdir(dirname(path), { recursive: true }).catch((error) => {
    throw fromSystemError(error, `create ${dirname(path)}`);
  });
  for (let attempt = 0; ; attempt++) {
    try {
      const result = await attemptOf(options, part);
      await check?.(part).catch(async (error) => {
        await rm(part, { force: true });
        throw error;
      });
      await rename(part, path);
      await rm(`${part}.etag`, { force: true });
      return result;
    } catch (error) {
      if (signal?.aborted) throw new AbortError(undefined, { cause: error });
      const mayPass = error instanceof Interrupted;
      if (!mayPass) throw fromSystemError(error, `download to ${path}`);
      if (attempt === retries) throw error.failure;
      await sleep(backoffMs * 2 ** attempt, undefined, { signal }).catch((reason) => {
        throw new AbortError(undefined, { cause: reason });
      });
    }
  }
}

/** A failure that may pass. */
class Interrupted extends Error {
  readonly failure: MoescopeError;

  constructor(message: string, cause?: unknown) {
    super(message);
    this.failure = new MoescopeError("NETWORK", message, { cause });
  }
}

async function attemptOf(options: DownloadOptions, part: string): Promise<Downloaded> {
  const { url, headers, signal, onProgress } = options;
  const have = await stat(part).then(
    ({ size }) => size,
    () => 0,
  );
  const etag = have === 0 ? "" : await readFile(`${part}.etag`, "utf8").catch(() => "");
  const range: Record<string, string> = etag === "" ? {} : { range: `bytes=${have}-`, "if-range": etag };
  const response = await ask(url, { headers: { ...headers, ...range }, signal });
  if (response.status === 416) {
    // The part is longer than the file: another file's.
    await rm(part, { force: true });
    throw new Interrupted(`Expected ${url} to go on at byte ${have}, the server has no more.`);
  }
  refuseStatus(response, url);
  const isRest = response.status === 206;
  let done = isRest ? have : 0;
  const length = response.headers.get("content-length");
  // The length of a compressed answer is not that of the file.
  const isPlain = (response.headers.get("content-encoding") ?? "identity") === "identity";
  const total = length === null || !isPlain ? undefined : done + Number(length);
  const version = response.headers.get("etag") ?? "";
  // A weak tag does not promise the same bytes.
  await writeFile(`${part}.etag`, version.startsWith("W/") ? "" : version);
  const file = await open(part, isRest ? "a" : "w");
  try {
    for await (const chunk of bodyOf(response, url)) {
      await write(file, chunk);
      done += chunk.length;
      onProgress?.(done, total);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  if (total !== undefined && done !== total) throw new Interrupted(`Expected ${total} bytes from ${url}, got ${done}.`);
  return { commit: response.headers.get("x-repo-commit") ?? undefined };
}

async function write(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten;
}

async function ask(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Interrupted(`Could not reach ${new URL(url).host} (${reasonOf(error)}).`, error);
  }
}

async function* bodyOf(response: Response, url: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response.body ?? []) yield chunk as Uint8Array;
  } catch (error) {
    throw new Interrupted(`The download of ${url} broke off (${reasonOf(error)}).`, error);
  }
}

function refuseStatus({ status, headers }: Response, url: string): void {
  if (status >= 200 && status < 300) return;
  if (status === 408 || status === 429 || status >= 500)
    throw new Interrupted(`Expected a file from ${url}, got status ${status}.`);
  if (status === 404 || status === 410) {
    throw new MoescopeError("NOT_FOUND", `Expected a file at ${url}, the server has none (status ${status}).`);
  }
  if (status === 401 || status === 403) {
    const gated = headers.get("x-error-message") ?? "it may want a token: set HF_TOKEN";
    throw new MoescopeError(
      "NO_PERMISSION",
      `Expected to read ${url}, the server refuses (status ${status}, ${gated}).`,
    );
  }
  throw new MoescopeError("NETWORK", `Expected a file from ${url}, got status ${status}.`);
}

/** Node hides what went wrong in the causes of "fetch failed". */
function reasonOf(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException;
    if (code !== undefined) return code;
    if (at.cause === undefined) return at.message;
  }
  return String(error);
}
