import type { DType } from "../native/binding.js";

/** How a storage type packs elements: `elements` of them, contiguous in a row, take `bytes`. */
export interface BlockShape {
  elements: number;
  bytes: number;
}

/** A storage type as a file names it, whether moescope computes with it or not. */
export interface StorageType extends BlockShape {
  name: string;
  /** Set where weights of this type can be computed with. */
  dtype?: DType;
}

/** Block sizes of the storage types that native code reads. Source: ggml's table of types; `native/core/blocks.h` agrees. */
export const BLOCK_SHAPES: Readonly<Record<DType, BlockShape>> = {
  F32: { elements: 1, bytes: 4 },
  F16: { elements: 1, bytes: 2 },
  BF16: { elements: 1, bytes: 2 },
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q8_0: { elements: 32, bytes: 34 },
  Q2_K: { elements: 256, bytes: 84 },
  Q3_K: { elements: 256, bytes: 110 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
  IQ1_S: { elements: 256, bytes: 50 },
  IQ1_M: { elements: 256, bytes: 56 },
  IQ2_XXS: { elements: 256, bytes: 66 },
  IQ2_XS: { elements: 256, bytes: 74 },
  IQ2_S: { elements: 256, bytes: 82 },
  IQ3_XXS: { elements: 256, bytes: 98 },
  IQ3_S: { elements: 256, bytes: 110 },
  IQ4_NL: { elements: 32, bytes: 18 },
  IQ4_XS: { elements: 256, bytes: 136 },
  TQ1_0: { elements: 256, bytes: 54 },
  TQ2_0: { elements: 256, bytes: 66 },
  MXFP4: { elements: 32, bytes: 17 },
  NVFP4: { elements: 64, bytes: 36 },
};

const GGML_IDS: Readonly<Record<DType, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  IQ2_XXS: 16,
  IQ2_XS: 17,
  IQ3_XXS: 18,
  IQ1_S: 19,
  IQ4_NL: 20,
  IQ3_S: 21,
  IQ2_S: 22,
  IQ4_XS: 23,
  IQ1_M: 29,
  BF16: 30,
  TQ1_0: 34,
  TQ2_0: 35,
  MXFP4: 39,
  NVFP4: 40,
};

/** Types that ggml defines and that hold no weights of our architectures; listed so that a header with them can be read. */
const GGML_OTHERS: ReadonlyArray<[number, StorageType]> = [
  [9, { name: "Q8_1", elements: 32, bytes: 36 }],
  [15, { name: "Q8_K", elements: 256, bytes: 292 }],
  [24, { name: "I8", elements: 1, bytes: 1 }],
  [25, { name: "I16", elements: 1, bytes: 2 }],
  [26, { name: "I32", elements: 1, bytes: 4 }],
  [27, { name: "I64", elements: 1, bytes: 8 }],
  [28, { name: "F64", elements: 1, bytes: 8 }],
  [41, { name: "Q1_0", elements: 128, bytes: 18 }],
  [42, { name: "Q2_0", elements: 64, bytes: 18 }],
];

const GGML_REMOVED: ReadonlyMap<number, string> = new Map([
  [4, "Q4_2"],
  [5, "Q4_3"],
  [31, "Q4_0_4_4"],
  [32, "Q4_0_4_8"],
  [33, "Q4_0_8_8"],
  [36, "IQ4_NL_4_4"],
  [37, "IQ4_NL_4_8"],
  [38, "IQ4_NL_8_8"],
]);

const GGML_TYPES: ReadonlyMap<number, StorageType> = new Map([
  ...(Object.keys(GGML_IDS) as DType[]).map((dtype): [number, StorageType] => [
    GGML_IDS[dtype],
    { name: dtype, dtype, ...BLOCK_SHAPES[dtype] },
  ]),
  ...GGML_OTHERS,
]);

/** The id of a storage type in GGUF files. */
export function ggmlTypeId(dtype: DType): number {
  return GGML_IDS[dtype];
}

/** The storage type of a GGUF type id; undefined for ids that ggml removed or never had. */
export function ggmlType(id: number): StorageType | undefined {
  return GGML_TYPES.get(id);
}

/** What to call a type id without a storage type: "4 (Q4_2, removed from ggml)". */
export function describeUnknownGgmlType(id: number): string {
  const removed = GGML_REMOVED.get(id);
  return removed === undefined ? `${id}, which ggml does not define` : `${id} (${removed}, removed from ggml)`;
}

/** Types of the safetensors format, version 0.8 of the reference implementation. */
const SAFETENSORS_TYPES: ReadonlyMap<string, StorageType> = new Map(
  (
    [
      { name: "F32", elements: 1, bytes: 4, dtype: "F32" },
      { name: "F16", elements: 1, bytes: 2, dtype: "F16" },
      { name: "BF16", elements: 1, bytes: 2, dtype: "BF16" },
      { name: "F4", elements: 2, bytes: 1 },
      { name: "F6_E2M3", elements: 4, bytes: 3 },
      { name: "F6_E3M2", elements: 4, bytes: 3 },
      ...["F64", "I64", "U64", "C64"].map((name) => ({ name, elements: 1, bytes: 8 })),
      ...["I32", "U32"].map((name) => ({ name, elements: 1, bytes: 4 })),
      ...["I16", "U16"].map((name) => ({ name, elements: 1, bytes: 2 })),
      ...["I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"].map((name) => ({
        name,
        elements: 1,
        bytes: 1,
      })),
    ] satisfies StorageType[]
  ).map((type) => [type.name, type]),
);

/** The storage type of a safetensors dtype; undefined for words that the format does not have. */
export function safetensorsType(word: string): StorageType | undefined {
  return SAFETENSORS_TYPES.get(word);
}

/** Bytes that matrices of given types take. */
export function sumBytes(matrices: ReadonlyArray<{ dtype: DType; rows: number; cols: number }>): number {
  return matrices.reduce((sum, { dtype, rows, cols }) => {
    const block = BLOCK_SHAPES[dtype];
    return sum + (rows * cols * block.bytes) / block.elements;
  }, 0);
}
