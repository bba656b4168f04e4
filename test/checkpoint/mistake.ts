/** Wrong model folders, and the error that opening one of them gives. */

import { join } from "node:path";
import { expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { MoescopeError } from "../../src/errors.js";
import { LLAMA_CONFIG, LLAMA_TENSORS } from "./tiny-models.js";
import { type SourceTensor, safetensorsBytes, temporaryFolder, writeFolder } from "./write-files.js";

export const CONFIG: Files = { "config.json": LLAMA_CONFIG };
export const WEIGHTS: Buffer = safetensorsBytes(LLAMA_TENSORS);

export type Files = Record<string, string | Uint8Array | object>;

/** A folder of the smallest llama model with these tensors. */
export function withTensors(tensors: SourceTensor[], dtype?: string, bytesPerElement?: number): Files {
  return { ...CONFIG, "model.safetensors": safetensorsBytes(tensors, dtype, bytesPerElement) };
}

export interface Mistake {
  what: string;
  files: Files;
  /** What is opened; default: the folder. */
  path?: string;
  /** Done to the folder before it is opened. */
  change?: (folder: string) => void;
  code: string;
  /** FOLDER stands for the folder. */
  sentence: string;
}

/** One test for each mistake: the code and the whole sentence. */
export function testMistakes(mistakes: Mistake[]): void {
  const root = temporaryFolder();
  it.each(mistakes)("$what", async ({ what, files, path = "", change, code, sentence }) => {
    const folder = writeFolder(join(root, what.replace(/\W+/g, "-")), files);
    change?.(folder);
    const error = await openCheckpoint(join(folder, path)).catch((caught) => caught);
    expect(error).toBeInstanceOf(MoescopeError);
    expect({ code: error.code, message: error.message.replaceAll(folder, "FOLDER") }).toEqual({
      code,
      message: sentence,
    });
  });
}
