/** What a token asks of a machine: bytes of weights that must be read, products that must be made. */
import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import { sumBytes } from "../../checkpoint/storage-types.js";
import type { DType, PlanTensor } from "../../native/binding.js";

export interface Demand {
  /** Multiply-accumulates of the matrices in the layers, per token; attention scores and the head are not in it. */
  prefillMacs: number;
  /** Bytes of weights per token when `sequences` tokens are decoded at once, experts drawn uniformly. */
  decodeBytes(sequences: number): number;
  /** Factors of most products: those of the ceiling that prefill is measured by. */
  factors: "int8" | "bf16" | "f32";
}

export function demandOf({ config, plan }: Checkpoint, precision: "ref" | "fast"): Demand {
  const matrices = plan.tensors.filter(({ role, rows }) => role !== "embed" && rows > 1);
  const head = plan.tensors.filter(({ role }) => role === (config.tieWordEmbeddings ? "embed" : "head"));
  const isExpert = ({ role }: PlanTensor) => role.includes(".experts.");
  const routed = matrices.filter(isExpert);
  const always = matrices.filter((tensor) => !isExpert(tensor) && tensor.role !== "head");
  const chosen = config.numExperts > 0 ? config.numExpertsPerToken / config.numExperts : 0;
  const macs = (tensors: readonly PlanTensor[]) => tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  const alwaysBytes = sumBytes(always) + sumBytes(head);
  const routedBytes = sumBytes(routed);
  return {
    prefillMacs: macs(always) + chosen * macs(routed),
    decodeBytes: (sequences) => (alwaysBytes + routedBytes * (1 - (1 - chosen) ** sequences)) / sequences,
    factors: precision === "ref" ? "f32" : factorsOf(largestType(matrices)),
  };
}

function largestType(tensors: readonly PlanTensor[]): DType {
  const elements = new Map<DType, number>();
  for (const { dtype, rows, cols } of tensors) elements.set(dtype, (elements.get(dtype) ?? 0) + rows * cols);
  return [...elements].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "F32";
}

function factorsOf(dtype: DType): Demand["factors"] {
  if (dtype === "BF16") return "bf16";
  return dtype === "F32" || dtype === "F16" ? "f32" : "int8";
}
