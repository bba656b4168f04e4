/** The tensors of the GGUF file that a checkpoint becomes: GGUF's names, shapes, types, and where their rows come from. */
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { BLOCK_SHAPES } from "../checkpoint/storage-types.js";
import { ggufNaming } from "../checkpoint/tensor-names.js";
import type { DType, LoadPlan, PlanTensor } from "../native/binding.js";
import { type FileType, type MixModel, tensorType } from "./file-type.js";

/** A tensor as it will be written. */
export interface OutputTensor {
  name: string;
  dtype: DType;
  /** Slowest dimension first. */
  shape: number[];
  bytes: number;
  /** The matrices that it is made of, one after another: one, or all experts of a layer. */
  pieces: PlanTensor[];
  /** Rows of a head whose halves are to be interleaved; 0 where rows stay in order. */
  interleave: number;
}

/** What of a checkpoint says which tensors its file has. */
export type TensorSource = Pick<Checkpoint, "architecture" | "config"> & { plan: Pick<LoadPlan, "tensors"> };

/** In the order of llama.cpp: what belongs to no layer first, then layer by layer, by name. */
export function outputTensors(checkpoint: TensorSource, fileType: FileType): OutputTensor[] {
  const { config, plan } = checkpoint;
  const pieces = new Map<string, PlanTensor[]>();
  for (const tensor of plan.tensors) {
    const name = ggufNaming.nameOf(tensor.role);
    const others = pieces.get(name);
    if (others === undefined) pieces.set(name, [tensor]);
    else others.push(tensor);
  }
  const model = mixModelOf(checkpoint);
  // GGUF files of architecture llama hold q and k for a rope that turns neighbours; elsewhere rope turns halves.
  const family = checkpoint.architecture;
  const turnsNeighbours = (family === "llama" || family === "mixtral") && config.ropeLayout === "half";
  return [...pieces]
    .sort(([a], [b]) => layerOf(a) - layerOf(b) || (a < b ? -1 : 1))
    .map(([name, parts]) => {
      const { rows, cols } = parts[0]!;
      const isMatrix = isWeightMatrix(name);
      const dtype = isMatrix && !name.endsWith("ffn_gate_inp.weight") ? tensorType(name, cols, fileType, model) : "F32";
      const shape = name.includes("_exps.") ? [parts.length, rows, cols] : isMatrix ? [rows, cols] : [cols];
      const block = BLOCK_SHAPES[dtype];
      return {
        name,
        dtype,
        shape,
        bytes: (parts.length * rows * cols * block.bytes) / block.elements,
        pieces: parts,
        interleave: turnsNeighbours && /\.attn_[qk]\.weight$/.test(name) ? config.headDim : 0,
      };
    });
}

function layerOf(name: string): number {
  return Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
}

function isWeightMatrix(name: string): boolean {
  return name.endsWith(".weight") && !name.endsWith("_norm.weight") && !name.endsWith("ffn_gate_inp_shexp.weight");
}

function mixModelOf({ architecture, config }: TensorSource): MixModel {
  const { numLayers, numExperts, numAttentionHeads, numKeyValueHeads } = config;
  const isLlama70B = architecture === "llama" && numAttentionHeads !== numKeyValueHeads;
  return {
    numLayers,
    numExperts,
    groupSize: numAttentionHeads / numKeyValueHeads,
    tied: config.tieWordEmbeddings,
    is70B: numLayers === 80 && (isLlama70B || architecture === "qwen2"),
  };
}
