import { describe, expect, it } from "vitest";
import { parseHfConfig } from "../../src/checkpoint/hf-config.js";
import { MoescopeError } from "../../src/errors.js";
import { LLAMA_CONFIG, MIXTRAL_CONFIG, QWEN2_CONFIG, QWEN2_MOE_CONFIG } from "./tiny-models.js";

const parse = (config: object) => parseHfConfig(JSON.parse(JSON.stringify(config)), "config.json");

function refusal(config: object): { code: string; message: string } {
  try {
    parse(config);
  } catch (error) {
    if (error instanceof MoescopeError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error(`Accepted ${JSON.stringify(config)}.`);
}

const all = { qwen2_moe: QWEN2_MOE_CONFIG, mixtral: MIXTRAL_CONFIG, llama: LLAMA_CONFIG, qwen2: QWEN2_CONFIG };

describe("config.json", () => {
  it("takes transformers' defaults where a field is absent", () => {
    expect(parse({ model_type: "qwen2_moe" })).toMatchObject({
      vocabSize: 151936,
      hiddenSize: 2048,
      intermediateSize: 0,
      numLayers: 24,
      numAttentionHeads: 16,
      numKeyValueHeads: 16,
      headDim: 128,
      maxContext: 32768,
      rmsNormEps: 1e-6,
      ropeTheta: 10000,
      numExperts: 60,
      numExpertsPerToken: 4,
      moeIntermediateSize: 1408,
      sharedExpertIntermediateSize: 5632,
      normTopkProb: false,
      attentionBias: true,
      tieWordEmbeddings: false,
      eosTokenIds: [],
      bosTokenId: null,
    });
    expect(parse({ model_type: "mixtral" })).toMatchObject({
      vocabSize: 32000,
      hiddenSize: 4096,
      moeIntermediateSize: 14336,
      numLayers: 32,
      numAttentionHeads: 32,
      numKeyValueHeads: 8,
      maxContext: 131072,
      rmsNormEps: 1e-5,
      ropeTheta: 1e6,
      numExperts: 8,
      numExpertsPerToken: 2,
      normTopkProb: true,
      attentionBias: false,
      sharedExpertIntermediateSize: 0,
      eosTokenIds: [2],
      bosTokenId: 1,
    });
    expect(parse({ model_type: "llama" })).toMatchObject({
      intermediateSize: 11008,
      numKeyValueHeads: 32,
      maxContext: 2048,
      rmsNormEps: 1e-6,
      numExperts: 0,
      attentionBias: false,
      eosTokenIds: [2],
    });
    expect(parse({ model_type: "llama", num_attention_heads: 16 }).numKeyValueHeads).toBe(16);
    expect(parse({ model_type: "qwen2", num_key_value_heads: null })).toMatchObject({
      intermediateSize: 22016,
      numKeyValueHeads: 32,
      attentionBias: true,
    });
  });

  it("chooses the layers that route by decoder_sparse_step and mlp_only_layers", () => {
    const layers = (fields: object) => [...parse({ ...QWEN2_MOE_CONFIG, num_hidden_layers: 6, ...fields }).isMoeLayer];
    expect(layers({})).toEqual([1, 1, 1, 1, 1, 1]);
    expect(layers({ decoder_sparse_step: 2, mlp_only_layers: [3] })).toEqual([0, 1, 0, 0, 0, 1]);
    expect(layers({ mlp_only_layers: [0, 99] })).toEqual([0, 1, 1, 1, 1, 1]);
    expect(layers({ num_experts: 0 })).toEqual([0, 0, 0, 0, 0, 0]);
    expect(parse({ ...QWEN2_MOE_CONFIG, decoder_sparse_step: 2, num_hidden_layers: 2 }).intermediateSize).toBe(5632);
  });

  it("reads the old and the new form of rope", () => {
    const old = parse({ ...QWEN2_CONFIG, rope_theta: 5e5, rope_scaling: { type: "yarn", factor: 4 } });
    const both = { rope_theta: 5e5, rope_type: "yarn", factor: 4 };
    const recent = parse({ ...QWEN2_CONFIG, rope_parameters: both });
    expect(old.ropeScaling).toMatchObject({ factor: 4, originalMaxPositionEmbeddings: 64 });
    expect(old.ropeTheta).toBe(5e5);
    expect(old.maxContext).toBe(256);
    expect(recent.ropeInvFreq).toEqual(old.ropeInvFreq);
    expect(recent.ropeScaling).toEqual(old.ropeScaling);
    expect(parse({ ...QWEN2_CONFIG, rope_scaling: both, rope_parameters: both }).ropeScaling).toEqual(old.ropeScaling);
    const unscaled = parse({
      ...QWEN2_CONFIG,
      rope_scaling: null,
      rope_parameters: { rope_type: "default", rope_theta: 7 },
    });
    expect(unscaled).toMatchObject({ ropeScaling: null, ropeTheta: 7 });
    const phi = { ...QWEN2_CONFIG, original_max_position_embeddings: 16, rope_scaling: { rope_type: "yarn" } };
    expect(parse(phi).ropeScaling).toMatchObject({ factor: 4, originalMaxPositionEmbeddings: 16 });
  });

  it("reads end tokens as one number or a list", () => {
    expect(parse({ ...QWEN2_CONFIG, eos_token_id: 4 }).eosTokenIds).toEqual([4]);
    expect(parse({ ...QWEN2_CONFIG, eos_token_id: [4, 2] }).eosTokenIds).toEqual([4, 2]);
    expect(parse({ ...LLAMA_CONFIG, eos_token_id: null }).eosTokenIds).toEqual([]);
  });

  it("accepts what changes nothing", () => {
    const harmless = {
      torch_dtype: "bfloat16",
      attention_dropout: 0.1,
      _name_or_path: "somewhere",
      pruned_heads: {},
      use_cache: true,
      some_new_flag: false,
      another: null,
      max_window_layers: 28,
      sliding_window: 0,
    };
    for (const [name, config] of Object.entries(all))
      expect(() => parse({ ...config, ...harmless }), name).not.toThrow();
    expect(() => parse({ ...QWEN2_CONFIG, use_sliding_window: false, sliding_window: 4096 })).not.toThrow();
    expect(() =>
      parse({ ...LLAMA_CONFIG, hidden_act: "swish", sliding_window: null, pretraining_tp: 2 }),
    ).not.toThrow();
  });

  it.each<[object, string]>([
    [
      { model_type: "qwen3_moe" },
      'Architecture "qwen3_moe" of config.json is not supported; moescope computes qwen2_moe, mixtral, llama, qwen2 (see "add an architecture" in the docs).',
    ],
    [
      { model_type: "toString" },
      'Architecture "toString" of config.json is not supported; moescope computes qwen2_moe, mixtral, llama, qwen2 (see "add an architecture" in the docs).',
    ],
    [{ ...LLAMA_CONFIG, hidden_act: "gelu" }, 'hidden_act "gelu" in config.json is not supported, only silu.'],
    [{ ...LLAMA_CONFIG, attention_bias: true }, "attention_bias true in config.json is not supported."],
    [{ ...LLAMA_CONFIG, mlp_bias: true }, "mlp_bias true in config.json is not supported."],
    [{ ...LLAMA_CONFIG, is_causal: false }, "is_causal false in config.json is not supported."],
    [
      { ...MIXTRAL_CONFIG, sliding_window: 4096 },
      "sliding_window 4096 in config.json is not supported: attention sees the whole context.",
    ],
    [
      { ...LLAMA_CONFIG, sliding_window: 4096 },
      "sliding_window 4096 in config.json is not supported: attention sees the whole context.",
    ],
    [
      { ...QWEN2_CONFIG, use_sliding_window: true },
      "use_sliding_window true in config.json is not supported: attention sees the whole context.",
    ],
    [
      { ...QWEN2_CONFIG, layer_types: ["sliding_attention"] },
      'layer_types of config.json lists "sliding_attention", which is not supported, only "full_attention".',
    ],
    [
      { ...QWEN2_CONFIG, quantization_config: { quant_method: "gptq" } },
      "config.json says that the weights are quantised by gptq (quantization_config), which is not supported: take the original weights or a GGUF file.",
    ],
    [
      { ...QWEN2_CONFIG, quantization: { bits: 4 } },
      "config.json says that the weights are quantised by MLX (quantization), which is not supported.",
    ],
    [
      { ...QWEN2_CONFIG, partial_rotary_factor: 0.5 },
      "partial_rotary_factor 0.5 in config.json is not supported: rope turns whole heads.",
    ],
    [
      { ...QWEN2_CONFIG, rope_parameters: { partial_rotary_factor: 0.5 } },
      "partial_rotary_factor 0.5 in rope_parameters of config.json is not supported: rope turns whole heads.",
    ],
    ...["linear", "dynamic", "llama3", "longrope", "su", "mrope"].map((type): [object, string] => [
      { ...LLAMA_CONFIG, rope_scaling: { type, factor: 2 } },
      `Rope type "${type}" of rope_scaling of config.json is not supported; moescope computes default and yarn.`,
    ]),
    [
      { ...LLAMA_CONFIG, rope_scaling: { rope_type: "yarn", factor: 2, frequency_shift: 1 } },
      'Field "frequency_shift" (1 (number)) of rope_scaling of config.json is not known and could change what the model computes.',
    ],
    [
      { ...LLAMA_CONFIG, rope_parameters: { full_attention: { rope_type: "default" } } },
      'Field "full_attention" (a value of type Object) of rope_parameters of config.json is not known and could change what the model computes.',
    ],
    [{ ...LLAMA_CONFIG, head_dim: 5 }, "A head_dim that is odd (5 in config.json) is not supported: rope turns pairs."],
    [
      { ...LLAMA_CONFIG, attn_logit_softcapping: 30 },
      'Field "attn_logit_softcapping" (30 (number)) of config.json is not known and could change what the model computes.',
    ],
    [
      { ...MIXTRAL_CONFIG, num_local_experts: 65535 },
      "More than 65534 experts (65535 in config.json) are not supported.",
    ],
  ])("refuses by name %j", (config, sentence) => {
    expect(refusal(config)).toEqual({ code: "UNSUPPORTED", message: sentence });
  });

  it.each<[object, string]>([
    [{}, "config.json states no model_type: is this the config of a language model?"],
    [{ model_type: 3 }, "Expected text for model_type in config.json, found 3 (number)."],
    [
      { ...LLAMA_CONFIG, hidden_size: "8" },
      'Expected a whole number from 1 to 2147483647 for hidden_size in config.json, found "8".',
    ],
    [
      { ...LLAMA_CONFIG, num_hidden_layers: 0 },
      "Expected a whole number from 1 to 2147483647 for num_hidden_layers in config.json, found 0 (number).",
    ],
    [{ ...LLAMA_CONFIG, num_hidden_layers: 1e6 }, "Expected at most 4096 layers in config.json, found 1000000."],
    [
      { ...LLAMA_CONFIG, num_attention_heads: 3 },
      "Expected hidden_size 8 to be a multiple of the 3 attention heads of config.json, which does not say head_dim.",
    ],
    [
      { ...LLAMA_CONFIG, num_key_value_heads: 4 },
      "Expected the number of key/value heads to divide the 2 attention heads of config.json, found 4.",
    ],
    [{ ...LLAMA_CONFIG, head_dim: 5000 }, "Expected a head_dim up to 4096 in config.json, found 5000."],
    [{ ...LLAMA_CONFIG, rms_norm_eps: 0 }, "Expected an rms norm epsilon between 0 and 1 in config.json, found 0."],
    [{ ...LLAMA_CONFIG, rope_theta: 0 }, "Expected a rope base (theta) above 1 in config.json, found 0."],
    [
      { ...MIXTRAL_CONFIG, num_experts_per_tok: 3 },
      "Expected 1 to 2 experts per token in config.json, which has 2 experts, found 3.",
    ],
    [
      { ...LLAMA_CONFIG, eos_token_id: 10 },
      "Expected eos_token_id of config.json to be a token from 0 to 9, found 10.",
    ],
    [
      { ...LLAMA_CONFIG, eos_token_id: "</s>" },
      'Expected a list of whole numbers for eos_token_id in config.json, found "</s>".',
    ],
    [
      { ...LLAMA_CONFIG, tie_word_embeddings: 1 },
      "Expected true or false for tie_word_embeddings in config.json, found 1 (number).",
    ],
    [
      { ...QWEN2_CONFIG, layer_types: [] },
      "Expected a list with one entry for each of 1 layers for layer_types in config.json, found an array of 0.",
    ],
    [{ ...LLAMA_CONFIG, rope_scaling: "yarn" }, 'Expected an object for rope_scaling in config.json, found "yarn".'],
    [
      { ...LLAMA_CONFIG, rope_scaling: { type: "yarn", factor: 0.5 } },
      "Expected a factor from 1 up for YaRN in rope_scaling of config.json, found 0.5.",
    ],
    [
      { ...LLAMA_CONFIG, rope_scaling: { type: "yarn", rope_type: "default" } },
      'rope_type "default" and type "yarn" of rope_scaling of config.json contradict each other.',
    ],
    [
      { ...LLAMA_CONFIG, rope_scaling: { type: "yarn", factor: 2 }, rope_parameters: { rope_type: "default" } },
      "rope_scaling and rope_parameters of config.json contradict each other.",
    ],
  ])("refuses as wrong %j", (config, sentence) => {
    expect(refusal(config)).toEqual({ code: "BAD_FILE", message: sentence });
  });
});
