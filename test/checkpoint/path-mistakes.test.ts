/** Mistakes about which file or folder is opened, and about downloads. */

import { symlinkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { fileError } from "../../src/checkpoint/refuse.js";
import { CONFIG, type Mistake, testMistakes, WEIGHTS, withTensors } from "./mistake.js";
import { ggufPairs, LLAMA_GGUF, LLAMA_TENSORS } from "./tiny-models.js";
import { ggufBytes, writeFolder } from "./write-files.js";

const GGUF = ggufBytes(ggufPairs("llama", false), LLAMA_GGUF);
const LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n";

const MISTAKES: Mistake[] = [
  {
    what: "a path that does not exist",
    files: {},
    path: "nowhere",
    code: "NOT_FOUND",
    sentence: "Could not open the model FOLDER/nowhere: it does not exist.",
  },
  {
    what: "a path below a file",
    files: { "a.gguf": GGUF },
    path: "a.gguf/b",
    code: "NOT_FOUND",
    sentence: "Could not open the model FOLDER/a.gguf/b: it does not exist.",
  },
  { what: "an empty folder", files: {}, code: "NOT_FOUND", sentence: "The model folder FOLDER is empty." },
  {
    what: "the wrong folder",
    files: { "notes.txt": "x", "a.py": "x" },
    code: "NOT_FOUND",
    sentence:
      "Expected a model in FOLDER (config.json with .safetensors files, or a .gguf file), found a.py, notes.txt.",
  },
  {
    what: "a folder without its weights",
    files: CONFIG,
    code: "NOT_FOUND",
    sentence: "FOLDER holds config.json but no weights (no .safetensors file): the download is incomplete.",
  },
  {
    what: "a download that has not finished",
    files: { ...CONFIG, "model.safetensors.incomplete": "x" },
    code: "NOT_FOUND",
    sentence: "FOLDER holds no weights but model.safetensors.incomplete: the download has not finished.",
  },
  {
    what: "a folder without config.json",
    files: { "model.safetensors": WEIGHTS },
    code: "NOT_FOUND",
    sentence: "FOLDER holds safetensors files but no config.json: download that file too.",
  },
  {
    what: "one file of a folder",
    files: withTensors(LLAMA_TENSORS),
    path: "model.safetensors",
    code: "UNSUPPORTED",
    sentence: "FOLDER/model.safetensors is one file of a model; give its folder, FOLDER.",
  },
  {
    what: "some other file",
    files: { "notes.txt": "hello" },
    path: "notes.txt",
    code: "UNSUPPORTED",
    sentence: "Expected a model folder or a GGUF file, found FOLDER/notes.txt, which is neither.",
  },
  {
    what: "pickled weights",
    files: { ...CONFIG, "pytorch_model.bin": "x" },
    code: "UNSUPPORTED",
    sentence:
      "FOLDER/pytorch_model.bin is a PyTorch pickle, which can run code when it is read and is never loaded: take the safetensors files of the model, or convert it.",
  },
  {
    what: "an adapter",
    files: { "adapter_config.json": {}, "adapter_model.safetensors": WEIGHTS },
    code: "UNSUPPORTED",
    sentence: "FOLDER holds an adapter (adapter_config.json), not a model: merge it into its base model first.",
  },
  {
    what: "a folder of several GGUF models",
    files: { "a.gguf": GGUF, "b.gguf": GGUF },
    code: "BAD_FILE",
    sentence: "FOLDER holds 2 GGUF models (a.gguf, b.gguf): give the path of one.",
  },
  {
    what: "a git-lfs pointer in place of safetensors",
    files: { ...CONFIG, "model.safetensors": LFS },
    code: "BAD_FILE",
    sentence: 'FOLDER/model.safetensors is a git-lfs pointer, not the weights: run "git lfs pull" in its folder.',
  },
  {
    what: "a git-lfs pointer in place of GGUF",
    files: { "a.gguf": LFS },
    path: "a.gguf",
    code: "BAD_FILE",
    sentence: 'FOLDER/a.gguf is a git-lfs pointer, not the weights: run "git lfs pull" in its folder.',
  },
  {
    what: "an empty file",
    files: { "a.gguf": "" },
    code: "BAD_FILE",
    sentence: "FOLDER/a.gguf is empty: the download has not begun or has failed.",
  },
  {
    what: "half-downloaded safetensors",
    files: withTensors(LLAMA_TENSORS),
    change: (folder) => truncateSync(join(folder, "model.safetensors"), WEIGHTS.length - 100),
    code: "BAD_FILE",
    sentence: `FOLDER/model.safetensors is 100 bytes shorter than its header says (${WEIGHTS.length}): the download is incomplete.`,
  },
  {
    what: "safetensors cut inside the header",
    files: withTensors(LLAMA_TENSORS),
    change: (folder) => truncateSync(join(folder, "model.safetensors"), 100),
    code: "BAD_FILE",
    sentence: `FOLDER/model.safetensors ends inside its header (${WEIGHTS.readUInt32LE()} bytes announced, 92 there): the download is incomplete.`,
  },
  {
    what: "half-downloaded GGUF",
    files: { "a.gguf": GGUF },
    change: (folder) => truncateSync(join(folder, "a.gguf"), GGUF.length - 100),
    code: "BAD_FILE",
    sentence: `FOLDER/a.gguf ends at byte ${GGUF.length - 100}, before the end of tensor "blk.0.ffn_down.weight" (${GGUF.length}): the download is incomplete.`,
  },
  {
    what: "a web page saved as GGUF",
    files: { "a.gguf": "<!DOCTYPE html>" },
    code: "BAD_FILE",
    sentence: 'Expected a GGUF file at FOLDER/a.gguf, whose first bytes are "<!DO".',
  },
  {
    what: "a web page saved as safetensors",
    files: { ...CONFIG, "model.safetensors": "<!DOCTYPE html>" },
    code: "BAD_FILE",
    sentence:
      "Expected a safetensors header of at most 100000000 bytes in FOLDER/model.safetensors, its first 8 bytes say 5789751444030890300: this is no safetensors file, or it is corrupt.",
  },
  {
    what: "a model file from before GGUF",
    files: { "a.gguf": "tjgg0000" },
    code: "UNSUPPORTED",
    sentence: "FOLDER/a.gguf is in a format from before GGUF (tjgg): convert it with the tools of its time.",
  },
  {
    what: "a GGUF file that is no model",
    files: { "a.gguf": ggufBytes([["general.type", "string", "adapter"]], []) },
    code: "UNSUPPORTED",
    sentence: 'Expected a model in FOLDER/a.gguf, its general.type is "adapter".',
  },
  {
    what: "a folder in place of a file",
    files: withTensors(LLAMA_TENSORS),
    change: (folder) => writeFolder(join(folder, "generation_config.json"), {}),
    code: "BAD_FILE",
    sentence: "Expected a regular file at FOLDER/generation_config.json, found a folder or a device.",
  },
  {
    what: "a link that leads to itself",
    files: {},
    path: "loop",
    change: (folder) => symlinkSync("loop", join(folder, "loop")),
    code: "BAD_FILE",
    sentence: "Could not open the model FOLDER/loop: ELOOP: too many symbolic links encountered, stat 'FOLDER/loop'.",
  },
];

describe("a wrong path or a broken download gets one sentence", () => {
  testMistakes(MISTAKES);

  it("no path at all", async () => {
    await expect(openCheckpoint("")).rejects.toThrow('Expected a path for the model, got "".');
  });

  it("files that may not be read", () => {
    const denied = Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" });
    expect(fileError(denied, "read /m/config.json")).toMatchObject({
      code: "NO_PERMISSION",
      message: "Could not read /m/config.json: permission was denied.",
    });
  });
});
