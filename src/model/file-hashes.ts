/** SHA-256 of model files, each computed once per process and state of the file. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { pipeline } from "node:stream/promises";
import { fromSystemError } from "../errors.js";

export interface HashedFile {
  name: string;
  bytes: number;
  sha256: string;
}

const known = new Map<string, Promise<string>>();

export async function hashFiles(paths: readonly string[]): Promise<HashedFile[]> {
  return Promise.all(
    paths.map(async (path) => {
      try {
        const { size, mtimeMs } = await stat(path);
        const key = `${path}\0${size}\0${mtimeMs}`;
        if (!known.has(key)) known.set(key, hashFile(path));
        return { name: basename(path), bytes: size, sha256: await known.get(key)! };
      } catch (error) {
        throw fromSystemError(error, `read ${path}`);
      }
    }),
  );
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}
