import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import type { PlanTensor } from "../../src/native/binding.js";
import {
  ggufPairs,
  LLAMA_CONFIG,
  LLAMA_GGUF,
  LLAMA_TENSORS,
  MIXTRAL_CONFIG,
  MIXTRAL_LEGACY_GGUF,
  MIXTRAL_TENSORS,
  QWEN2_CONFIG,
  QWEN2_GGUF,
  QWEN2_MOE_CONFIG,
  QWEN2_MOE_GGUF,
  QWEN2_MOE_ROLES,
  QWEN2_MOE_TENSORS,
  QWEN2_TENSORS,
} from "./tiny-models.js";
import {
  type GgufPair,
  type GgufTensorSource,
  ggufBytes,
  type SourceTensor,
  safetensorsBytes,
  temporaryFolder,
  writeFolder,
} from "./write-files.js";

const root = temporaryFolder();
let counter = 0;

async function planOfFolder(config: object, tensors: SourceTensor[]): Promise<PlanTensor[]> {
  counter++;
  const folder = writeFolder(join(root, `model-${counter}`), {
    "config.json": config,
    "model.safetensors": safetensorsBytes(tensors),
  });
  return (await openCheckpoint(folder)).plan.tensors;
}

async function planOfGguf(pairs: GgufPair[], tensors: GgufTensorSource[]): Promise<PlanTensor[]> {
  counter++;
  const path = join(root, `model-${counter}.gguf`);
  writeFileSync(path, ggufBytes(pairs, tensors));
  return (await openCheckpoint(path)).plan.tensors;
}

const shapes = (plan: PlanTensor[]) => Object.fromEntries(plan.map(({ role, rows, cols }) => [role, [rows, cols]]));

/** Places of the matrices of one file tensor, relative to the first, in elements of F32. */
function places(plan: PlanTensor[], name: string): Array<[string, number]> {
  const inside = plan.filter((tensor) => tensor.name === name);
  const start = Math.min(...inside.map(({ offset }) => offset));
  return inside.map(({ role, offset }) => [role, (offset - start) / 4]);
}

const without = <T extends SourceTensor>(tensors: T[], pattern: RegExp): T[] =>
  tensors.filter(({ name }) => !pattern.test(name));

