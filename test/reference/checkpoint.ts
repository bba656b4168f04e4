/**
 * The smallest reader of a Hugging Face folder that serves the oracle: config.json as it is, and every tensor of model*.safetensors as
 * float32 values (all of F32, BF16 and F16 are exact in float32). No checks: it reads test data only.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Fields of config.json that the oracle reads; older and newer spellings of the rope fields both occur. */
export interface ReferenceConfig {
  model_type: "qwen2_moe" | "mixtral" | "llama" | "qwen2";
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim?: number | null;
  rms_norm_eps: number;
  vocab_size: number;
  max_position_embeddings: number;
  tie_word_embeddings?: boolean;
  rope_theta?: number;
  rope_scaling?: RopeFields | null;
  rope_parameters?: RopeFields;
  num_experts?: number;
  num_local_experts?: number;
  num_experts_per_tok?: number;
  norm_topk_prob?: boolean;
  decoder_sparse_step?: number;
  mlp_only_layers?: number[];
}

export interface RopeFields {
  type?: string;
  rope_type?: string;
  rope_theta?: number;
  factor?: number;
  original_max_position_embeddings?: number;
  beta_fast?: number;
  beta_slow?: number;
  attention_factor?: number;
}

/** A weight as stored, row-major: a matrix maps a vector of `cols` to one of `rows`. */
export interface Matrix {
  rows: number;
  cols: number;
  values: Float32Array; // [rows, cols]
}

export interface ReferenceCheckpoint {
  config: ReferenceConfig;
  tensors: Map<string, Matrix>;
}

/** Reads a folder. A tensor of rank 3 (stacked experts) becomes one matrix per index, named `NAME.INDEX`. */
export function readCheckpoint(folder: string): ReferenceCheckpoint {
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as ReferenceConfig;
  const tensors = new Map<string, Matrix>();
  for (const file of readdirSync(folder).filter((name) => /^model.*\.safetensors$/.test(name))) {
    const bytes = readFileSync(join(folder, file));
    const dataStart = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString("utf8", 8, dataStart)) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    for (const [name, { dtype, shape, data_offsets: range }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const values = widen(dtype, bytes.subarray(dataStart + range[0], dataStart + range[1]));
      const cols = shape[shape.length - 1]!;
      const rows = shape.length > 1 ? shape[shape.length - 2]! : 1;
      if (shape.length < 3) tensors.set(name, { rows, cols, values });
      for (let i = 0; shape.length === 3 && i < shape[0]!; i++) {
        tensors.set(`${name}.${i}`, { rows, cols, values: values.subarray(i * rows * cols, (i + 1) * rows * cols) });
      }
    }
  }
  return { config, tensors };
}

function widen(dtype: string, bytes: Buffer): Float32Array {
  const width = dtype === "F32" ? 4 : 2;
  const values = new Float32Array(bytes.length / width);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < values.length; i++) {
    if (dtype === "F32") values[i] = bytes.readFloatLE(4 * i);
    else if (dtype === "BF16") bits[i] = bytes.readUInt16LE(2 * i) << 16;
    else if (dtype === "F16") values[i] = fromHalf(bytes.readUInt16LE(2 * i));
    else throw new Error(`The oracle does not read ${dtype}.`);
  }
  return values;
}

function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  return (bits >> 15 ? -1 : 1) * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
}
