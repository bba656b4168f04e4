/** The golden GGUF files, with the type that each was quantised to and the checkpoint that it was made from, where that is here. */
import { existsSync, readdirSync } from "node:fs";
import type { FileType } from "../../src/quantize/file-type.js";
import { sharedPath } from "../golden/shared.js";

export interface GoldenGguf {
  name: string;
  /** The file, or the first of its parts. */
  path: string;
  type: FileType;
  /** Folder of `golden/models`; absent for cuts of one, and for files in an old form. */
  checkpoint?: string;
}

export function goldenCheckpoint(name: string): string {
  return sharedPath("golden/models", name);
}

const FOLDER = sharedPath("golden/gguf/models");
const NAME = /^(.*?)(?:-(L\d|k\d+|perexpert|oldkeys|v2))*-((?:I?Q\d\w*|B?F16|F32))(?:-00001-of-\d+)?\.gguf$/;

export const GOLDEN_GGUFS: GoldenGguf[] = (existsSync(FOLDER) ? readdirSync(FOLDER) : []).flatMap((file) => {
  const match = NAME.exec(file);
  if (match === null) return [];
  const [, checkpoint, variant, type] = match;
  const name = file.replace(/(-00001-of-\d+)?\.gguf$/, "");
  const golden = { name, path: `${FOLDER}/${file}`, type: type as FileType };
  return [variant === undefined ? { ...golden, checkpoint } : golden];
});
