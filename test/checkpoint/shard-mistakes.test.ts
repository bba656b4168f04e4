/** Mistakes about shards, their index, and the small files beside the weights. */

import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe } from "vitest";
import { CONFIG, type Files, type Mistake, testMistakes, WEIGHTS, withTensors } from "./mistake.js";
import { LLAMA_TENSORS } from "./tiny-models.js";
import { safetensorsBytes } from "./write-files.js";

const index = (map: object): Files => ({ ...CONFIG, "model.safetensors.index.json": { weight_map: map } });

const MISTAKES: Mistake[] = [
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
    files: { ...withTensors(LLAMA_TENSORS), "generation_config.json": { top_p: 2 } },
    code: "BAD_FILE",
    sentence: "Expected top_p from 0 to 1 in FOLDER/generation_config.json, found 2.",
  },
  {
    what: "a generation_config.json of another model",
    files: { ...withTensors(LLAMA_TENSORS), "generation_config.json": { eos_token_id: [3, 151645] } },
    code: "BAD_FILE",
    sentence: "Expected eos_token_id of FOLDER/generation_config.json to be a token from 0 to 9, found 151645.",
  },
  {
    what: "the tokenizer of another model",
    files: {
      ...withTensors(LLAMA_TENSORS),
      "tokenizer_config.json": { eos_token: "<|im_end|>", added_tokens_decoder: { 151645: { content: "<|im_end|>" } } },
    },
    code: "BAD_FILE",
    sentence: "Expected eos_token of FOLDER/tokenizer_config.json to be a token from 0 to 9, found 151645.",
  },
];

describe("wrong shards or wrong files beside them get one sentence", () => {
  testMistakes(MISTAKES);
});
