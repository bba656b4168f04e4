/** What we write, through the reader, which is tested against files of others. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readGgufHeader } from "../../src/checkpoint/gguf.js";
import type { GgufStrings, GgufValue } from "../../src/checkpoint/gguf-values.js";
import { textsValue, textValue } from "../../src/quantize/gguf-entries.js";
import { GgufWriter, ggufFileBytes, ggufHeader } from "../../src/quantize/gguf-writer.js";
import { temporaryFolder } from "../checkpoint/write-files.js";

const folder = temporaryFolder();

const VALUES: [string, GgufValue][] = [
  ["a.u8", { type: "u8", value: 255 }],
  ["a.i8", { type: "i8", value: -128 }],
  ["a.u16", { type: "u16", value: 65535 }],
  ["a.i16", { type: "i16", value: -32768 }],
  ["a.u32", { type: "u32", value: 2 ** 32 - 1 }],
  ["a.i32", { type: "i32", value: -(2 ** 31) }],
  ["a.f32", { type: "f32", value: Math.fround(1e-6) }],
  ["a.f64", { type: "f64", value: 0.1 }],
  ["a.u64", { type: "u64", value: 2n ** 64n - 1n }],
  ["a.i64", { type: "i64", value: -(2n ** 63n) }],
  ["a.bool", { type: "bool", value: true }],
  ["a.text", textValue("Köln, 東京")],
  ["a.empty", textValue("")],
  ["a.ids", { type: "array", of: "i32", value: Int32Array.of(1, -2, 3) }],
  ["a.scores", { type: "array", of: "f32", value: Float32Array.of(-1.5, 0) }],
];

describe("GgufWriter", () => {
  const tensors = [
    { name: "first.weight", dtype: "Q8_0", shape: [3, 64], bytes: 204 },
    { name: "experts.weight", dtype: "F16", shape: [2, 3, 5], bytes: 60 },
    { name: "last.bias", dtype: "F32", shape: [7], bytes: 28 },
  ] as const;

  it("writes what the reader reads", async () => {
    const path = join(folder, "all.gguf");
    const texts = ["", "the", "Ġa", "\u{1f600}"];
    const header = ggufHeader(new Map([...VALUES, ["a.texts", textsValue(texts)]]), tensors);
    const writer = await GgufWriter.create(path, header);
    for (const [index, { bytes }] of tensors.entries()) {
      await writer.write(new Uint8Array(bytes).fill(index + 1));
      await writer.endTensor(bytes);
    }
    expect(existsSync(path)).toBe(false);
    await writer.finish();

    const bytes = readFileSync(path);
    expect(bytes.length).toBe(ggufFileBytes(header, tensors));
    const read = readGgufHeader(path);
    expect(read.version).toBe(3);
    for (const [key, value] of VALUES) {
      const found = read.metadata.get(key)!;
      // Bytes of a string, be they a Buffer or not.
      const plain = (of: GgufValue) => (of.type === "string" ? Buffer.from(of.value).toString("hex") : of);
      expect(plain(found), key).toEqual(plain(value));
    }
    const strings = read.metadata.get("a.texts")!.value as GgufStrings;
    expect(Array.from({ length: strings.length }, (_, i) => Buffer.from(strings.at(i)).toString())).toEqual(texts);
    expect(read.tensors.map(({ name, type, shape, sizeBytes }) => [name, type.name, shape, sizeBytes])).toEqual(
      tensors.map(({ name, dtype, shape, bytes: size }) => [name, dtype, shape, size]),
    );
    for (const [index, { offset, sizeBytes }] of read.tensors.entries()) {
      expect(offset % 32).toBe(0);
      expect(bytes.subarray(offset, offset + sizeBytes).every((byte) => byte === index + 1)).toBe(true);
    }
  });

  it("leaves nothing behind when it is discarded", async () => {
    const path = join(folder, "half.gguf");
    const writer = await GgufWriter.create(path, ggufHeader(new Map(), tensors));
    await writer.write(new Uint8Array(10));
    await writer.discard();
    expect([existsSync(path), existsSync(`${path}.partial`)]).toEqual([false, false]);
  });

  it("says which place cannot be written to", async () => {
    const path = join(folder, "no", "such.gguf");
    await expect(GgufWriter.create(path, Buffer.alloc(0))).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining(path),
    });
  });
});
