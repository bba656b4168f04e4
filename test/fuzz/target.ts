/**
 * What a fuzz target is: it takes any bytes and returns. A `MoescopeError` is an answer like any other; every other exception, a
 * crash and a hang are findings. `scripts/fuzz.mjs` runs the targets under a coverage-guided fuzzer, `corpus.test.ts` runs the
 * inputs in `corpus/` through them.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MoescopeError } from "../../src/errors.js";

export type FuzzTarget = (data: Buffer) => void | Promise<void>;

/** Makes a target of `read`: errors of ours are answers. */
export function fuzzTarget(read: (data: Buffer) => unknown): FuzzTarget {
  return async (data) => {
    try {
      await read(data);
    } catch (error) {
      if (!(error instanceof MoescopeError)) throw error;
    }
  };
}

/** Writes each input to the same file, in a folder of its own, and returns its path. */
export function fileWriter(name: string): (data: Buffer) => string {
  const path = join(mkdtempSync(join(tmpdir(), "moescope-fuzz-")), name);
  return (data) => {
    writeFileSync(path, data);
    return path;
  };
}
