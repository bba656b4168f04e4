import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { parseHfConfig } from "../../src/checkpoint/hf-config.js";
import { countParameters, kvCacheBytesPerToken } from "../../src/checkpoint/model-config.js";
import { type GgufPair, type GgufTensorSource, ggufHeader, temporaryFolder } from "./write-files.js";

const root = temporaryFolder();

/** Shapes of the four models of the card; counts from their papers and repositories by way of specs. */
const MODELS = [
  {
    name: "Qwen2-57B-A14B",
    config: {
      model_type: "qwen2_moe",
      hidden_size: 3584,
      num_hidden_layers: 28,
      num_attention_heads: 28,
      num_key_value_heads: 4,
      intermediate_size: 18944,
      num_experts: 64,
      num_experts_per_tok: 8,
      moe_intermediate_size: 2560,
      shared_expert_intermediate_size: 20480,
      vocab_size: 151936,
    },
    numParameters: 57_408_658_944,
    numActiveParameters: 13_704_732_160,
  },
  {
    name: "Mixtral-8x7B",
    config: { model_type: "mixtral" },
    numParameters: 46_702_792_704,
    numActiveParameters: 12_748_853_248,
  },
  {
    name: "Qwen1.5-32B",
    config: {
      model_type: "qwen2",
      hidden_size: 5120,
      num_hidden_layers: 64,
      num_attention_heads: 40,
      num_key_value_heads: 8,
      intermediate_size: 27392,
      vocab_size: 152064,
    },
    numParameters: 32_512_218_112,
    numActiveParameters: 31_733_650_432,
  },
  {
    name: "Yi-34B",
    config: {
      model_type: "llama",
      hidden_size: 7168,
      num_hidden_layers: 60,
      num_attention_heads: 56,
      num_key_value_heads: 8,
      intermediate_size: 20480,
      vocab_size: 64000,
    },
    numParameters: 34_388_917_248,
    numActiveParameters: 33_930_165_248,
  },
];

describe("models of full size", () => {
  it.each(MODELS)("$name has its published number of parameters", ({ config, numParameters, numActiveParameters }) => {
    const parsed = parseHfConfig(JSON.parse(JSON.stringify(config)), "config.json");
    expect(countParameters(parsed)).toEqual({ numParameters, numActiveParameters });
  });

  it("Qwen2-57B-A14B keeps 28 layers of 4 heads of 128 numbers, twice, for each token", () => {
    const parsed = parseHfConfig(JSON.parse(JSON.stringify(MODELS[0]!.config)), "config.json");
    expect(kvCacheBytesPerToken(parsed, "bf16")).toBe(2 * 28 * 4 * 128 * 2);
    expect(kvCacheBytesPerToken(parsed, "f32")).toBe(2 * 28 * 4 * 128 * 4);
    expect(kvCacheBytesPerToken(parsed, "q8_0")).toBe((2 * 28 * 4 * 128 * 34) / 32);
  });

  it("an early Q5_K_M file of 41 GB opens by its header alone, with the context stretched on demand", async () => {
    const { header, sizeBytes } = ggufHeader(earlyQwen2Pairs(), q5kmTensors());
    const path = join(root, "qwen2-57b-a14b-instruct-q5_k_m.gguf");
    const file = openSync(path, "w");
    writeSync(file, header);
    // The rest is a hole in the file: nothing is written, and nothing may be read.
    ftruncateSync(file, sizeBytes);
    closeSync(file);

    const checkpoint = await openCheckpoint(path, { ropeScaling: { type: "yarn", factor: 2 } });
    expect(checkpoint.plan.tensors).toHaveLength(3 + 28 * (14 + 3 * 64));
    expect(checkpoint.numParameters).toBe(57_408_658_944);
    expect(checkpoint.weightBytes / 1e9).toBeCloseTo(40.8, 1);
    expect(checkpoint.config).toMatchObject({
      moeIntermediateSize: 2560,
      sharedExpertIntermediateSize: 20480,
      maxContext: 65536,
    });
    expect(checkpoint.config.ropeScaling).toMatchObject({ low: 23, high: 40 });
  });
});

/** Keys as converters of June 2024 wrote them: no widths of experts. */
function earlyQwen2Pairs(): GgufPair[] {
  const own = (name: string): string => `qwen2moe.${name}`;
  return [
    ["general.architecture", "string", "qwen2moe"],
    [own("block_count"), "u32", 28],
    [own("context_length"), "u32", 32768],
    [own("embedding_length"), "u32", 3584],
    [own("feed_forward_length"), "u32", 20480],
    [own("attention.head_count"), "u32", 28],
    [own("attention.head_count_kv"), "u32", 4],
    [own("rope.freq_base"), "f32", 1e6],
    [own("attention.layer_norm_rms_epsilon"), "f32", 1e-6],
    [own("expert_count"), "u32", 64],
    [own("expert_used_count"), "u32", 8],
    ["tokenizer.ggml.tokens", "array string", Array.from({ length: 151_936 }, (_, id) => `token-${id}`)],
    ["tokenizer.ggml.eos_token_id", "u32", 151645],
  ];
}

/** llama-quantize's mix: Q5_K, but Q6_K for the head and, on some layers, for attn_v and the down projections. */
function q5kmTensors(): GgufTensorSource[] {
  const f32 = {};
  const q5 = { type: 13, block: { elements: 256, bytes: 176 } };
  const q6 = { type: 14, block: { elements: 256, bytes: 210 } };
  const hasMoreBits = (layer: number): boolean => layer < 3 || layer >= 24 || (layer - 3) % 3 === 2;
  const layers = Array.from({ length: 28 }, (_, layer): GgufTensorSource[] => {
    const more = hasMoreBits(layer) ? q6 : q5;
    const tensors: Array<[string, number[], object]> = [
      ["attn_norm.weight", [3584], f32],
      ["attn_q.weight", [3584, 3584], q5],
      ["attn_q.bias", [3584], f32],
      ["attn_k.weight", [512, 3584], q5],
      ["attn_k.bias", [512], f32],
      ["attn_v.weight", [512, 3584], more],
      ["attn_v.bias", [512], f32],
      ["attn_output.weight", [3584, 3584], q5],
      ["ffn_norm.weight", [3584], f32],
      ["ffn_gate_inp.weight", [64, 3584], f32],
      ["ffn_gate_exps.weight", [64, 2560, 3584], q5],
      ["ffn_up_exps.weight", [64, 2560, 3584], q5],
      ["ffn_down_exps.weight", [64, 3584, 2560], more],
      ["ffn_gate_shexp.weight", [20480, 3584], q5],
      ["ffn_up_shexp.weight", [20480, 3584], q5],
      ["ffn_down_shexp.weight", [3584, 20480], more],
      ["ffn_gate_inp_shexp.weight", [3584], f32],
    ];
    return tensors.map(([name, shape, type]) => ({ name: `blk.${layer}.${name}`, shape, ...type }));
  });
  return [
    { name: "token_embd.weight", shape: [151936, 3584], ...q5 },
    ...layers.flat(),
    { name: "output_norm.weight", shape: [3584] },
    { name: "output.weight", shape: [151936, 3584], ...q6 },
  ];
}
