/**
 * What a decode step and a prefill of Qwen2-57B-A14B should take on a card: bytes, multiply-adds and launches of each kernel of
 * native/cuda, the occupancy that its registers leave, and the card's limits. Nothing here was measured on a card; docs/cuda.md says what is assumed,
 * so that a measurement can refute it.
 */
import { REGISTERS } from "./resources.mjs";

/** Data sheets: memory in GB/s, dense tensor rate of bf16 in TFLOP/s (int8: twice that), fp32 instructions per multiprocessor and clock. */
export const CARDS = {
  H100: {
    target: 90,
    bandwidth: 3350,
    bf16: 990,
    multiprocessors: 132,
    clockGHz: 1.755,
    threads: 2048,
    sharedBytes: 228 * 1024,
  },
  H200: {
    target: 90,
    bandwidth: 4800,
    bf16: 990,
    multiprocessors: 132,
    clockGHz: 1.755,
    threads: 2048,
    sharedBytes: 228 * 1024,
  },
  A100: {
    target: 80,
    bandwidth: 2039,
    bf16: 312,
    multiprocessors: 108,
    clockGHz: 1.41,
    threads: 2048,
    sharedBytes: 164 * 1024,
  },
  L40S: {
    target: 89,
    bandwidth: 864,
    bf16: 362,
    multiprocessors: 142,
    clockGHz: 2.52,
    threads: 1536,
    sharedBytes: 100 * 1024,
  },
};

/** See docs/cuda.md for the reason of each. */
export const ASSUMED = {
  streamingShare: 0.92, // of the data sheet's bandwidth that any kernel can read
  latencyNs: 700, // of a read of device memory under load
  cacheLatencyNs: 300, // of a read of what the kernel before has written: the second-level cache
  clockBytes: 64, // that a multiprocessor takes from that cache in a clock
  launchUs: 1.3, // from one kernel of a graph to the next: drain, start, first loads
  mmaSyncShare: { 80: 0.9, 86: 0.9, 89: 0.9, 90: 0.62 }, // of the tensor rate that mma.sync reaches
  tileShare: 0.7, // of that, in tiles with copies under way
  scaleInstructions: 4, // for each row, column and unit of 32: convert, two multiply-adds, a multiply
};

/** engine.md 1.1. */
const SHAPE = {
  layers: 28,
  hidden: 3584,
  heads: 28,
  kvHeads: 4,
  headDim: 128,
  experts: 64,
  topK: 8,
  expertFfn: 2560,
  sharedFfn: 20480,
  vocab: 151936,
};

const BYTES = { BF16: 2, Q8_0: 34 / 32, Q4_K: 144 / 256, Q5_K: 176 / 256, Q6_K: 210 / 256 };

/** Types of the files: that of most matrices, and that of the better layers' v and down and of the head. */
const FILES = {
  BF16: ["BF16", "BF16"],
  Q8_0: ["Q8_0", "Q8_0"],
  Q5_K_M: ["Q5_K", "Q6_K"],
  Q4_K_M: ["Q4_K", "Q6_K"],
};

/** Layers whose v and down have more bits in llama.cpp's K_M mixes: `use_more_bits` of its quantisation. */
function hasMoreBits(layer) {
  const eighth = Math.floor(SHAPE.layers / 8);
  return layer < eighth || layer >= Math.floor((7 * SHAPE.layers) / 8) || (layer - eighth) % 3 === 2;
}

/** Distinct experts that `rows` rows choose in a layer, on average, with routes that are uniform and independent. */
export function distinctExperts(rows) {
  return SHAPE.experts * (1 - (1 - SHAPE.topK / SHAPE.experts) ** rows);
}

/**
 * The kernels of one step with `rows` rows, each at `context` positions. `macs`: multiply-adds; `name`: of the kernel in resources.json;
 * `threadBytes`: what a thread has under way.
 */
