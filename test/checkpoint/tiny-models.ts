/** The smallest models of each architecture: configs, metadata and tensors, written out here and not derived by the code under test. */

import type { GgufPair, GgufTensorSource, SourceTensor } from "./write-files.js";

/** hidden 8, 2 heads of 4, 1 kv head, vocabulary 10, one layer. */
const COMMON = {
  hidden_size: 8,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  num_hidden_layers: 1,
  vocab_size: 10,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  eos_token_id: 3,
  bos_token_id: 1,
};

export const QWEN2_MOE_CONFIG = {
  ...COMMON,
  model_type: "qwen2_moe",
  num_experts: 2,
  num_experts_per_tok: 1,
  moe_intermediate_size: 4,
  shared_expert_intermediate_size: 6,
};
export const MIXTRAL_CONFIG = {
  ...COMMON,
  model_type: "mixtral",
  num_local_experts: 2,
  num_experts_per_tok: 1,
  intermediate_size: 4,
};
export const LLAMA_CONFIG = { ...COMMON, model_type: "llama", intermediate_size: 6 };
export const QWEN2_CONFIG = { ...COMMON, model_type: "qwen2", intermediate_size: 6 };

const ATTENTION: SourceTensor[] = [
  { name: "model.layers.0.input_layernorm.weight", shape: [8] },
  { name: "model.layers.0.self_attn.q_proj.weight", shape: [8, 8] },
  { name: "model.layers.0.self_attn.k_proj.weight", shape: [4, 8] },
  { name: "model.layers.0.self_attn.v_proj.weight", shape: [4, 8] },
  { name: "model.layers.0.self_attn.o_proj.weight", shape: [8, 8] },
  { name: "model.layers.0.post_attention_layernorm.weight", shape: [8] },
];
const BIASES: SourceTensor[] = [
  { name: "model.layers.0.self_attn.q_proj.bias", shape: [8] },
  { name: "model.layers.0.self_attn.k_proj.bias", shape: [4] },
  { name: "model.layers.0.self_attn.v_proj.bias", shape: [4] },
];
const ENDS: SourceTensor[] = [
  { name: "model.embed_tokens.weight", shape: [10, 8] },
  { name: "model.norm.weight", shape: [8] },
  { name: "lm_head.weight", shape: [10, 8] },
];
const DENSE: SourceTensor[] = [
  { name: "model.layers.0.mlp.gate_proj.weight", shape: [6, 8] },
  { name: "model.layers.0.mlp.up_proj.weight", shape: [6, 8] },
  { name: "model.layers.0.mlp.down_proj.weight", shape: [8, 6] },
];

export const LLAMA_TENSORS: SourceTensor[] = [...ENDS, ...ATTENTION, ...DENSE];
export const QWEN2_TENSORS: SourceTensor[] = [...ENDS, ...ATTENTION, ...BIASES, ...DENSE];
export const MIXTRAL_TENSORS: SourceTensor[] = [
  ...ENDS,
  ...ATTENTION,
  { name: "model.layers.0.block_sparse_moe.gate.weight", shape: [2, 8] },
  ...[0, 1].flatMap((expert) => [
    { name: `model.layers.0.block_sparse_moe.experts.${expert}.w1.weight`, shape: [4, 8] },
    { name: `model.layers.0.block_sparse_moe.experts.${expert}.w2.weight`, shape: [8, 4] },
    { name: `model.layers.0.block_sparse_moe.experts.${expert}.w3.weight`, shape: [4, 8] },
  ]),
];
export const QWEN2_MOE_TENSORS: SourceTensor[] = [
  ...ENDS,
  ...ATTENTION,
  ...BIASES,
  { name: "model.layers.0.mlp.gate.weight", shape: [2, 8] },
  ...[0, 1].flatMap((expert) => [
    { name: `model.layers.0.mlp.experts.${expert}.gate_proj.weight`, shape: [4, 8] },
    { name: `model.layers.0.mlp.experts.${expert}.up_proj.weight`, shape: [4, 8] },
    { name: `model.layers.0.mlp.experts.${expert}.down_proj.weight`, shape: [8, 4] },
  ]),
  { name: "model.layers.0.mlp.shared_expert.gate_proj.weight", shape: [6, 8] },
  { name: "model.layers.0.mlp.shared_expert.up_proj.weight", shape: [6, 8] },
  { name: "model.layers.0.mlp.shared_expert.down_proj.weight", shape: [8, 6] },
  { name: "model.layers.0.mlp.shared_expert_gate.weight", shape: [1, 8] },
];

