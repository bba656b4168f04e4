/**
 * Which storage type each tensor takes in a file of a given type: the mixes of llama.cpp's `llama-quantize` without an importance
 * matrix, so that a file of ours has the size and the types that its name promises. Facts: llama.cpp `src/llama-quant.cpp`.
 */
import { BLOCK_SHAPES } from "../checkpoint/storage-types.js";
import type { DType } from "../native/binding.js";

/** A file's type, by llama.cpp's names; S, M and L tell mixes of one type apart. */
export type FileType =
  | ("F32" | "F16" | "BF16" | "Q8_0" | "Q5_1" | "Q5_0" | "Q4_1" | "Q4_0" | "IQ4_NL" | "IQ4_XS")
  | ("Q6_K" | "Q5_K_M" | "Q5_K_S" | "Q4_K_M" | "Q4_K_S" | "Q3_K_L" | "Q3_K_M" | "Q3_K_S" | "Q2_K");

/** `general.file_type` and the type that most tensors take. */
const FILE_TYPES: Readonly<Record<FileType, { id: number; base: DType }>> = {
  F32: { id: 0, base: "F32" },
  F16: { id: 1, base: "F16" },
  BF16: { id: 32, base: "BF16" },
  Q8_0: { id: 7, base: "Q8_0" },
  Q6_K: { id: 18, base: "Q6_K" },
  Q5_K_M: { id: 17, base: "Q5_K" },
  Q5_K_S: { id: 16, base: "Q5_K" },
  Q5_1: { id: 9, base: "Q5_1" },
  Q5_0: { id: 8, base: "Q5_0" },
  Q4_K_M: { id: 15, base: "Q4_K" },
  Q4_K_S: { id: 14, base: "Q4_K" },
  Q4_1: { id: 3, base: "Q4_1" },
  Q4_0: { id: 2, base: "Q4_0" },
  IQ4_NL: { id: 25, base: "IQ4_NL" },
  IQ4_XS: { id: 30, base: "IQ4_XS" },
  Q3_K_L: { id: 13, base: "Q3_K" },
  Q3_K_M: { id: 12, base: "Q3_K" },
  Q3_K_S: { id: 11, base: "Q3_K" },
  Q2_K: { id: 10, base: "Q2_K" },
};

/** Largest first. */
export const FILE_TYPE_NAMES: readonly FileType[] = Object.keys(FILE_TYPES) as FileType[];

/** The number that `general.file_type` holds. */
export function fileTypeId(type: FileType): number {
  return FILE_TYPES[type].id;
}

/** What the mixes depend on beside a tensor's name. */
export interface MixModel {
  numLayers: number;
  /** 0 in a dense model. */
  numExperts: number;
  /** Query heads that share a key. */
  groupSize: number;
  /** Whether the embedding serves as head. */
  tied: boolean;
  /** The shape of Llama 2 70B and Qwen2 72B, for whose narrow value matrices the mixes have a rule of their own. */
  is70B: boolean;
}

/** Blocks of 256 that do not divide a row give way to blocks of 32. */
const FALLBACKS: Partial<Record<DType, DType>> = {
  Q2_K: "Q4_0",
  Q3_K: "Q4_0",
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
  IQ4_XS: "IQ4_NL",
};

const FLOAT_TYPES: ReadonlySet<DType> = new Set<DType>(["F32", "F16", "BF16"]);

/**
 * The type of a weight matrix. Vectors and routers are F32 in every file and are not asked for here.
 * @param name in GGUF's words. @param cols row length in elements.
 */
export function tensorType(name: string, cols: number, fileType: FileType, model: MixModel): DType {
  const { base } = FILE_TYPES[fileType];
  if (FLOAT_TYPES.has(base)) return base;
  return fitting(wantedType(name, cols, fileType, base, model), cols);
}