export function kernelsOf(file, rows, context) {
  const { hidden, heads, kvHeads, headDim, experts, topK, expertFfn, sharedFfn, vocab, layers } = SHAPE;
  const [most, better] = FILES[file];
  const attentionIn = hidden * (heads + kvHeads) * headDim;
  const product = (name, weights, bytes, blocks) => ({
    name,
    macs: weights * rows,
    bytes,
    blocks,
    threads: 256,
    threadBytes: most === "BF16" ? 128 : 160,
    isCached: false,
  });
  const small = (name, bytes, blocks, threads, threadBytes = 16) => {
    return { name, macs: 0, bytes, blocks, threads, threadBytes, isCached: true };
  };
  const active = distinctExperts(rows);
  const list = [];
  for (let layer = 0; layer < layers; ++layer) {
    const down = hasMoreBits(layer) ? better : most;
    const v = hidden * kvHeads * headDim;
    const qRows = (heads + 2 * kvHeads) * headDim;
    list.push(product("attend_in", attentionIn + v, attentionIn * BYTES[most] + v * BYTES[down], qRows / 64));
    const kv = 2 * kvHeads * headDim * 2 * rows * context;
    list.push({ ...small("attend", kv, rows * kvHeads * Math.ceil(context / 256), 128, 64), isCached: false });
    list.push(small("attend_merge", rows * heads * headDim * 8, (rows * heads * headDim) / 256, 256));
    list.push(product("matmul", heads * headDim * hidden, heads * headDim * hidden * BYTES[most], hidden / 64));
    list.push(small("rms_norm", rows * hidden * 8, rows, 256));
    const scoreTiles = Math.ceil(rows / 8);
    const scoreBytes = (experts + 1) * hidden * 4 * scoreTiles;
    list.push({ ...small("score", scoreBytes, (experts + 1) * scoreTiles, 128, 64), isCached: false });
    list.push(small("decide", rows * experts * 4, rows, 32));
    const inner = 2 * hidden * (expertFfn * topK + sharedFfn);
    const innerBytes = 2 * hidden * (expertFfn * active + sharedFfn) * BYTES[most];
    list.push(product("experts_in", inner, innerBytes, (2 * (expertFfn * active + sharedFfn)) / 64));
    const outBytes = hidden * (expertFfn * active + sharedFfn) * BYTES[down];
    list.push(product("experts_out", inner / 2, outBytes, (hidden / 64) * (active + 1)));
    list.push(small("combine", rows * hidden * 4 * (topK + 3), rows, 256, 32));
  }
  list.push(product("matmul", hidden * vocab, hidden * vocab * BYTES[better], vocab / 64));
  for (const name of ["embed", "rope_table", "rms_norm", "logit_stats", "answer"]) list.push(small(name, 0, rows, 256));
  return list;
}

/** Blocks of a kernel that a multiprocessor holds at once, from what ptxas says of it; undefined kernels get two. */
function residentBlocks(kernel, card, resources) {
  const found = resources.find((one) => one.target === card.target && one.kernel.startsWith(`${kernel.name}_kernel`));
  if (found === undefined) return 2;
  return Math.max(
    1,
    Math.min(Math.floor(REGISTERS / (found.registers * kernel.threads)), Math.floor(card.threads / kernel.threads)),
  );
}

/** Microseconds of one kernel: what its slowest limit takes. */
function kernelUs(kernel, card, resources) {
  const resident = Math.min(kernel.blocks, residentBlocks(kernel, card, resources) * card.multiprocessors);
  const underWay = resident * kernel.threads * kernel.threadBytes;
  const busy = Math.min(kernel.blocks, card.multiprocessors);
  const arriving = underWay / (kernel.isCached ? ASSUMED.cacheLatencyNs : ASSUMED.latencyNs); // bytes per ns
  const memory = kernel.isCached ? Number.POSITIVE_INFINITY : card.bandwidth * ASSUMED.streamingShare;
  return kernel.bytes / Math.min(arriving, memory, busy * ASSUMED.clockBytes * card.clockGHz) / 1000;
}

/** A decode step of `rows` sequences: `{ stepMs, tokensPerSecond, bytes, launches, rooflineShare, streamingShare }`. */
export function predictDecode(card, file, rows, context, resources) {
  const kernels = kernelsOf(file, rows, context);
  const bytes = kernels.reduce((sum, kernel) => sum + (kernel.isCached ? 0 : kernel.bytes), 0);
  const stepUs = kernels.reduce((sum, kernel) => sum + kernelUs(kernel, card, resources) + ASSUMED.launchUs, 0);
  const rooflineUs = bytes / card.bandwidth / 1000;
  return {
    stepMs: stepUs / 1000,
    tokensPerSecond: (rows * 1e6) / stepUs,
    bytes,
    launches: kernels.length,
    rooflineShare: rooflineUs / stepUs,
    streamingShare: rooflineUs / ASSUMED.streamingShare / stepUs,
  };
}

/** A prefill of `tokens` at once by tiles of mma.sync; the head runs for the last token alone. */
export function predictPrefill(card, file, tokens) {
  const kernels = kernelsOf(file, 1, 1).slice(0, -6);
  const weights = kernels.reduce((sum, kernel) => sum + kernel.macs, 0);
  const attention = SHAPE.layers * SHAPE.heads * SHAPE.headDim * tokens; // of q k and p v for half of the keys, for each token
  const isFloat = file === "BF16";
  const rate = card.bf16 * 1e12 * ASSUMED.mmaSyncShare[card.target] * ASSUMED.tileShare;
  const products = (2 * weights) / (isFloat ? rate : 2 * rate);
  const fp32 = card.multiprocessors * 128 * card.clockGHz * 1e9;
  const scales = isFloat ? 0 : ((weights / 32) * ASSUMED.scaleInstructions) / fp32;
  const seconds = tokens * (Math.max(products, scales) + (2 * attention) / rate);
  return { tokensPerSecond: tokens / seconds, matrixShare: (2 * weights * tokens) / seconds / (card.bf16 * 1e12) };
}
