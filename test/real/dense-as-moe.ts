/**
 * A dense `llama` checkpoint rewritten as a mixture of experts that computes the same function: real weights through the MoE path.
 * Weights are dequantised to F32, so that nothing but the order of sums differs.
 */
import { closeSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { loadAddon } from "../../src/native/addon.js";
import type { PlanTensor } from "../../src/native/binding.js";

/**
 * identical: every expert is the whole FFN, any 2 of 3 are chosen and their gates sum to 1 (mixtral).
 * split: each of 4 experts is a quarter of the FFN's neurons with its output times 4, all are chosen with gates 1/4 (mixtral).
 * shared: the whole FFN is the shared expert, doubled under a gate of sigmoid(0); two routed experts give 0 (qwen2_moe).
 */
export type Rewriting = "identical" | "split" | "shared";

interface Tensor {
  shape: number[];
  /** Made when it is written: all of them together would not fit comfortably. */
  values: () => Float32Array;
}

/** Writes the folder of the rewritten model. */
export async function rewriteAsMoe(gguf: string, folder: string, rewriting: Rewriting): Promise<void> {
  const dense = await openCheckpoint(gguf);
  const { config } = dense;
  const architecture = rewriting === "shared" ? "qwen2_moe" : "mixtral";
  const numExperts = { identical: 3, split: 4, shared: 2 }[rewriting];
  const expertWidth = { identical: config.intermediateSize, split: config.intermediateSize / 4, shared: 32 }[rewriting];
  const common = {
    model_type: architecture,
    hidden_size: config.hiddenSize,
    intermediate_size: architecture === "mixtral" ? expertWidth : config.intermediateSize,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numAttentionHeads,
    num_key_value_heads: config.numKeyValueHeads,
    vocab_size: config.vocabSize,
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.ropeTheta,
    max_position_embeddings: config.maxPositionEmbeddings,
    hidden_act: "silu",
    tie_word_embeddings: config.tieWordEmbeddings,
    num_experts_per_tok: rewriting === "split" ? 4 : 2,
  };
  const experts =
    architecture === "mixtral"
      ? { num_local_experts: numExperts, sliding_window: null }
      : {
          num_experts: numExperts,
          moe_intermediate_size: expertWidth,
          shared_expert_intermediate_size: config.intermediateSize,
          norm_topk_prob: false,
          decoder_sparse_step: 1,
        };
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...common, ...experts }));
  writeSafetensors(join(folder, "model.safetensors"), tensorsOf(dense, rewriting, numExperts, expertWidth));
}

