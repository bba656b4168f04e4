import type { Projection } from "./tensor-roles.js";

/** What a tensor of a file holds. */
export type TensorUse =
  /** One matrix or vector. */
  | { kind: "matrix"; role: string }
  /** The rows of q, k and v, one after another. */
  | { kind: "qkv"; layer: number; bias: boolean }
  /** A matrix per expert, or per expert the rows of several projections, one after another. */
  | { kind: "experts"; layer: number; parts: Projection[] }
  /** Known and not needed. */
  | { kind: "ignored" };

/** How a format names tensors. */
export interface TensorNaming {
  /** Undefined for names that are not known. */
  useOf(name: string): TensorUse | undefined;
  /** The usual name of a role, for messages. */
  nameOf(role: string): string;
}

/** Roles outside the layers: role, Hugging Face name, GGUF name. */
const GLOBAL_NAMES: ReadonlyArray<[string, string, string]> = [
  ["embed", "model.embed_tokens.weight", "token_embd.weight"],
  ["final_norm", "model.norm.weight", "output_norm.weight"],
  ["head", "lm_head.weight", "output.weight"],
];

/** Roles inside a layer. */
const LAYER_NAMES: ReadonlyArray<[string, string, string]> = [
  ["attn_norm", "input_layernorm.weight", "attn_norm.weight"],
  ["q", "self_attn.q_proj.weight", "attn_q.weight"],
  ["q_bias", "self_attn.q_proj.bias", "attn_q.bias"],
  ["k", "self_attn.k_proj.weight", "attn_k.weight"],
  ["k_bias", "self_attn.k_proj.bias", "attn_k.bias"],
  ["v", "self_attn.v_proj.weight", "attn_v.weight"],
  ["v_bias", "self_attn.v_proj.bias", "attn_v.bias"],
  ["o", "self_attn.o_proj.weight", "attn_output.weight"],
  ["ffn_norm", "post_attention_layernorm.weight", "ffn_norm.weight"],
  ["gate", "mlp.gate_proj.weight", "ffn_gate.weight"],
  ["up", "mlp.up_proj.weight", "ffn_up.weight"],
  ["down", "mlp.down_proj.weight", "ffn_down.weight"],
  ["router", "mlp.gate.weight", "ffn_gate_inp.weight"],
  ["shared.gate", "mlp.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight"],
  ["shared.up", "mlp.shared_expert.up_proj.weight", "ffn_up_shexp.weight"],
  ["shared.down", "mlp.shared_expert.down_proj.weight", "ffn_down_shexp.weight"],
  ["shared_gate", "mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight"],
];

const LAYER_ROLE = /^layers\.(\d+)\.(.+)$/;
const EXPERT_ROLE = /^experts\.(\d+)\.(gate|up|down)$/;

const HF_GLOBAL = new Map(GLOBAL_NAMES.map(([role, hf]) => [hf, role]));
const HF_LAYER = new Map(LAYER_NAMES.map(([role, hf]) => [hf, role]));
const HF_LAYER_NAME = /^model\.layers\.(\d{1,9})\.(.+)$/;
const HF_EXPERT = /^mlp\.experts\.(\d{1,9})\.(?:(gate|up|down)_proj|(w[123]))\.weight$/;
const HF_STACKED = /^mlp\.experts\.(gate_up|gate|up|down)_proj(?:\.weight)?$/;
/** Mixtral's own words for the projections. */
const MIXTRAL_WORDS: Readonly<Record<Projection, string>> = { gate: "w1", up: "w3", down: "w2" };
const MIXTRAL_PROJECTIONS: Readonly<Record<string, Projection>> = { w1: "gate", w2: "down", w3: "up" };

/**
 * Names of transformers: experts one by one, or stacked as transformers 5 holds them in memory. The words of Mixtral and of
 * Qwen2-MoE never mean two things, so both are read for every architecture; `mixtral` chooses the words of messages.
 */
export function hfNaming(mixtral: boolean): TensorNaming {
  return {
    useOf: useOfHfName,
    nameOf: (role) => hfNameOf(role, mixtral),
  };
}

