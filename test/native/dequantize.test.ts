/** Every block type against blocks that others dequantised, bit for bit; native/test/blocks_test.cpp has what needs no files. */

import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadAddon } from "../../src/native/addon.js";
import type { DType } from "../../src/native/binding.js";
import { floats, type GoldenTensor, readSafetensors } from "../golden/safetensors.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";

const folder = "golden/gguf/dequant";

const blockTypes: DType[] = [
  ...(["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"] as const),
  ...(["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS"] as const),
  ...(["TQ1_0", "TQ2_0", "MXFP4", "NVFP4"] as const),
];

/** Index of the first value with other bits than expected, two NaN being alike; -1 if there is none. */
function firstDifference(actual: Float32Array, expected: Float32Array): number {
  const actualBits = new Uint32Array(actual.buffer, actual.byteOffset, actual.length);
  const expectedBits = new Uint32Array(expected.buffer, expected.byteOffset, expected.length);
  return expectedBits.findIndex((bits, i) => {
    const bothNaN = Number.isNaN(actual[i]) && Number.isNaN(expected[i]);
    return actualBits[i] !== bits && !bothNaN;
  });
}

describeWithGoldens("dequantize of goldens", folder, () => {
  const addon = loadAddon();
  const files = readdirSync(sharedPath(folder)).filter((name) => name.endsWith(".safetensors"));

  it("has a golden for every block type", () => {
    expect(files.map((name) => name.replace(".safetensors", ""))).toEqual(expect.arrayContaining(blockTypes));
  });

  it.each(files)("gives the values of %s bit for bit", (name) => {
    const type = name.replace(".safetensors", "") as DType;
    const tensors = readSafetensors(sharedPath(folder, name));
    const blocks = tensors.get("blocks") as GoldenTensor<Uint8Array>;
    const expected = floats(tensors, "values");
    const shape = { elements: tensors.get("values")?.shape[1], bytes: blocks.shape[1] };
    expect(addon.blockShape(type)).toEqual(shape);

    const actual = addon.dequantize(type, blocks.values);
    expect(actual.length).toBe(expected.length);
    const at = firstDifference(actual, expected);
    expect(at, `${type}: value ${at} is ${actual[at]}, expected ${expected[at]}`).toBe(-1);
  });
});

describe("dequantize of a buffer", () => {
  it("takes a view at any address", () => {
    const { elements, bytes } = loadAddon().blockShape("Q6_K");
    const block = Uint8Array.from({ length: bytes }, (_, k) => (37 * k + 11) % 256);
    const shifted = new Uint8Array(bytes + 3);
    shifted.set(block, 3);
    const expected = loadAddon().dequantize("Q6_K", block);
    expect(expected.length).toBe(elements);
    expect(firstDifference(loadAddon().dequantize("Q6_K", shifted.subarray(3)), expected)).toBe(-1);
  });

  it("refuses part of a block, and a type that it does not know", () => {
    const addon = loadAddon();
    const refused = (call: () => unknown): unknown => {
      try {
        call();
      } catch (error) {
        return (error as { code?: unknown }).code;
      }
      return "not refused";
    };
    expect(refused(() => addon.dequantize("Q4_K", new Uint8Array(143)))).toBe("INVALID_ARGUMENT");
    expect(refused(() => addon.dequantize("Q8_K" as DType, new Uint8Array(292)))).toBe("UNSUPPORTED");
    expect(refused(() => addon.blockShape("q4_k" as DType))).toBe("UNSUPPORTED");
    expect(addon.dequantize("Q4_K", new Uint8Array(0)).length).toBe(0);
  });
});
