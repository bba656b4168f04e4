/** The files that the rules of the architecture are held against. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

export const PROJECT: string = path.resolve(import.meta.dirname, "../..");

/** A file as a rule sees it: a path from the project's folder, with "/", and its text. */
export interface Source {
  path: string;
  text: string;
}

/** All files below `folders` with one of the `extensions`; build folders of native/ are left out. */
export function readSources(folders: readonly string[], extensions: readonly string[]): Source[] {
  const found: Source[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(path.join(PROJECT, folder), { withFileTypes: true })) {
      const at = `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!/^native\/build/.test(at)) visit(at);
      } else if (extensions.some((extension) => entry.name.endsWith(extension))) {
        found.push({ path: at, text: readFileSync(path.join(PROJECT, at), "utf8") });
      }
    }
  };
  for (const folder of folders) if (existsSync(path.join(PROJECT, folder))) visit(folder);
  return found;
}
