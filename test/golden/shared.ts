/** Where outputs of outside implementations lie, and how a test says that it needs them. They are never part of this repository. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { describe, it } from "vitest";

/** Path below the shared folder: `../shared` beside the checkout, or `MOESCOPE_SHARED`. Whether it exists is not checked. */
export function sharedPath(...parts: string[]): string {
  const root = process.env.MOESCOPE_SHARED ?? resolve(import.meta.dirname, "../../../shared");
  return resolve(root, ...parts);
}

/** Why a test that needs these paths below the shared folder cannot run; undefined where it can. */
export function missingShared(paths: string | string[]): string | undefined {
  const missing = [paths].flat().filter((path) => !existsSync(sharedPath(path)));
  if (missing.length === 0) return undefined;
  return `${missing.join(", ")} not found in ${sharedPath()} (set MOESCOPE_SHARED to the folder that holds the goldens)`;
}

/**
 * A `describe` whose body runs only where the paths below the shared folder exist. Elsewhere it leaves one skipped test that carries
 * the reason; the body is not called, so it may read files at once.
 */
export function describeWithGoldens(name: string, paths: string | string[], body: () => void): void {
  const reason = missingShared(paths);
  if (reason === undefined) {
    describe(name, body);
    return;
  }
  console.warn(`Skipped: ${name}: ${reason}.`);
  describe(name, () => {
    it("needs goldens", (context) => context.skip(reason));
  });
}
