/** The seeded model of the demo, and folders that go away after a test file. */

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll } from "vitest";
import { seededModelFolder } from "../../src/cli/seeded-model.js";

export const PROJECT = resolve(import.meta.dirname, "../..");

/** An untrained qwen2_moe: 4 layers, 8 experts, top 2, 1,024 tokens of context. */
export function seededModel(): string {
  return seededModelFolder(join(PROJECT, "models", "demo"));
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "moescope-cli-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A copy of the seeded model that a test may spoil. */
export function copyOfSeeded(folder: string): string {
  cpSync(seededModel(), folder, { recursive: true });
  return folder;
}
