import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.js";
import { safetensorsHeader, temporaryFolder } from "./write-files.js";

const folder = temporaryFolder();
const path = join(folder, "x.safetensors");

/** Reads a file with this header and `dataBytes` bytes after it. */
function read(header: object | string, dataBytes: number = 0) {
  const text = typeof header === "string" ? header : JSON.stringify(header);
  writeFileSync(path, Buffer.concat([safetensorsHeader(text), Buffer.alloc(dataBytes)]));
  return readSafetensorsHeader(path);
}

const f32 = (shape: number[], begin: number, end: number) => ({ dtype: "F32", shape, data_offsets: [begin, end] });

describe("a safetensors header", () => {
  it("gives tensors in the order of their data, at absolute offsets", () => {
    const header = { b: f32([1, 2], 4, 12), a: f32([], 0, 4), __metadata__: { format: "pt" } };
    const { tensors, metadata } = read(header, 12);
    const start = 8 + JSON.stringify(header).length;
    expect(tensors.map(({ name, shape, offset, sizeBytes }) => [name, shape, offset - start, sizeBytes])).toEqual([
      ["a", [], 0, 4],
      ["b", [1, 2], 4, 8],
    ]);
    expect({ ...metadata }).toEqual({ format: "pt" });
  });

  it("may hold empty tensors anywhere, spaces at its end and fields that nobody knows", () => {
    const empty = f32([0, 2 ** 32, 2 ** 31], 4, 4);
    const text = `${JSON.stringify({ a: { ...f32([1], 0, 4), note: 1 }, e: empty, b: f32([1], 4, 8) })}   `;
    expect(read(text, 8).tensors.map(({ name }) => name)).toEqual(["a", "e", "b"]);
  });

  it("measures types that pack several elements into a byte", () => {
    const packed = (dtype: string, shape: number[], end: number) => () =>
      read({ a: { dtype, shape, data_offsets: [0, end] } }, end);
    expect(packed("F4", [2, 4], 4)().tensors[0]!.sizeBytes).toBe(4);
    expect(packed("F6_E2M3", [8], 6)().tensors[0]!.sizeBytes).toBe(6);
    expect(packed("F4", [3], 2)).toThrow('Shape [3] of F4 does not take the 2 bytes of data_offsets of tensor "a"');
    expect(packed("F4", [3], 1)).toThrow("Shape [3] of F4");
  });

  it("says at which byte a hole or an overlap is", () => {
    expect(() => read({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12)).toThrow(
      `Data of tensor "b" in ${path} leaves a hole before it: expected it to begin at byte 4 of the data, it begins at 8.`,
    );
    expect(() => read({ a: f32([1], 0, 4), b: f32([1], 2, 6) }, 6)).toThrow(
      `Data of tensor "b" in ${path} overlaps the tensor before it: expected it to begin at byte 4 of the data, it begins at 2.`,
    );
    expect(() => read({ a: f32([1], 0, 4) }, 6)).toThrow(
      `${path} has 2 bytes after its last tensor: the file is corrupt.`,
    );
  });

  it("is refused where an entry or the metadata is none", () => {
    const cases: Array<[object | string, string]> = [
      ["[]", `Expected a JSON object as the header of ${path}, found an array of 0.`],
      [{ a: null }, `Expected an object as entry of tensor "a" in ${path}, found null.`],
      [
        { a: { ...f32([1], 0, 4), dtype: "F128" } },
        `Expected a dtype of the safetensors format of tensor "a" in ${path}, found "F128".`,
      ],
      [
        { a: { ...f32([1], 0, 4), shape: "1" } },
        `Expected a list of sizes as shape of tensor "a" in ${path}, found "1".`,
      ],
      [
        { a: { ...f32([1], 0, 4), data_offsets: [0] } },
        `Expected data_offsets [begin, end] of tensor "a" in ${path}, found [0].`,
      ],
      [{ __metadata__: [] }, `Expected __metadata__ of ${path} to be an object, found an array of 0.`],
      [{ __metadata__: { a: 1 } }, `Expected text as __metadata__ "a" of ${path}, found 1 (number).`],
      ['{"a": [[[[[[[[1]]]]]]]]}', `JSON in ${path} is nested deeper than 8 levels.`],
    ];
    for (const [header, sentence] of cases) expect(() => read(header, 4), sentence).toThrow(sentence);
    writeFileSync(path, "short");
    expect(() => readSafetensorsHeader(path)).toThrow(`Expected a safetensors file, found 5 bytes in ${path}.`);
  });
});
