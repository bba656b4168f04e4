/** Models with random weights: valid files of the stated shapes and types. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { FileSource } from "../../../src/checkpoint/file-source.js";
import { readGgufHeader } from "../../../src/checkpoint/gguf.js";
import { BLOCK_SHAPES } from "../../../src/checkpoint/storage-types.js";
import { writeSyntheticModel } from "../../../src/cli/bench/synthetic-model.js";
import { SYNTHETIC_SHAPES, type SyntheticShape, syntheticConfig } from "../../../src/cli/bench/synthetic-shape.js";
import { SMALLEST_VOCABULARY, syntheticTokenizerKeys } from "../../../src/cli/bench/synthetic-vocabulary.js";
import { Model } from "../../../src/index.js";
import { loadAddon } from "../../../src/native/addon.js";
import type { FileType } from "../../../src/quantize/file-type.js";
import { temporaryFolder } from "../../checkpoint/write-files.js";

/** As `mini`, and small; the width of the experts is, as that of `a27b`, no multiple of 256. */
const TINY: SyntheticShape = {
  ...SYNTHETIC_SHAPES.mini,
  ...{ hiddenSize: 512, numLayers: 4, numAttentionHeads: 8, numKeyValueHeads: 2, headDim: 64, numExperts: 6 },
  ...{ numExpertsPerToken: 2, moeIntermediateSize: 160, sharedExpertIntermediateSize: 512, vocabSize: 2048 },
};

describe("synthetic models", () => {
  const folder = temporaryFolder();
  const write = async (type: FileType): Promise<string> => {
    const path = join(folder, `${type}.gguf`);
    if (!existsSync(path)) await writeSyntheticModel(path, TINY, type, { name: "tiny" });
    return path;
  };

  it("have the shape that they name", async () => {
    const { config, numParameters, architecture } = await openCheckpoint(await write("Q4_K_M"));
    expect(architecture).toBe("qwen2_moe");
    expect(config).toMatchObject(TINY);
    const expert = 3 * 512 * 160;
    const attention = 512 * (512 + 128 + 128 + 512) + 768;
    const layer = attention + 6 * expert + 3 * 512 * 512 + 512 + 6 * 512 + 2 * 512;
    expect(numParameters).toBe(4 * layer + 2 * 2048 * 512 + 512);
  });

  // Layers 1 and 3 of 4 take more bits for attn_v and ffn_down: llama.cpp's use_more_bits with 4/8 = 0 and 28/8 = 3.
  it("take the types of llama-quantize, those of rows that 256 does not divide included", async () => {
    const types = new Map(readGgufHeader(await write("Q4_K_M")).tensors.map(({ name, type }) => [name, type.name]));
    const expected: Record<string, string> = {
      "token_embd.weight": "Q4_K",
      "output.weight": "Q6_K",
      "blk.0.attn_q.weight": "Q4_K",
      "blk.0.attn_v.weight": "Q4_K",
      "blk.2.attn_v.weight": "Q6_K",
      "blk.0.ffn_gate_inp.weight": "F32",
      "blk.0.ffn_gate_exps.weight": "Q4_K",
      "blk.0.ffn_down_exps.weight": "Q5_0",
      "blk.2.ffn_down_exps.weight": "Q8_0",
      "blk.0.ffn_down_shexp.weight": "Q4_K",
      "blk.3.ffn_down_shexp.weight": "Q6_K",
    };
    expect(Object.fromEntries(Object.keys(expected).map((name) => [name, types.get(name)]))).toEqual(expected);
  });

  it.each(["Q4_K_M", "Q8_0", "BF16"] as const)("hold normal weights of deviation 0.02 in %s", async (type) => {
    const path = await write(type);
    const { plan } = await openCheckpoint(path);
    const tensor = plan.tensors.find(({ role }) => role === "layers.1.experts.3.gate")!;
    const block = BLOCK_SHAPES[tensor.dtype];
    const source = new FileSource(path);
    const bytes = source.read(tensor.offset, (tensor.rows * tensor.cols * block.bytes) / block.elements);
    source.close();
    const values = loadAddon().dequantize(tensor.dtype, bytes);
    const moment = (power: number) => values.reduce((sum, value) => sum + (value / 0.02) ** power, 0) / values.length;
    // 81920 draws: the errors of mean, variance and kurtosis are 0.004, 0.005 and 0.02; rounding to 4 bits adds 1 % to the variance.
    expect(Math.abs(moment(1))).toBeLessThan(0.03);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.06);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.4);
  });

  it("load and generate; rows of the head differ", async () => {
    const model = await Model.load(await write("Q8_0"), { precision: "fast" });
    try {
      const { logits } = await model.forward([1, 2, 3]);
      expect(new Set(logits).size).toBeGreaterThan(0.99 * logits.length);
      const { tokenIds } = await model.generate("the quick fox", { maxTokens: 4, temperature: 0 });
      expect(tokenIds).toHaveLength(4);
      const text = "hello, wörld 東京";
      expect(await model.tokenizer.decode(await model.tokenizer.encode(text))).toBe(text);
    } finally {
      await model.dispose();
    }
  });

  it("are the same bytes each time, of the size that was announced", async () => {
    const path = join(folder, "again.gguf");
    let announced = 0;
    const onProgress = (_done: number, total: number) => {
      announced = total;
    };
    await writeSyntheticModel(path, TINY, "Q4_K_M", { name: "tiny", onProgress });
    const read = (file: string) => new FileSource(file).read(0, statSync(file).size);
    expect(statSync(path).size).toBe(announced);
    expect(read(path).equals(read(await write("Q4_K_M")))).toBe(true);
  });

  it("leave nothing behind when they are cancelled", async () => {
    const path = join(folder, "stopped.gguf");
    const options = { name: "tiny", signal: AbortSignal.abort() };
    await expect(writeSyntheticModel(path, TINY, "Q8_0", options)).rejects.toMatchObject({ code: "ABORTED" });
    expect([existsSync(path), existsSync(`${path}.partial`)]).toEqual([false, false]);
  });

  // Parameters of the three shapes as specified, in billions.
  it.each([
    ["mini", 0.541],
    ["a27b", 14.316],
    ["q57cut", 9.135],
  ] as const)("%s has %f billion parameters", (name, billions) => {
    const shape = SYNTHETIC_SHAPES[name];
    const { hiddenSize, vocabSize, numLayers } = syntheticConfig(shape, 0);
    const q = shape.numAttentionHeads * shape.headDim;
    const kv = 2 * shape.numKeyValueHeads * shape.headDim;
    const attention = hiddenSize * (2 * q + kv) + q + kv;
    const ffn = 3 * hiddenSize * (shape.numExperts * shape.moeIntermediateSize + shape.sharedExpertIntermediateSize);
    const small = hiddenSize * (shape.numExperts + 3);
    const total = (2 * vocabSize + 1) * hiddenSize + numLayers * (attention + ffn + small);
    expect(total / 1e9).toBeCloseTo(billions, 3);
  });

  it("have a text of its own for every token", () => {
    for (const size of [SMALLEST_VOCABULARY, 151_936]) {
      const tokens = syntheticTokenizerKeys(size).get("tokenizer.ggml.tokens")!.value as {
        length: number;
        at(index: number): Uint8Array;
      };
      const texts = Array.from({ length: tokens.length }, (_, id) => Buffer.from(tokens.at(id)).toString());
      expect(texts).toHaveLength(size);
      expect(new Set(texts).size).toBe(size);
    }
  });
});
