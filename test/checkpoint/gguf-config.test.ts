import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { MoescopeError } from "../../src/errors.js";
import { ggufPairs, LLAMA_GGUF, MIXTRAL_LEGACY_GGUF, QWEN2_GGUF, QWEN2_MOE_GGUF } from "./tiny-models.js";
import { type GgufPair, type GgufTensorSource, ggufBytes, temporaryFolder } from "./write-files.js";

const root = temporaryFolder();
let counter = 0;

function write(pairs: GgufPair[], tensors: GgufTensorSource[]): string {
  counter++;
  const path = join(root, `model-${counter}.gguf`);
  writeFileSync(path, ggufBytes(pairs, tensors));
  return path;
}

/** Replaces pairs of the same key, adds the others. */
function changed(pairs: GgufPair[], changes: GgufPair[]): GgufPair[] {
  const keys = new Set(changes.map(([key]) => key));
  return [...pairs.filter(([key]) => !keys.has(key)), ...changes];
}

const MOE = ggufPairs("qwen2moe", true);
const LLAMA = ggufPairs("llama", false);

const moe = async (...changes: GgufPair[]) =>
  (await openCheckpoint(write(changed(MOE, changes), QWEN2_MOE_GGUF))).config;
const llama = async (...changes: GgufPair[]) =>
  (await openCheckpoint(write(changed(LLAMA, changes), LLAMA_GGUF))).config;