/** The roles that `QWEN2_MOE_TENSORS` fill, in the order of the forward pass. */
export const QWEN2_MOE_ROLES: string[] = [
  "embed",
  "final_norm",
  "head",
  ...["attn_norm", "q", "k", "v", "o", "ffn_norm", "q_bias", "k_bias", "v_bias", "router"].map(
    (role) => `layers.0.${role}`,
  ),
  ...["shared.gate", "shared.up", "shared.down", "shared_gate"].map((role) => `layers.0.${role}`),
  ...[0, 1].flatMap((expert) => ["gate", "up", "down"].map((part) => `layers.0.experts.${expert}.${part}`)),
];

const TOKENS: GgufPair[] = [
  ["tokenizer.ggml.model", "string", "gpt2"],
  ["tokenizer.ggml.tokens", "array string", Array.from({ length: 10 }, (_, id) => `t${id}`)],
  ["tokenizer.ggml.token_type", "array i32", Array.from({ length: 10 }, () => 1)],
  ["tokenizer.ggml.bos_token_id", "u32", 1],
  ["tokenizer.ggml.eos_token_id", "u32", 3],
];

/** The keys of `QWEN2_MOE_CONFIG`, `LLAMA_CONFIG`, ... in GGUF's words. */
export function ggufPairs(architecture: "qwen2moe" | "qwen2" | "llama", experts: boolean): GgufPair[] {
  const own = (name: string): string => `${architecture}.${name}`;
  const pairs: GgufPair[] = [
    ["general.architecture", "string", architecture],
    [own("block_count"), "u32", 1],
    [own("context_length"), "u32", 64],
    [own("embedding_length"), "u32", 8],
    [own("feed_forward_length"), "u32", architecture === "llama" && experts ? 4 : 6],
    [own("attention.head_count"), "u32", 2],
    [own("attention.head_count_kv"), "u32", 1],
    [own("attention.layer_norm_rms_epsilon"), "f32", 1e-6],
    [own("rope.freq_base"), "f32", 10000],
    ...TOKENS,
  ];
  if (experts) pairs.push([own("expert_count"), "u32", 2], [own("expert_used_count"), "u32", 1]);
  return pairs;
}

const GGUF_LAYER: Record<string, string> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

/** The dense tensors above under llama.cpp's names. */
function denseGguf(tensors: SourceTensor[]): GgufTensorSource[] {
  const ends: Record<string, string> = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    lm_head: "output",
  };
  return tensors.map(({ name, shape }) => {
    const [, stem, suffix] = /^(.*)\.(weight|bias)$/.exec(name)!;
    const inLayer = stem!.replace("model.layers.0.", "");
    return { name: ends[stem!] ? `${ends[stem!]}.${suffix}` : `blk.0.${GGUF_LAYER[inLayer]}.${suffix}`, shape };
  });
}

export const LLAMA_GGUF: GgufTensorSource[] = denseGguf(LLAMA_TENSORS);
export const QWEN2_GGUF: GgufTensorSource[] = denseGguf(QWEN2_TENSORS);
export const QWEN2_MOE_GGUF: GgufTensorSource[] = [
  ...denseGguf([...ENDS, ...ATTENTION, ...BIASES]),
  { name: "blk.0.ffn_gate_inp.weight", shape: [2, 8] },
  { name: "blk.0.ffn_gate_exps.weight", shape: [2, 4, 8] },
  { name: "blk.0.ffn_up_exps.weight", shape: [2, 4, 8] },
  { name: "blk.0.ffn_down_exps.weight", shape: [2, 8, 4] },
  { name: "blk.0.ffn_gate_shexp.weight", shape: [6, 8] },
  { name: "blk.0.ffn_up_shexp.weight", shape: [6, 8] },
  { name: "blk.0.ffn_down_shexp.weight", shape: [8, 6] },
  { name: "blk.0.ffn_gate_inp_shexp.weight", shape: [8] },
];
/** One tensor per expert, as in files from before April 2024. */
export const MIXTRAL_LEGACY_GGUF: GgufTensorSource[] = [
  ...denseGguf([...ENDS, ...ATTENTION]),
  { name: "blk.0.ffn_gate_inp.weight", shape: [2, 8] },
  ...[0, 1].flatMap((expert) => [
    { name: `blk.0.ffn_gate.${expert}.weight`, shape: [4, 8] },
    { name: `blk.0.ffn_down.${expert}.weight`, shape: [8, 4] },
    { name: `blk.0.ffn_up.${expert}.weight`, shape: [4, 8] },
  ]),
];