describe("roles", () => {
  it("are found for every architecture, in the order of the forward pass", async () => {
    const moe = await planOfFolder(QWEN2_MOE_CONFIG, QWEN2_MOE_TENSORS);
    expect(moe.map(({ role }) => role)).toEqual(QWEN2_MOE_ROLES);
    expect(shapes(moe)).toMatchObject({
      embed: [10, 8],
      final_norm: [1, 8],
      "layers.0.k": [4, 8],
      "layers.0.k_bias": [1, 4],
      "layers.0.router": [2, 8],
      "layers.0.experts.1.gate": [4, 8],
      "layers.0.experts.1.down": [8, 4],
      "layers.0.shared.up": [6, 8],
      "layers.0.shared_gate": [1, 8],
    });
    expect(await planOfFolder(LLAMA_CONFIG, LLAMA_TENSORS)).toHaveLength(LLAMA_TENSORS.length);
    expect(await planOfFolder(QWEN2_CONFIG, QWEN2_TENSORS)).toHaveLength(QWEN2_TENSORS.length);
    expect(shapes(await planOfFolder(MIXTRAL_CONFIG, MIXTRAL_TENSORS))).toMatchObject({
      "layers.0.experts.0.gate": [4, 8],
      "layers.0.experts.0.up": [4, 8],
      "layers.0.experts.0.down": [8, 4],
    });
  });

  it("are the same from GGUF names", async () => {
    const folder = shapes(await planOfFolder(QWEN2_MOE_CONFIG, QWEN2_MOE_TENSORS));
    expect(shapes(await planOfGguf(ggufPairs("qwen2moe", true), QWEN2_MOE_GGUF))).toEqual(folder);
    const llama = shapes(await planOfFolder(LLAMA_CONFIG, LLAMA_TENSORS));
    expect(shapes(await planOfGguf(ggufPairs("llama", false), LLAMA_GGUF))).toEqual(llama);
    const qwen2 = shapes(await planOfFolder(QWEN2_CONFIG, QWEN2_TENSORS));
    expect(shapes(await planOfGguf(ggufPairs("qwen2", false), QWEN2_GGUF))).toEqual(qwen2);
    const mixtral = shapes(await planOfFolder(MIXTRAL_CONFIG, MIXTRAL_TENSORS));
    expect(shapes(await planOfGguf(ggufPairs("llama", true), MIXTRAL_LEGACY_GGUF))).toEqual(mixtral);
  });

  it("are told apart by name where shapes are the same", async () => {
    const roleOf = (plan: PlanTensor[]) => Object.fromEntries(plan.map(({ name, role }) => [name, role]));
    expect(roleOf(await planOfFolder(MIXTRAL_CONFIG, MIXTRAL_TENSORS))).toMatchObject({
      "model.layers.0.block_sparse_moe.experts.1.w1.weight": "layers.0.experts.1.gate",
      "model.layers.0.block_sparse_moe.experts.1.w2.weight": "layers.0.experts.1.down",
      "model.layers.0.block_sparse_moe.experts.1.w3.weight": "layers.0.experts.1.up",
      "model.layers.0.block_sparse_moe.gate.weight": "layers.0.router",
    });
    expect(roleOf(await planOfFolder(QWEN2_MOE_CONFIG, QWEN2_MOE_TENSORS))).toMatchObject({
      "model.layers.0.input_layernorm.weight": "layers.0.attn_norm",
      "model.layers.0.post_attention_layernorm.weight": "layers.0.ffn_norm",
      "model.norm.weight": "final_norm",
      "model.embed_tokens.weight": "embed",
      "lm_head.weight": "head",
      "model.layers.0.self_attn.q_proj.weight": "layers.0.q",
      "model.layers.0.self_attn.k_proj.weight": "layers.0.k",
      "model.layers.0.self_attn.v_proj.bias": "layers.0.v_bias",
      "model.layers.0.self_attn.o_proj.weight": "layers.0.o",
      "model.layers.0.mlp.experts.0.up_proj.weight": "layers.0.experts.0.up",
      "model.layers.0.mlp.shared_expert.gate_proj.weight": "layers.0.shared.gate",
      "model.layers.0.mlp.shared_expert.up_proj.weight": "layers.0.shared.up",
    });
    expect(roleOf(await planOfFolder(LLAMA_CONFIG, LLAMA_TENSORS))).toMatchObject({
      "model.layers.0.mlp.gate_proj.weight": "layers.0.gate",
      "model.layers.0.mlp.up_proj.weight": "layers.0.up",
    });
    expect(roleOf(await planOfGguf(ggufPairs("llama", true), MIXTRAL_LEGACY_GGUF))).toMatchObject({
      "token_embd.weight": "embed",
      "output.weight": "head",
      "blk.0.attn_norm.weight": "layers.0.attn_norm",
      "blk.0.ffn_norm.weight": "layers.0.ffn_norm",
      "blk.0.attn_k.weight": "layers.0.k",
      "blk.0.attn_v.weight": "layers.0.v",
      "blk.0.ffn_gate.1.weight": "layers.0.experts.1.gate",
      "blk.0.ffn_up.1.weight": "layers.0.experts.1.up",
    });
    expect(roleOf(await planOfGguf(ggufPairs("qwen2moe", true), QWEN2_MOE_GGUF))).toMatchObject({
      "blk.0.ffn_gate_shexp.weight": "layers.0.shared.gate",
      "blk.0.ffn_up_shexp.weight": "layers.0.shared.up",
    });
  });

  it("lack a head where embeddings are tied, unless the file has one", async () => {
    const tied = { ...LLAMA_CONFIG, tie_word_embeddings: true };
    const roles = (plan: PlanTensor[]) => plan.map(({ role }) => role);
    expect(roles(await planOfFolder(tied, without(LLAMA_TENSORS, /^lm_head/)))).not.toContain("head");
    expect(roles(await planOfFolder(tied, LLAMA_TENSORS))).toContain("head");
    expect(roles(await planOfGguf(ggufPairs("llama", false), without(LLAMA_GGUF, /^output\.weight/)))).not.toContain(
      "head",
    );
  });
});

