import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { floats, ints, readSafetensors } from "./safetensors.js";
import { describeWithGoldens, missingShared, sharedPath } from "./shared.js";

const folder = mkdtempSync(join(tmpdir(), "moescope-golden-"));
afterAll(() => rmSync(folder, { recursive: true }));

function writeTensors(tensors: Record<string, { dtype: string; shape: number[]; bytes: Uint8Array }>): string {
  let offset = 0;
  const header: Record<string, object> = { __metadata__: { format: "pt" } };
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = join(folder, `${Object.keys(tensors).join("-")}.safetensors`);
  writeFileSync(file, Buffer.concat([length, text, ...Object.values(tensors).map((tensor) => tensor.bytes)]));
  return file;
}

it("reads every dtype of the goldens, at any alignment", () => {
  const view = (values: ArrayBufferView) => new Uint8Array(values.buffer);
  const tensors = readSafetensors(
    writeTensors({
      u8: { dtype: "U8", shape: [3], bytes: new Uint8Array([1, 2, 255]) },
      f32: { dtype: "F32", shape: [1, 2], bytes: view(new Float32Array([1.5, -2])) },
      f64: { dtype: "F64", shape: [1], bytes: view(new Float64Array([0.1])) },
      i32: { dtype: "I32", shape: [1], bytes: view(new Int32Array([-7])) },
      i64: { dtype: "I64", shape: [1], bytes: view(new BigInt64Array([-8n])) },
      bf16: { dtype: "BF16", shape: [2], bytes: view(new Uint16Array([0x3fc0, 0xc000])) },
      f16: { dtype: "F16", shape: [5], bytes: view(new Uint16Array([0x3c00, 0xc200, 0x0001, 0x7c00, 0x7e00])) },
    }),
  );
  expect(tensors.get("u8")?.values).toEqual(new Uint8Array([1, 2, 255]));
  expect(tensors.get("f32")?.shape).toEqual([1, 2]);
  expect(floats(tensors, "f32")).toEqual(new Float32Array([1.5, -2]));
  expect(tensors.get("f64")?.values).toEqual(new Float64Array([0.1]));
  expect(ints(tensors, "i32")).toEqual(new Int32Array([-7]));
  expect(tensors.get("i64")?.values).toEqual(new BigInt64Array([-8n]));
  expect(floats(tensors, "bf16")).toEqual(new Float32Array([1.5, -2]));
  expect(floats(tensors, "f16")).toEqual(new Float32Array([1, -3, 2 ** -24, Number.POSITIVE_INFINITY, Number.NaN]));
});

it("names a tensor that is absent or of another type", () => {
  const tensors = readSafetensors(writeTensors({ only: { dtype: "I32", shape: [1], bytes: new Uint8Array(4) } }));
  expect(() => floats(tensors, "logits")).toThrow("No tensor logits among only.");
  expect(() => floats(tensors, "only")).toThrow("Tensor only is I32, expected Float32Array.");
});

it("names what is missing from the shared folder", () => {
  expect(missingShared(["no/such/golden"])).toContain("no/such/golden not found in");
});

describeWithGoldens("golden files", "golden/models", () => {
  it("hold logits of one row per token", () => {
    const expected = readSafetensors(sharedPath("golden/models/qwen2moe-e8k2/expected.safetensors"));
    expect(expected.get("a.logits")?.shape).toEqual([48, 1024]);
    expect(floats(expected, "a.logits").every(Number.isFinite)).toBe(true);
    expect(expected.get("a.topk_experts.0")?.shape).toEqual([48, 2]);
    expect(ints(expected, "a.topk_experts.0").every((expert) => expert >= 0 && expert < 8)).toBe(true);
  });
});
