/** What people do wrong, and the sentence that each of them gets. FOLDER stands for the folder of the test. */

import { symlinkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { fileError } from "../../src/checkpoint/refuse.js";
import { MoescopeError } from "../../src/errors.js";
import {
  ggufPairs,
  LLAMA_CONFIG,
  LLAMA_GGUF,
  LLAMA_TENSORS,
  QWEN2_MOE_CONFIG,
  QWEN2_MOE_TENSORS,
} from "./tiny-models.js";
import { ggufBytes, type SourceTensor, safetensorsBytes, temporaryFolder, writeFolder } from "./write-files.js";

const root = temporaryFolder();
const CONFIG = { "config.json": LLAMA_CONFIG };
const WEIGHTS = safetensorsBytes(LLAMA_TENSORS);
const GGUF = ggufBytes(ggufPairs("llama", false), LLAMA_GGUF);
const LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n";

type Files = Record<string, string | Uint8Array | object>;

const weights = (tensors: SourceTensor[], dtype?: string, bytes?: number): Files => ({
  ...CONFIG,
  "model.safetensors": safetensorsBytes(tensors, dtype, bytes),
});
const replaced = (name: string, shape: number[]): SourceTensor[] =>
  LLAMA_TENSORS.map((tensor) => (tensor.name === name ? { name, shape } : tensor));
const added = (name: string): SourceTensor[] => [...LLAMA_TENSORS, { name, shape: [1] }];
const index = (map: object): Files => ({ ...CONFIG, "model.safetensors.index.json": { weight_map: map } });

let counter = 0;

/** The error of opening a folder with these files, or one path in it. */
async function mistake(
  files: Files,
  path: string = "",
  change?: (folder: string) => void,
): Promise<{ code: string; message: string }> {
  counter++;
  const folder = writeFolder(join(root, `mistake-${counter}`), files);
  change?.(folder);
  try {
    await openCheckpoint(join(folder, path));
  } catch (error) {
    if (!(error instanceof MoescopeError)) throw error;
    return { code: error.code, message: error.message.replaceAll(folder, "FOLDER") };
  }
  throw new Error(`Opened ${folder}.`);
}

interface Mistake {
  what: string;
  files: Files;
  /** What is opened; default: the folder. */
  path?: string;
  change?: (folder: string) => void;
  code: string;
  sentence: string;
}

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
    files: weights(LLAMA_TENSORS),
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
    files: weights(LLAMA_TENSORS),
    change: (folder) => truncateSync(join(folder, "model.safetensors"), WEIGHTS.length - 100),
    code: "BAD_FILE",
    sentence: `FOLDER/model.safetensors is 100 bytes shorter than its header says (${WEIGHTS.length}): the download is incomplete.`,
  },
  {
    what: "safetensors cut inside the header",
    files: weights(LLAMA_TENSORS),
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
    what: "a config.json that is no JSON",
    files: { "config.json": "{'model_type': 'llama'}", "model.safetensors": WEIGHTS },
    code: "BAD_FILE",
    sentence:
      "Expected a key in double quotes at character 1 of the JSON in FOLDER/config.json, found \"'model_type': 'llama\".",
  },
  {
    what: "a config.json that is a list",
    files: { "config.json": "[]", "model.safetensors": WEIGHTS },
    code: "BAD_FILE",
    sentence: "Expected a JSON object in FOLDER/config.json, found an array of 0.",
  },
  {
    what: "an architecture that is not computed",
    files: { "config.json": { ...LLAMA_CONFIG, model_type: "gemma2" }, "model.safetensors": WEIGHTS },
    code: "UNSUPPORTED",
    sentence:
      'Architecture "gemma2" of FOLDER/config.json is not supported; moescope computes qwen2_moe, mixtral, llama, qwen2 (see "add an architecture" in the docs).',
  },
  {
    what: "weights of a type that is not computed",
    files: weights(LLAMA_TENSORS, "F8_E4M3", 1),
    code: "UNSUPPORTED",
    sentence:
      'Tensor "model.embed_tokens.weight" of FOLDER is stored as F8_E4M3, which moescope does not compute with; it takes F32, F16, BF16 and the block types of ggml.',
  },
  {
    what: "GPTQ or AWQ weights",
    files: weights(added("model.layers.0.self_attn.q_proj.qweight")),
    code: "UNSUPPORTED",
    sentence:
      'FOLDER has tensor "model.layers.0.self_attn.q_proj.qweight". It is quantised by GPTQ or AWQ, which is not supported: take the original or a GGUF file.',
  },
  {
    what: "FP8 weights with their scales",
    files: weights(added("model.layers.0.self_attn.q_proj.weight_scale_inv")),
    code: "UNSUPPORTED",
    sentence:
      'FOLDER has tensor "model.layers.0.self_attn.q_proj.weight_scale_inv". It is quantised to FP8, which is not supported: take the original or a GGUF file.',
  },
  {
    what: "a missing tensor",
    files: weights(LLAMA_TENSORS.filter(({ name }) => name !== "model.norm.weight")),
    code: "BAD_FILE",
    sentence: 'FOLDER lacks tensor "model.norm.weight", which its config calls for.',
  },
  {
    what: "a missing head that the config does not tie",
    files: weights(LLAMA_TENSORS.filter(({ name }) => name !== "lm_head.weight")),
    code: "BAD_FILE",
    sentence: 'FOLDER lacks tensor "lm_head.weight", which its config calls for.',
  },
  {
    what: "missing experts",
    files: {
      "config.json": { ...QWEN2_MOE_CONFIG, num_experts: 4 },
      "model.safetensors": safetensorsBytes(
        QWEN2_MOE_TENSORS.map((tensor) =>
          tensor.name.endsWith("mlp.gate.weight") ? { ...tensor, shape: [4, 8] } : tensor,
        ),
      ),
    },
    code: "BAD_FILE",
    sentence:
      'FOLDER lacks tensors "model.layers.0.mlp.experts.2.gate_proj.weight", "model.layers.0.mlp.experts.2.up_proj.weight", "model.layers.0.mlp.experts.2.down_proj.weight" and others, which its config calls for.',
  },
  {
    what: "a tensor that nobody knows",
    files: weights(added("model.layers.0.self_attn.q_norm.weight")),
    code: "UNSUPPORTED",
    sentence:
      'FOLDER has tensor "model.layers.0.self_attn.q_norm.weight", for which a llama model with this config has no place; computing without them could change its answers.',
  },
  {
    what: "the config of another size of the model",
    files: weights(replaced("model.layers.0.mlp.up_proj.weight", [7, 8])),
    code: "BAD_FILE",
    sentence:
      'Expected tensor "model.layers.0.mlp.up_proj.weight" of FOLDER to have shape [6, 8], as the config says, found [7, 8].',
  },
  {
    what: "the same matrix under two names",
    files: weights([
      ...LLAMA_TENSORS,
      ...LLAMA_TENSORS.slice(3, 4).map(({ shape }) => ({ name: "model.layers.00.input_layernorm.weight", shape })),
    ]),
    code: "BAD_FILE",
    sentence:
      'Tensors "model.layers.0.input_layernorm.weight" and "model.layers.00.input_layernorm.weight" of FOLDER are the same matrix (layers.0.attn_norm).',
  },
  {
    what: "shards without their index",
    files: { ...CONFIG, "model-00001-of-00002.safetensors": WEIGHTS },
    code: "NOT_FOUND",
    sentence:
      "FOLDER holds shards (model-00001-of-00002.safetensors) but no model.safetensors.index.json: download that file too.",
  },
  {
    what: "a shard that is missing",
    files: { ...index({ a: "model-1.safetensors", b: "model-2.safetensors" }), "model-1.safetensors": WEIGHTS },
    code: "NOT_FOUND",
    sentence:
      "1 of 2 shards that FOLDER/model.safetensors.index.json lists are missing, the first is model-2.safetensors: the download is incomplete.",
  },
  {
    what: "a shard that is a dangling link",
    files: index({ a: "model-1.safetensors" }),
    change: (folder) => symlinkSync("nowhere", join(folder, "model-1.safetensors")),
    code: "NOT_FOUND",
    sentence:
      "1 of 1 shards that FOLDER/model.safetensors.index.json lists are missing, the first is model-1.safetensors: the download is incomplete.",
  },
  {
    what: "an index that leaves its folder",
    files: index({ a: "../secret.safetensors" }),
    code: "BAD_FILE",
    sentence:
      'Expected the name of a safetensors file in the same folder for tensor "a" in FOLDER/model.safetensors.index.json, found "../secret.safetensors".',
  },
  {
    what: "an index that is out of step with its shards",
    files: { ...index({ "model.norm.weight": "model-1.safetensors" }), "model-1.safetensors": WEIGHTS },
    code: "BAD_FILE",
    sentence:
      'Tensor "model.embed_tokens.weight" is in FOLDER/model-1.safetensors, but FOLDER/model.safetensors.index.json does not list it.',
  },
  {
    what: "an index that lists a tensor that is not there",
    files: {
      ...index({ a: "m.safetensors", b: "m.safetensors" }),
      "m.safetensors": safetensorsBytes([{ name: "a", shape: [1] }]),
    },
    code: "BAD_FILE",
    sentence: 'FOLDER/model.safetensors.index.json has tensor "b" in m.safetensors, where it is not.',
  },
  {
    what: "an index without a map",
    files: { ...CONFIG, "model.safetensors.index.json": { metadata: {} } },
    code: "BAD_FILE",
    sentence: "Expected an object weight_map in FOLDER/model.safetensors.index.json, found undefined.",
  },
  {
    what: "an index with an empty map",
    files: index({}),
    code: "BAD_FILE",
    sentence: "The weight_map of FOLDER/model.safetensors.index.json is empty.",
  },
  {
    what: "several safetensors files without an index",
    files: { ...CONFIG, "a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS },
    code: "BAD_FILE",
    sentence: "FOLDER holds 2 safetensors files, none of them model.safetensors, and no model.safetensors.index.json.",
  },
  {
    what: "a generation_config.json with a wrong number",
    files: { ...weights(LLAMA_TENSORS), "generation_config.json": { top_p: 2 } },
    code: "BAD_FILE",
    sentence: "Expected top_p from 0 to 1 in FOLDER/generation_config.json, found 2.",
  },
  {
    what: "a generation_config.json of another model",
    files: { ...weights(LLAMA_TENSORS), "generation_config.json": { eos_token_id: [3, 151645] } },
    code: "BAD_FILE",
    sentence: "Expected eos_token_id of FOLDER/generation_config.json to be a token from 0 to 9, found 151645.",
  },
  {
    what: "the tokenizer of another model",
    files: {
      ...weights(LLAMA_TENSORS),
      "tokenizer_config.json": { eos_token: "<|im_end|>", added_tokens_decoder: { 151645: { content: "<|im_end|>" } } },
    },
    code: "BAD_FILE",
    sentence: "Expected eos_token of FOLDER/tokenizer_config.json to be a token from 0 to 9, found 151645.",
  },
  {
    what: "a folder in place of a file",
    files: weights(LLAMA_TENSORS),
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

describe("a user's mistake gets one sentence", () => {
  it.each(MISTAKES)("$what", async ({ files, path, change, code, sentence }) => {
    expect(await mistake(files, path, change)).toEqual({ code, message: sentence });
  });

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

describe("what works", () => {
  it("a folder with one split GGUF model, or with one GGUF file", async () => {
    const folder = writeFolder(join(root, "one-gguf"), { "a.gguf": GGUF, "README.md": "x" });
    expect(await openCheckpoint(folder)).toMatchObject({
      format: "gguf",
      architecture: "llama",
      path: join(folder, "a.gguf"),
    });
  });

  it("a GGUF file under any name", async () => {
    const folder = writeFolder(join(root, "blobs"), { [`sha256-${"0".repeat(64)}`]: GGUF });
    expect((await openCheckpoint(join(folder, `sha256-${"0".repeat(64)}`))).format).toBe("gguf");
  });

  it("safetensors before GGUF, by links too", async () => {
    const blobs = writeFolder(join(root, "hub-blobs"), { "0": WEIGHTS });
    const folder = writeFolder(join(root, "both"), { ...CONFIG, "a.gguf": GGUF });
    symlinkSync(join(blobs, "0"), join(folder, "model.safetensors"));
    expect((await openCheckpoint(folder)).format).toBe("safetensors");
  });

  it("tells stop tokens, sampling and licence from all files", async () => {
    const folder = writeFolder(join(root, "whole"), {
      ...weights(LLAMA_TENSORS),
      "generation_config.json": {
        eos_token_id: [3, 5],
        temperature: 0.7,
        top_k: 20,
        top_p: 0.8,
        repetition_penalty: 1.05,
        do_sample: true,
      },
      "tokenizer_config.json": { eos_token: { content: "<end>" } },
      "tokenizer.json": { added_tokens: [{ id: 7, content: "<end>" }], model: { vocab: {} } },
      "chat_template.jinja": "x",
      LICENSE: "terms",
      "README.md": "---\nlicense: apache-2.0\nlicense_link: https://example.org/terms\n---\n# Model\nlicense: other\n",
    });
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.config.eosTokenIds).toEqual([3, 5, 7]);
    expect(checkpoint.generationDefaults).toEqual({
      doSample: true,
      temperature: 0.7,
      topK: 20,
      topP: 0.8,
      repetitionPenalty: 1.05,
    });
    expect(checkpoint.licence).toEqual({
      name: "apache-2.0",
      link: "https://example.org/terms",
      file: join(folder, "LICENSE"),
    });
    expect(checkpoint.tokenizer).toEqual({
      kind: "files",
      tokenizerJson: join(folder, "tokenizer.json"),
      tokenizerConfig: join(folder, "tokenizer_config.json"),
      chatTemplate: join(folder, "chat_template.jinja"),
      generationConfig: join(folder, "generation_config.json"),
    });
  });
});