describe("layouts", () => {
  const others = without(QWEN2_MOE_TENSORS, /experts\.\d/);

  it("cuts stacked experts, gate before up", async () => {
    const plan = await planOfFolder(QWEN2_MOE_CONFIG, [
      ...others,
      { name: "model.layers.0.mlp.experts.gate_up_proj", shape: [2, 8, 8] },
      { name: "model.layers.0.mlp.experts.down_proj", shape: [2, 8, 4] },
    ]);
    expect(places(plan, "model.layers.0.mlp.experts.gate_up_proj")).toEqual([
      ["layers.0.experts.0.gate", 0],
      ["layers.0.experts.0.up", 32],
      ["layers.0.experts.1.gate", 64],
      ["layers.0.experts.1.up", 96],
    ]);
    expect(places(plan, "model.layers.0.mlp.experts.down_proj")).toEqual([
      ["layers.0.experts.0.down", 0],
      ["layers.0.experts.1.down", 32],
    ]);
  });

  it("refuses stacked experts that are transposed", async () => {
    const config = { ...QWEN2_MOE_CONFIG, moe_intermediate_size: 6 };
    const tensors = [
      ...others,
      { name: "model.layers.0.mlp.experts.gate_up_proj", shape: [2, 8, 12] },
      { name: "model.layers.0.mlp.experts.down_proj", shape: [2, 6, 8] },
    ];
    await expect(planOfFolder(config, tensors)).rejects.toThrow(
      /to have shape \[2, 12, 8\], as the config says, found \[2, 8, 12\]\.$/,
    );
  });

  it("cuts fused q, k, v and merged gate and up of GGUF files", async () => {
    const plan = await planOfGguf(ggufPairs("qwen2moe", true), [
      ...without(QWEN2_MOE_GGUF, /attn_[qkv]\.|ffn_(gate|up)_exps/),
      { name: "blk.0.attn_qkv.weight", shape: [16, 8] },
      { name: "blk.0.attn_qkv.bias", shape: [16] },
      { name: "blk.0.ffn_gate_up_exps.weight", shape: [2, 8, 8] },
    ]);
    expect(places(plan, "blk.0.attn_qkv.weight")).toEqual([
      ["layers.0.q", 0],
      ["layers.0.k", 64],
      ["layers.0.v", 96],
    ]);
    expect(places(plan, "blk.0.attn_qkv.bias")).toEqual([
      ["layers.0.q_bias", 0],
      ["layers.0.k_bias", 8],
      ["layers.0.v_bias", 12],
    ]);
    expect(places(plan, "blk.0.ffn_gate_up_exps.weight").map(([, place]) => place)).toEqual([0, 32, 64, 96]);
  });

  it("measures cuts in the blocks of quantised types", async () => {
    const q8 = { type: 8, block: { elements: 32, bytes: 34 } };
    const widths: GgufPair[] = ggufPairs("qwen2moe", true).map(
      (pair): GgufPair => (pair[0] === "qwen2moe.embedding_length" ? [pair[0], "u32", 32] : pair),
    );
    const wide = QWEN2_MOE_GGUF.map(({ name, shape }) => ({
      name,
      shape: shape.map((size) => (size === 8 ? 32 : size)),
    }));
    const plan = await planOfGguf(
      [...widths, ["qwen2moe.attention.key_length", "u32", 4]],
      wide.map((tensor) => {
        if (/attn_q\.(weight|bias)/.test(tensor.name))
          return { ...tensor, shape: [8, 32].slice(0, tensor.shape.length) };
        if (/attn_output/.test(tensor.name)) return { ...tensor, shape: [32, 8] };
        return /ffn_gate_exps/.test(tensor.name) ? { ...tensor, ...q8 } : tensor;
      }),
    );
    const [first, second] = plan.filter(({ name }) => name === "blk.0.ffn_gate_exps.weight");
    expect(first).toMatchObject({ dtype: "Q8_0", rows: 4, cols: 32 });
    expect(second!.offset - first!.offset).toBe(4 * 34);
  });

  it("accepts names and shapes of old and of new converters", async () => {
    const renamed = QWEN2_MOE_GGUF.map(({ name, shape }) => ({ name: name.replace("_shexp", "_shared_exp"), shape }));
    expect(await planOfGguf(ggufPairs("qwen2moe", true), renamed)).toHaveLength(QWEN2_MOE_ROLES.length);
    const asMatrix = QWEN2_MOE_GGUF.map((tensor) =>
      /inp_shexp/.test(tensor.name) ? { ...tensor, shape: [1, 8] } : tensor,
    );
    expect(await planOfGguf(ggufPairs("qwen2moe", true), asMatrix)).toHaveLength(QWEN2_MOE_ROLES.length);
    const mixtral = MIXTRAL_TENSORS.map(({ name, shape }) => ({
      name: name.replace("block_sparse_moe", "mlp"),
      shape,
    }));
    expect(await planOfFolder(MIXTRAL_CONFIG, mixtral)).toHaveLength(MIXTRAL_TENSORS.length);
  });

  it("leaves out angles that follow from the config", async () => {
    const angles = { name: "model.layers.0.self_attn.rotary_emb.inv_freq", shape: [2] };
    expect(await planOfFolder(LLAMA_CONFIG, [...LLAMA_TENSORS, angles])).toHaveLength(LLAMA_TENSORS.length);
    const old = { name: "blk.0.attn_rot_embd.weight", shape: [2] };
    expect(await planOfGguf(ggufPairs("llama", false), [...LLAMA_GGUF, old])).toHaveLength(LLAMA_TENSORS.length);
  });
});
