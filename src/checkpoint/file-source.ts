import { closeSync, openSync, readSync, statSync } from "node:fs";
import { badFile, fileError } from "./refuse.js";

const GIT_LFS_POINTER = "version https://git-lfs.github.com/spec/";

/**
 * A regular file that is read in pieces at absolute positions. Reads are synchronous: headers are parsed field by field, and
 * a file of 40 GB has a header of a few megabytes, so the event loop waits for milliseconds.
 */
export class FileSource {
  readonly path: string;
  /** Length when it was opened; every bound is checked against this one number. */
  readonly sizeBytes: number;
  readonly #descriptor: number;

  /** Opens a regular file. Devices and pipes are refused before they can block. @throws CheckpointError */
  constructor(path: string) {
    this.path = path;
    try {
      const found = statSync(path);
      if (!found.isFile()) throw badFile(`Expected a regular file at ${path}, found a folder or a device.`);
      this.sizeBytes = found.size;
      this.#descriptor = openSync(path, "r");
    } catch (error) {
      throw fileError(error, `read ${path}`);
    }
  }

  /** Exactly `length` bytes from `position`; the caller has checked that they are inside the file. @throws CheckpointError */
  read(position: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      let got: number;
      try {
        got = readSync(this.#descriptor, bytes, done, length - done, position + done);
      } catch (error) {
        throw fileError(error, `read ${this.path}`);
      }
      if (got === 0) throw badFile(`${this.path} became shorter while it was read.`);
      done += got;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** Runs `use` on an open file and closes it. @throws CheckpointError */
export function withFile<T>(path: string, use: (source: FileSource) => T): T {
  const source = new FileSource(path);
  try {
    return use(source);
  } finally {
    source.close();
  }
}

/**
 * Refuses the two files that stand where weights should be: an empty one, and the text that git leaves when git-lfs is not
 * installed. @throws CheckpointError
 */
export function refusePlaceholder(source: FileSource): void {
  if (source.sizeBytes === 0) throw badFile(`${source.path} is empty: the download has not begun or has failed.`);
  const start = source.read(0, Math.min(source.sizeBytes, GIT_LFS_POINTER.length)).toString("latin1");
  if (start === GIT_LFS_POINTER) {
    throw badFile(`${source.path} is a git-lfs pointer, not the weights: run "git lfs pull" in its folder.`);
  }
}