describe("GGUF metadata as config", () => {
  it("gives what a config.json gives", async () => {
    expect(await moe()).toMatchObject({
      architecture: "qwen2_moe",
      numLayers: 1,
      hiddenSize: 8,
      headDim: 4,
      vocabSize: 10,
      maxContext: 64,
      ropeTheta: 10000,
      ropeLayout: "half",
      attentionBias: true,
      numExperts: 2,
      numExpertsPerToken: 1,
      normTopkProb: false,
      eosTokenIds: [3],
      bosTokenId: 1,
    });
    expect(await llama()).toMatchObject({
      architecture: "llama",
      ropeLayout: "interleaved",
      intermediateSize: 6,
      numExperts: 0,
    });
    const mixtral = await openCheckpoint(write(ggufPairs("llama", true), MIXTRAL_LEGACY_GGUF));
    expect(mixtral.config).toMatchObject({
      architecture: "mixtral",
      ropeLayout: "interleaved",
      normTopkProb: true,
      moeIntermediateSize: 4,
    });
    const qwen2 = await openCheckpoint(write(ggufPairs("qwen2", false), QWEN2_GGUF));
    expect(qwen2.config).toMatchObject({ architecture: "qwen2", ropeLayout: "half", attentionBias: true });
  });

  it("believes tensors where keys of old files are wrong or missing", async () => {
    // 6 / 1 expert per token would be 6; the experts are 4 wide, and the shared one 6.
    expect(await moe()).toMatchObject({ moeIntermediateSize: 4, sharedExpertIntermediateSize: 6 });
    const wrong: GgufPair[] = [
      ["qwen2moe.feed_forward_length", "u32", 18944],
      ["qwen2moe.expert_feed_forward_length", "u32", 2368],
      ["qwen2moe.shared_expert_feed_forward_length", "u32", 1],
    ];
    expect(await moe(...wrong)).toMatchObject({ moeIntermediateSize: 4, sharedExpertIntermediateSize: 6 });
  });

  it("takes counts of any integer type, and one number per layer", async () => {
    expect(await moe(["qwen2moe.block_count", "u64", 1n], ["qwen2moe.context_length", "i32", 32])).toMatchObject({
      maxContext: 32,
    });
    expect(await moe(["qwen2moe.attention.head_count_kv", "array u32", [1]])).toMatchObject({ numKeyValueHeads: 1 });
  });

  it("honours expert_weights_norm", async () => {
    expect((await moe(["qwen2moe.expert_weights_norm", "bool", 1])).normTopkProb).toBe(true);
  });

  it("reads YaRN, with what the converter and llama.cpp may add", async () => {
    const yarn: GgufPair[] = [
      ["llama.rope.scaling.type", "string", "yarn"],
      ["llama.rope.scaling.factor", "f32", 4],
      ["llama.rope.scaling.original_context_length", "u32", 32],
    ];
    const plain = await llama(...yarn);
    expect(plain.ropeScaling).toMatchObject({ factor: 4, originalMaxPositionEmbeddings: 32, betaFast: 32 });
    expect(plain.maxContext).toBe(128);
    expect(plain.ropeAttentionFactor).toBeCloseTo(1.138629436, 8);
    const more = await llama(
      ...yarn,
      ["llama.rope.scaling.yarn_beta_fast", "f32", 16],
      ["llama.rope.scaling.yarn_attn_factor", "f32", 1.5],
      ["llama.rope.scaling.attn_factor", "f32", 2],
    );
    expect(more.ropeScaling).toMatchObject({ betaFast: 16, attentionFactor: 3 });
    expect((await llama(["llama.rope.scaling.type", "string", "none"])).ropeScaling).toBeNull();
    expect((await llama(["llama.rope.scale_linear", "f32", 1])).ropeScaling).toBeNull();
    await expect(llama(["llama.rope.scale_linear", "f32", 2])).rejects.toThrow('Rope scaling "linear"');
  });

  it("unites the tokens that end a text", async () => {
    const tokens: GgufPair[] = [
      ["tokenizer.ggml.eot_token_id", "u32", 2],
      ["tokenizer.ggml.eom_token_id", "u32", 3],
    ];
    expect((await moe(...tokens)).eosTokenIds).toEqual([2, 3]);
  });

  it("reads licence and suggested sampling", async () => {
    const more: GgufPair[] = [
      ["general.license", "string", "apache-2.0"],
      ["general.license.link", "string", "https://example.org"],
      ["general.sampling.temp", "f32", 0.5],
      ["general.sampling.top_k", "i32", -1],
    ];
    const checkpoint = await openCheckpoint(write([...LLAMA, ...more], LLAMA_GGUF));
    expect(checkpoint.licence).toEqual({ name: "apache-2.0", link: "https://example.org" });
    expect(checkpoint.generationDefaults).toEqual({ temperature: 0.5, topK: 0 });
    expect((await openCheckpoint(write(LLAMA, LLAMA_GGUF))).licence).toBeNull();
  });

  const key = (name: string) => `llama.${name}`;
  it.each<[GgufPair, string, string]>([
    [
      ["general.architecture", "string", "gemma3"],
      "UNSUPPORTED",
      'Architecture "gemma3" of FILE is not supported; moescope computes qwen2_moe, mixtral, llama, qwen2 (see "add an architecture" in the docs).',
    ],
    [
      [key("attention.sliding_window"), "u32", 4096],
      "UNSUPPORTED",
      "Key llama.attention.sliding_window of FILE is not known and could change what the model computes.",
    ],
    [
      [key("rope.scaling.type"), "string", "longrope"],
      "UNSUPPORTED",
      'Rope scaling "longrope" of FILE is not supported; moescope computes yarn.',
    ],
    [
      [key("rope.scaling.factor"), "f32", 2],
      "UNSUPPORTED",
      'Rope scaling "linear" of FILE is not supported; moescope computes yarn.',
    ],
    [
      [key("rope.dimension_count"), "u32", 2],
      "UNSUPPORTED",
      "llama.rope.dimension_count 2 in FILE is not supported: it must be the head_dim, 4.",
    ],
    [
      [key("attention.value_length"), "u32", 8],
      "UNSUPPORTED",
      "llama.attention.value_length 8 in FILE is not supported: it must be the head_dim, 4.",
    ],
    [
      [key("attention.head_count_kv"), "array u32", [1, 2]],
      "UNSUPPORTED",
      "llama.attention.head_count_kv in FILE differs between layers (1 and 2), which is not supported.",
    ],
    [[key("attention.causal"), "bool", 0], "UNSUPPORTED", "llama.attention.causal false in FILE is not supported."],
    [
      [key("use_parallel_residual"), "bool", 1],
      "UNSUPPORTED",
      "llama.use_parallel_residual true in FILE is not supported.",
    ],
    [
      [key("expert_gating_func"), "u32", 2],
      "UNSUPPORTED",
      "llama.expert_gating_func 2 in FILE is not supported, only softmax (1).",
    ],
    [
      [key("expert_weights_scale"), "f32", 2.5],
      "UNSUPPORTED",
      "llama.expert_weights_scale 2.5 in FILE is not supported, only 1.",
    ],
    [
      [key("attention.head_count_kv"), "array u32", []],
      "BAD_FILE",
      "llama.attention.head_count_kv in FILE is an empty array.",
    ],
    [
      [key("block_count"), "u64", 2n ** 40n],
      "BAD_FILE",
      "Expected 1 to 2147483647 for llama.block_count in FILE, found 1099511627776.",
    ],
    [[key("block_count"), "u32", 5000], "BAD_FILE", "Expected at most 4096 layers in FILE, found 5000."],
    [
      ["tokenizer.ggml.scores", "array f32", [1]],
      "BAD_FILE",
      "Expected one entry in tokenizer.ggml.scores of FILE for each of 10 tokens, found 1.",
    ],
    [
      ["tokenizer.ggml.bos_token_id", "i32", -1],
      "BAD_FILE",
      "Expected tokenizer.ggml.bos_token_id of FILE to be a token from 0 to 9, found -1.",
    ],
  ])("refuses %s", async (pair, code, sentence) => {
    const path = write(changed(LLAMA, [pair]), LLAMA_GGUF);
    const error = await openCheckpoint(path).catch((caught) => caught);
    expect(error).toBeInstanceOf(MoescopeError);
    expect({ code: error.code, message: error.message.replaceAll(path, "FILE") }).toEqual({ code, message: sentence });
  });

  it("refuses rope by stored factors, and YaRN's other settings", async () => {
    const factors = [...LLAMA_GGUF, { name: "rope_freqs.weight", shape: [2] }];
    await expect(openCheckpoint(write(LLAMA, factors))).rejects.toThrow(
      /has tensor "rope_freqs\.weight": rope scaling by stored factors \(llama3, longrope\) is not supported\.$/,
    );
    const extrapolation: GgufPair[] = [
      ["llama.rope.scaling.type", "string", "yarn"],
      ["llama.rope.scaling.factor", "f32", 2],
      ["llama.rope.scaling.yarn_ext_factor", "f32", 0.5],
    ];
    await expect(llama(...extrapolation)).rejects.toThrow("llama.rope.scaling.yarn_ext_factor 0.5 in");
  });

  it("refuses a qwen2moe model without a shared expert, and widths that are none", async () => {
    const without = QWEN2_MOE_GGUF.filter(({ name }) => !name.includes("shexp"));
    const pairs = MOE.filter(([name]) => name !== "qwen2moe.feed_forward_length");
    await expect(openCheckpoint(write(pairs, without))).rejects.toThrow(
      /^Expected a whole number above 0 as width of the shared expert of .*, found 0\.$/,
    );
    const odd = QWEN2_MOE_GGUF.filter(({ name }) => !/ffn_(gate|up)_exps/.test(name));
    const merged = [...odd, { name: "blk.0.ffn_gate_up_exps.weight", shape: [2, 7, 8] }];
    await expect(openCheckpoint(write(MOE, merged))).rejects.toThrow(
      /^Expected a whole number above 0 as width of the experts of .*, found 3\.5\.$/,
    );
  });
});
