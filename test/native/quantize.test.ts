/** Our quantisers against those of ggml on the same rows; native/test/quantize_test.cpp has what needs no files. */

import { describe, expect, it } from "vitest";
import { loadAddon } from "../../src/native/addon.js";
import type { DType } from "../../src/native/binding.js";
import { floats, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";

const folder = "golden/gguf/dequant";

const TYPES = [
  ...(["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"] as const),
  ...(["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"] as const),
] satisfies DType[];

/** Root of the mean squared difference over the first `count` values. */
function rmse(actual: Float32Array, expected: Float32Array, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += (actual[i]! - expected[i]!) ** 2;
  return Math.sqrt(sum / count);
}

function roundTrip(type: DType, values: Float32Array, cols: number): Float32Array {
  return loadAddon().dequantize(type, loadAddon().quantize(type, values, cols));
}

describeWithGoldens("quantize of goldens", folder, () => {
  // Edge rows, in the order of the goldens' README: one of each stands behind the plain ones.
  const EDGES = ["zero", "constant", "Student t", "one sign", "single outlier", "large"];

  it.each(TYPES)("%s is no farther from the source than ggml's blocks", (type) => {
    const tensors = readSafetensors(sharedPath(folder, `${type}.safetensors`));
    const source = floats(tensors, "src");
    const theirs = floats(tensors, "values").subarray(0, source.length);
    const cols = tensors.get("src")!.shape[1]!;
    const edgeRows = cols === 1 ? 0 : EDGES.length;
    const ours = roundTrip(type, source, cols);
    const plain = source.length - edgeRows * cols;
    expect(rmse(ours, source, plain)).toBeLessThanOrEqual(rmse(theirs, source, plain));
    expect(ours.every(Number.isFinite)).toBe(true);
    for (let edge = 0; edge < edgeRows; edge++) {
      const row = (values: Float32Array) => values.subarray(plain + edge * cols, plain + (edge + 1) * cols);
      // Half a percent of the row's size: a constant row hangs on the few digits of a factor that is a subnormal half.
      const slack = 5e-3 * rmse(row(source), new Float32Array(cols), cols);
      expect(rmse(row(ours), row(source), cols), EDGES[edge]).toBeLessThanOrEqual(
        1.02 * rmse(row(theirs), row(source), cols) + slack,
      );
    }
  });

  it.each(["F16", "BF16"] as const)("%s rounds as ggml does, bit for bit", (type) => {
    const tensors = readSafetensors(sharedPath(folder, `${type}.safetensors`));
    const source = floats(tensors, "src");
    const blocks = loadAddon().quantize(type, source, source.length);
    const expected = (tensors.get("blocks")!.values as Uint8Array).subarray(0, blocks.length);
    expect(Buffer.compare(blocks, expected)).toBe(0);
  });
});

describe("convertRows", () => {
  const cols = 256;
  const values = Float32Array.from({ length: 9 * cols }, (_, i) => Math.sin(i * i) / 50);
  const request = { from: "F32", source: new Uint8Array(values.buffer), to: "Q4_K", cols, firstRow: 0 } as const;

  it("gives the bytes of quantize, on any number of threads", async () => {
    const expected = loadAddon().quantize("Q4_K", values, cols);
    for (const threads of [1, 2, 5]) {
      expect(await loadAddon().convertRows({ ...request, threads })).toEqual(expected);
    }
  });

  it("refuses what is not finite, by row and column", async () => {
    const broken = values.slice();
    broken[3 * cols + 7] = Number.NEGATIVE_INFINITY;
    const source = new Uint8Array(broken.buffer);
    await expect(loadAddon().convertRows({ ...request, source, firstRow: 100, threads: 2 })).rejects.toMatchObject({
      code: "BAD_FILE",
      message: "Expected finite weights, got an infinity in row 103, column 7.",
    });
  });

  it("refuses part of a row, and a type that can only be read", async () => {
    const source = request.source.subarray(4);
    await expect(loadAddon().convertRows({ ...request, source, threads: 1 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(loadAddon().convertRows({ ...request, to: "IQ3_S", threads: 1 })).rejects.toMatchObject({
      code: "UNSUPPORTED",
    });
    expect(() => loadAddon().quantize("Q4_K", values, 100)).toThrow(/multiple of 256/);
  });
});