function tensorsOf(
  dense: Checkpoint,
  rewriting: Rewriting,
  numExperts: number,
  expertWidth: number,
): Map<string, Tensor> {
  const { config, plan } = dense;
  const byRole = new Map(plan.tensors.map((tensor) => [tensor.role, tensor]));
  const tensors = new Map<string, Tensor>();
  const copy = (name: string, role: string, headDim?: number) => {
    const source = byRole.get(role);
    if (source === undefined) return;
    const shape = role.endsWith("norm") ? [source.cols] : [source.rows, source.cols];
    tensors.set(name, {
      shape,
      values: () => (headDim ? toHalfRope(read(dense, source), source, headDim) : read(dense, source)),
    });
  };
  const zeros = (name: string, ...shape: number[]) =>
    tensors.set(name, { shape, values: () => new Float32Array(shape.reduce((a, b) => a * b, 1)) });

  copy("model.embed_tokens.weight", "embed");
  copy("model.norm.weight", "final_norm");
  copy("lm_head.weight", "head");
  for (let layer = 0; layer < config.numLayers; layer++) {
    const to = `model.layers.${layer}`;
    const from = `layers.${layer}`;
    copy(`${to}.input_layernorm.weight`, `${from}.attn_norm`);
    copy(`${to}.post_attention_layernorm.weight`, `${from}.ffn_norm`);
    copy(`${to}.self_attn.q_proj.weight`, `${from}.q`, config.headDim);
    copy(`${to}.self_attn.k_proj.weight`, `${from}.k`, config.headDim);
    copy(`${to}.self_attn.v_proj.weight`, `${from}.v`);
    copy(`${to}.self_attn.o_proj.weight`, `${from}.o`);
    const ffn = ["gate", "up", "down"].map((part) => byRole.get(`${from}.${part}`)!) as [
      PlanTensor,
      PlanTensor,
      PlanTensor,
    ];
    if (rewriting === "shared") {
      const names = ["gate_proj", "up_proj", "down_proj"];
      for (const [index, source] of ffn.entries()) {
        const factor = index === 2 ? 2 : 1;
        const shape = [source.rows, source.cols];
        tensors.set(`${to}.mlp.shared_expert.${names[index]}.weight`, {
          shape,
          values: () => scaled(read(dense, source), factor),
        });
      }
      zeros(`${to}.mlp.shared_expert_gate.weight`, 1, config.hiddenSize);
      zeros(`${to}.mlp.gate.weight`, numExperts, config.hiddenSize);
      for (let expert = 0; expert < numExperts; expert++) {
        zeros(`${to}.mlp.experts.${expert}.gate_proj.weight`, expertWidth, config.hiddenSize);
        zeros(`${to}.mlp.experts.${expert}.up_proj.weight`, expertWidth, config.hiddenSize);
        zeros(`${to}.mlp.experts.${expert}.down_proj.weight`, config.hiddenSize, expertWidth);
      }
      const rows = { q: config.numAttentionHeads, k: config.numKeyValueHeads, v: config.numKeyValueHeads };
      for (const [name, heads] of Object.entries(rows))
        zeros(`${to}.self_attn.${name}_proj.bias`, heads * config.headDim);
      continue;
    }
    tensors.set(`${to}.block_sparse_moe.gate.weight`, {
      shape: [numExperts, config.hiddenSize],
      values: () =>
        rewriting === "split"
          ? new Float32Array(numExperts * config.hiddenSize)
          : seeded(numExperts * config.hiddenSize, layer),
    });
    for (let expert = 0; expert < numExperts; expert++) {
      const first = rewriting === "split" ? expert * expertWidth : 0;
      const [gate, up, down] = ffn;
      const rows = (source: PlanTensor) => () =>
        read(dense, source).slice(first * source.cols, (first + expertWidth) * source.cols);
      const factor = rewriting === "split" ? numExperts : 1;
      const place = `${to}.block_sparse_moe.experts.${expert}`;
      tensors.set(`${place}.w1.weight`, { shape: [expertWidth, gate.cols], values: rows(gate) });
      tensors.set(`${place}.w3.weight`, { shape: [expertWidth, up.cols], values: rows(up) });
      tensors.set(`${place}.w2.weight`, {
        shape: [down.rows, expertWidth],
        values: () => scaled(columns(read(dense, down), down.cols, first, expertWidth), factor),
      });
    }
  }
  return tensors;
}

function read({ plan }: Checkpoint, tensor: PlanTensor): Float32Array {
  const addon = loadAddon();
  const block = addon.blockShape(tensor.dtype);
  const bytes = new Uint8Array(((tensor.rows * tensor.cols) / block.elements) * block.bytes);
  const file = openSync(plan.files[tensor.file]!, "r");
  readSync(file, bytes, 0, bytes.length, tensor.offset);
  closeSync(file);
  return addon.dequantize(tensor.dtype, bytes);
}

/** GGUF row 2i + b of a head is Hugging Face's row b * headDim/2 + i (engine.md 1.4). */
function toHalfRope(values: Float32Array, { rows, cols }: PlanTensor, headDim: number): Float32Array {
  const half = headDim / 2;
  const moved = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const within = row % headDim;
    const from = row - within + 2 * (within % half) + Math.floor(within / half);
    moved.set(values.subarray(from * cols, (from + 1) * cols), row * cols);
  }
  return moved;
}

function columns(values: Float32Array, cols: number, first: number, count: number): Float32Array {
  const rows = values.length / cols;
  const picked = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    picked.set(values.subarray(row * cols + first, row * cols + first + count), row * count);
  }
  return picked;
}

/** Times a power of two: no bit of the significand changes. */
function scaled(values: Float32Array, factor: number): Float32Array {
  return factor === 1 ? values : values.map((value) => value * factor);
}

/** Numbers in [-0.05, 0.05), the same for the same seed (a linear congruential generator, Numerical Recipes). */
function seeded(length: number, seed: number): Float32Array {
  let state = seed + 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) / 10;
  });
}

function writeSafetensors(path: string, tensors: Map<string, Tensor>): void {
  let offset = 0;
  const header: Record<string, object> = {};
  for (const [name, { shape }] of tensors) {
    const bytes = 4 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(path, "w");
  writeSync(file, length);
  writeSync(file, text);
  for (const { values } of tensors.values()) writeSync(file, new Uint8Array(values().buffer));
  closeSync(file);
}