/** The type itself where its blocks divide the row, else the one that stands in for it. */
function fitting(type: DType, cols: number): DType {
  const divides = (candidate: DType) => cols % BLOCK_SHAPES[candidate].elements === 0;
  if (divides(type)) return type;
  const fallback = FALLBACKS[type];
  return fallback !== undefined && divides(fallback) ? fallback : "F16";
}

function wantedType(name: string, cols: number, fileType: FileType, base: DType, model: MixModel): DType {
  if (name === "output.weight" || (name === "token_embd.weight" && model.tied)) return headType(base, cols);
  const layer = Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? 0);
  if (name.endsWith("attn_v.weight")) return valueType(fileType, layer, model) ?? base;
  if (name.endsWith("attn_k.weight")) return model.numExperts === 8 ? "Q8_0" : base;
  if (name.endsWith("attn_output.weight")) return outputType(fileType, model) ?? base;
  if (name.includes("ffn_down")) return downType(fileType, layer, model.numLayers) ?? base;
  return base;
}

function headType(base: DType, cols: number): DType {
  return base === "Q8_0" || cols % BLOCK_SHAPES[base].elements !== 0 ? "Q8_0" : "Q6_K";
}

/** The first and last eighth of the layers, and every third between. */
function usesMoreBits(layer: number, numLayers: number): boolean {
  const eighth = Math.floor(numLayers / 8);
  return layer < eighth || layer >= Math.floor((7 * numLayers) / 8) || (layer - eighth) % 3 === 2;
}

function valueType(fileType: FileType, layer: number, model: MixModel): DType | undefined {
  // With eight experts the attention is a small part of the file.
  if (model.numExperts === 8) return "Q8_0";
  const type = plainValueType(fileType, layer, model);
  const wanted = type ?? FILE_TYPES[fileType].base;
  return model.is70B && (wanted === "Q3_K" || wanted === "Q4_K") ? "Q5_K" : type;
}

function plainValueType(fileType: FileType, layer: number, model: MixModel): DType | undefined {
  switch (fileType) {
    case "Q2_K":
      return model.groupSize >= 4 ? "Q4_K" : "Q3_K";
    case "Q3_K_M":
      return layer < 2 ? "Q5_K" : "Q4_K";
    case "Q3_K_L":
      return "Q5_K";
    case "IQ4_NL":
    case "IQ4_XS":
      return model.groupSize >= 4 ? "Q5_K" : undefined;
    case "Q4_K_S":
      return layer < 4 ? "Q5_K" : undefined;
    case "Q4_K_M":
    case "Q5_K_M":
      return usesMoreBits(layer, model.numLayers) ? "Q6_K" : undefined;
    default:
      return undefined;
  }
}

function downType(fileType: FileType, layer: number, numLayers: number): DType | undefined {
  switch (fileType) {
    case "Q2_K":
      return "Q3_K";
    case "Q3_K_M":
      return layer < Math.floor(numLayers / 16) ? "Q5_K" : "Q4_K";
    case "Q3_K_L":
      return "Q5_K";
    case "IQ4_NL":
    case "IQ4_XS":
    case "Q4_K_S":
      return layer < Math.floor(numLayers / 8) ? "Q5_K" : undefined;
    case "Q4_K_M":
    case "Q5_K_M":
      return usesMoreBits(layer, numLayers) ? "Q6_K" : undefined;
    default:
      return undefined;
  }
}

const EIGHT_EXPERTS_OUTPUT: ReadonlySet<FileType> = new Set<FileType>([
  ...(["Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS"] as const),
]);

function outputType(fileType: FileType, model: MixModel): DType | undefined {
  if (model.numExperts === 8) return EIGHT_EXPERTS_OUTPUT.has(fileType) ? "Q5_K" : undefined;
  const types: Partial<Record<FileType, DType>> = { Q2_K: "Q3_K", Q3_K_M: "Q4_K", Q3_K_L: "Q5_K" };
  return types[fileType];
}