function useOfHfName(name: string): TensorUse | undefined {
  const role = HF_GLOBAL.get(name);
  if (role !== undefined) return { kind: "matrix", role };
  // Angles that old checkpoints hold; they follow from the config.
  if (name.endsWith("rotary_emb.inv_freq")) return { kind: "ignored" };
  const inLayer = HF_LAYER_NAME.exec(name);
  if (inLayer === null) return undefined;
  const layer = Number(inLayer[1]);
  const rest = inLayer[2]!.replace(/^block_sparse_moe\./, "mlp.");
  const layerRole = HF_LAYER.get(rest);
  if (layerRole !== undefined) return { kind: "matrix", role: `layers.${layer}.${layerRole}` };
  const expert = HF_EXPERT.exec(rest);
  if (expert !== null) {
    const part = expert[2] ?? MIXTRAL_PROJECTIONS[expert[3]!];
    return { kind: "matrix", role: `layers.${layer}.experts.${Number(expert[1])}.${part}` };
  }
  const stacked = HF_STACKED.exec(rest);
  return stacked === null ? undefined : { kind: "experts", layer, parts: stacked[1]!.split("_") as Projection[] };
}

function hfNameOf(role: string, mixtral: boolean): string {
  const inLayer = LAYER_ROLE.exec(role);
  if (inLayer === null) return GLOBAL_NAMES.find(([known]) => known === role)![1];
  const block = mixtral ? "block_sparse_moe" : "mlp";
  const prefix = `model.layers.${inLayer[1]}.`;
  const expert = EXPERT_ROLE.exec(inLayer[2]!);
  if (expert !== null) {
    const part = expert[2] as Projection;
    return `${prefix}${block}.experts.${expert[1]}.${mixtral ? MIXTRAL_WORDS[part] : `${part}_proj`}.weight`;
  }
  return prefix + LAYER_NAMES.find(([known]) => known === inLayer[2])![1].replace(/^mlp\b/, block);
}

const GGUF_GLOBAL = new Map(GLOBAL_NAMES.map(([role, , gguf]) => [gguf, role]));
const GGUF_LAYER = new Map(LAYER_NAMES.map(([role, , gguf]) => [gguf, role]));
const GGUF_LAYER_NAME = /^blk\.(\d{1,9})\.(.+)$/;
const GGUF_STACKED = /^ffn_(gate_up|gate|up|down)_exps\.weight$/;
/** One tensor per expert, in Mixtral files from before April 2024. */
const GGUF_EXPERT = /^ffn_(gate|up|down)\.(\d{1,9})\.weight$/;
const GGUF_FUSED_QKV = /^attn_qkv\.(weight|bias)$/;
/** Names that drafts of the qwen2moe converter used. */
const GGUF_OLD_SHARED = /_shared_exp\./;

/** Names of llama.cpp, with those of old files. */
export const ggufNaming: TensorNaming = {
  useOf(name) {
    const role = GGUF_GLOBAL.get(name);
    if (role !== undefined) return { kind: "matrix", role };
    const inLayer = GGUF_LAYER_NAME.exec(name);
    if (inLayer === null) return undefined;
    return useOfGgufLayerName(Number(inLayer[1]), inLayer[2]!.replace(GGUF_OLD_SHARED, "_shexp."));
  },
  nameOf(role) {
    const inLayer = LAYER_ROLE.exec(role);
    if (inLayer === null) return GLOBAL_NAMES.find(([known]) => known === role)![2];
    const expert = EXPERT_ROLE.exec(inLayer[2]!);
    if (expert !== null) return `blk.${inLayer[1]}.ffn_${expert[2]}_exps.weight`;
    return `blk.${inLayer[1]}.${LAYER_NAMES.find(([known]) => known === inLayer[2])![2]}`;
  },
};

function useOfGgufLayerName(layer: number, rest: string): TensorUse | undefined {
  const role = GGUF_LAYER.get(rest);
  if (role !== undefined) return { kind: "matrix", role: `layers.${layer}.${role}` };
  // Angles that old files hold; they follow from the metadata.
  if (rest === "attn_rot_embd.weight") return { kind: "ignored" };
  const qkv = GGUF_FUSED_QKV.exec(rest);
  if (qkv !== null) return { kind: "qkv", layer, bias: qkv[1] === "bias" };
  const stacked = GGUF_STACKED.exec(rest);
  if (stacked !== null) return { kind: "experts", layer, parts: stacked[1]!.split("_") as Projection[] };
  const expert = GGUF_EXPERT.exec(rest);
  if (expert === null) return undefined;
  return { kind: "matrix", role: `layers.${layer}.experts.${Number(expert[2])}.${expert[1]}` };
}
