/** Mistakes in what the files of a folder say. */

import { describe } from "vitest";
import { type Mistake, testMistakes, WEIGHTS, withTensors } from "./mistake.js";
import { LLAMA_CONFIG, LLAMA_TENSORS, QWEN2_MOE_CONFIG, QWEN2_MOE_TENSORS } from "./tiny-models.js";
import { type SourceTensor, safetensorsBytes } from "./write-files.js";

const replaced = (name: string, shape: number[]): SourceTensor[] =>
  LLAMA_TENSORS.map((tensor) => (tensor.name === name ? { name, shape } : tensor));
const added = (name: string): SourceTensor[] => [...LLAMA_TENSORS, { name, shape: [1] }];

const MISTAKES: Mistake[] = [
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
    files: withTensors(LLAMA_TENSORS, "F8_E4M3", 1),
    code: "UNSUPPORTED",
    sentence:
      'Tensor "model.embed_tokens.weight" of FOLDER is stored as F8_E4M3, which moescope does not compute with; it takes F32, F16, BF16 and the block types of ggml.',
  },
  {
    what: "GPTQ or AWQ weights",
    files: withTensors(added("model.layers.0.self_attn.q_proj.qweight")),
    code: "UNSUPPORTED",
    sentence:
      'FOLDER has tensor "model.layers.0.self_attn.q_proj.qweight". It is quantised by GPTQ or AWQ, which is not supported: take the original or a GGUF file.',
  },
  {
    what: "FP8 weights with their scales",
    files: withTensors(added("model.layers.0.self_attn.q_proj.weight_scale_inv")),
    code: "UNSUPPORTED",
    sentence:
      'FOLDER has tensor "model.layers.0.self_attn.q_proj.weight_scale_inv". It is quantised to FP8, which is not supported: take the original or a GGUF file.',
  },
  {
    what: "a missing tensor",
    files: withTensors(LLAMA_TENSORS.filter(({ name }) => name !== "model.norm.weight")),
    code: "BAD_FILE",
    sentence: 'FOLDER lacks tensor "model.norm.weight", which its config calls for.',
  },
  {
    what: "a missing head that the config does not tie",
    files: withTensors(LLAMA_TENSORS.filter(({ name }) => name !== "lm_head.weight")),
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
    files: withTensors(added("model.layers.0.self_attn.q_norm.weight")),
    code: "UNSUPPORTED",
    sentence:
      'FOLDER has tensor "model.layers.0.self_attn.q_norm.weight", for which a llama model with this config has no place; computing without them could change its answers.',
  },
  {
    what: "the config of another size of the model",
    files: withTensors(replaced("model.layers.0.mlp.up_proj.weight", [7, 8])),
    code: "BAD_FILE",
    sentence:
      'Expected tensor "model.layers.0.mlp.up_proj.weight" of FOLDER to have shape [6, 8], as the config says, found [7, 8].',
  },
  {
    what: "the same matrix under two names",
    files: withTensors([
      ...LLAMA_TENSORS,
      ...LLAMA_TENSORS.slice(3, 4).map(({ shape }) => ({ name: "model.layers.00.input_layernorm.weight", shape })),
    ]),
    code: "BAD_FILE",
    sentence:
      'Tensors "model.layers.0.input_layernorm.weight" and "model.layers.00.input_layernorm.weight" of FOLDER are the same matrix (layers.0.attn_norm).',
  },
];

describe("a wrong config or wrong tensors get one sentence", () => {
  testMistakes(MISTAKES);
});
