/** Reads every weight of a checkpoint once, in bounded pieces, and looks for numbers that no healthy model has. */
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { withFile } from "../checkpoint/file-source.js";
import { throwIfAborted } from "../model/native-error.js";
import { loadAddon } from "../native/addon.js";
import type { PlanTensor } from "../native/binding.js";

/** What is wrong with one matrix. */
export interface WeightFault {
  /** Name in the file. */
  tensor: string;
  /** What it is, e.g. `layers.3.experts.5.up`. */
  role: string;
  layer?: number;
  expert?: number | "shared";
  dtype: string;
  nan: number;
  infinite: number;
  /** Quantised blocks, or rows of float weights, in which every weight is 0: a scale that was lost. */
  zeroBlocks: number;
  blocks: number;
}

export interface WeightHealth {
  tensors: number;
  weights: number;
  faults: WeightFault[];
}

/** Elements that are dequantised at once. */
const PIECE_ELEMENTS = 1 << 20;

/**
 * Scans all weights. A matrix is a fault where it has a NaN, an infinity, or a block of zeros; vectors (norms, biases) may hold zeros.
 * @throws CheckpointError for a file that cannot be read; AbortError
 */
export async function weightHealth(
  { plan }: Checkpoint,
  options: { signal?: AbortSignal; onProgress?: (done: number, total: number) => void } = {},
): Promise<WeightHealth> {
  const faults: WeightFault[] = [];
  let weights = 0;
  const total = plan.tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  for (const tensor of plan.tensors) {
    const path = plan.files[tensor.file]!;
    const fault = newFault(tensor);
    for (const piece of pieces(tensor)) {
      throwIfAborted(options.signal);
      const bytes = withFile(path, (source) => source.read(piece.offset, piece.bytes));
      count(loadAddon().dequantize(tensor.dtype, bytes), blockElements(tensor), fault);
      weights += piece.elements;
      options.onProgress?.(weights, total);
      await new Promise(setImmediate); // Ctrl-C and the progress bar get their turn
    }
    const zeros = tensor.rows > 1 ? fault.zeroBlocks : 0;
    if (fault.nan + fault.infinite + zeros > 0) faults.push(fault);
  }
  return { tensors: plan.tensors.length, weights, faults };
}

/** Elements that share a scale: a block of a quantised type, a row of a float one. */
function blockElements({ dtype, cols }: PlanTensor): number {
  const { elements } = loadAddon().blockShape(dtype);
  return elements === 1 ? cols : elements;
}

/** Stretches of whole rows or, in a long row, of whole blocks. */
function* pieces(tensor: PlanTensor): Generator<{ offset: number; bytes: number; elements: number }> {
  const shape = loadAddon().blockShape(tensor.dtype);
  const unit = blockElements(tensor);
  const step = Math.max(1, Math.floor(PIECE_ELEMENTS / unit)) * unit;
  const all = tensor.rows * tensor.cols;
  for (let start = 0; start < all; start += step) {
    const elements = Math.min(step, all - start);
    yield {
      offset: tensor.offset + (start / shape.elements) * shape.bytes,
      bytes: (elements / shape.elements) * shape.bytes,
      elements,
    };
  }
}

function newFault({ role, name, dtype, rows, cols }: PlanTensor): WeightFault {
  const layer = /^layers\.(\d+)\./.exec(role)?.[1];
  const expert = /\.experts\.(\d+)\./.exec(role)?.[1];
  const isShared = /\.shared[._]/.test(role);
  const elements = loadAddon().blockShape(dtype).elements;
  return {
    tensor: name,
    role,
    layer: layer === undefined ? undefined : Number(layer),
    expert: expert !== undefined ? Number(expert) : isShared ? "shared" : undefined,
    dtype,
    nan: 0,
    infinite: 0,
    zeroBlocks: 0,
    blocks: elements === 1 ? rows : (rows * cols) / elements,
  };
}

function count(values: Float32Array, block: number, fault: WeightFault): void {
  for (let start = 0; start < values.length; start += block) {
    const end = Math.min(start + block, values.length);
    let isZero = true;
    for (let i = start; i < end; i++) {
      const value = values[i]!;
      if (value !== 0) isZero = false;
      // A difference with itself is 0 for every finite number.
      if (value - value === 0) continue;
      if (Number.isNaN(value)) fault.nan++;
      else fault.infinite++;
    }
    if (isZero) fault.zeroBlocks++;
  }
}

/** One line for people. */
export function describeFault({
  tensor,
  layer,
  expert,
  dtype,
  nan,
  infinite,
  zeroBlocks,
  blocks,
}: WeightFault): string {
  const place = [
    ...(layer === undefined ? [] : [`layer ${layer}`]),
    ...(expert === undefined ? [] : [expert === "shared" ? "shared expert" : `expert ${expert}`]),
  ].join(", ");
  const what = [
    ...(nan > 0 ? [`${nan} NaN`] : []),
    ...(infinite > 0 ? [`${infinite} infinite`] : []),
    ...(zeroBlocks > 0 ? [`${zeroBlocks} of ${blocks} ${/^B?F/.test(dtype) ? "rows" : "blocks"} all zero`] : []),
  ].join(", ");
  return `${tensor}${place === "" ? "" : ` (${place})`}: ${what}`;
}
