import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readGgufHeader } from "../../src/checkpoint/gguf.js";
import { readGgufModel } from "../../src/checkpoint/gguf-split.js";
import { type GgufPair, type GgufTensorSource, ggufBytes, temporaryFolder } from "./write-files.js";

const folder = temporaryFolder();

function write(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const header = (pairs: GgufPair[], tensors: GgufTensorSource[] = []) =>
  readGgufHeader(write("x.gguf", ggufBytes(pairs, tensors)));

describe("GGUF metadata", () => {
  const { metadata } = header([
    ["a.u8", "u8", 255],
    ["a.i8", "i8", -1],
    ["a.i64", "i64", -(2n ** 40n)],
    ["a.u64", "u64", 7n],
    ["a.u64-large", "u64", 2n ** 63n],
    ["a.f32", "f32", 0.5],
    ["a.f64", "f64", -0.1],
    ["a.bool", "bool", 1],
    ["a.text", "string", "né"],
    ["a.bytes", "string", Uint8Array.of(0xff)],
    ["a.tokens", "array string", ["a", Uint8Array.of(0xe4, 0xbd), "", "ccc"]],
    ["a.types", "array i32", [1, -2, 3]],
    ["a.scores", "array f32", [0.5, -1]],
    ["a.none", "array f32", []],
  ]);

  it("gives values by type, whole numbers of any width", () => {
    expect(metadata.integer("a.u8")).toBe(255);
    expect(metadata.integer("a.i8")).toBe(-1);
    expect(metadata.integer("a.i64")).toBe(-(2 ** 40));
    expect(metadata.integer("a.u64")).toBe(7);
    expect(metadata.float("a.f32")).toBe(0.5);
    expect(metadata.float("a.f64")).toBe(-0.1);
    expect(metadata.boolean("a.bool")).toBe(true);
    expect(metadata.text("a.text")).toBe("né");
    expect([...metadata.numbers("a.types", "integers")!]).toEqual([1, -2, 3]);
    expect([...metadata.numbers("a.scores", "floats")!]).toEqual([0.5, -1]);
    expect(metadata.numbers("a.none", "floats")).toHaveLength(0);
    expect(metadata.integer("absent")).toBeUndefined();
    expect(metadata.keys()).toHaveLength(14);
  });

  it("keeps tokens as bytes, UTF-8 or not", () => {
    const tokens = metadata.strings("a.tokens")!;
    expect(tokens).toHaveLength(4);
    expect(Array.from({ length: 4 }, (_, id) => [...tokens.at(id)])).toEqual([[97], [0xe4, 0xbd], [], [99, 99, 99]]);
    expect(tokens.at(4)).toHaveLength(0);
  });

  it("refuses a value of another type by its key", () => {
    const path = metadata.path;
    expect(() => metadata.integer("a.f32")).toThrow(`Expected a whole number for a.f32 in ${path}, found f32.`);
    expect(() => metadata.integer("a.u64-large")).toThrow(
      `Expected a whole number for a.u64-large in ${path}, found u64.`,
    );
    expect(() => metadata.integer("a.types")).toThrow("found an array of i32.");
    expect(() => metadata.float("a.u8")).toThrow(`Expected a floating-point number for a.u8 in ${path}, found u8.`);
    expect(() => metadata.boolean("a.u8")).toThrow(`Expected a bool for a.u8 in ${path}, found u8.`);
    expect(() => metadata.text("a.u8")).toThrow(`Expected a string for a.u8 in ${path}, found u8.`);
    expect(() => metadata.text("a.bytes")).toThrow(`Expected UTF-8 for a.bytes in ${path}, found other bytes.`);
    expect(() => metadata.strings("a.types")).toThrow(
      `Expected an array of strings for a.types in ${path}, found an array of i32.`,
    );
    expect(() => metadata.numbers("a.types", "floats")).toThrow(
      "Expected an array of floating-point numbers for a.types",
    );
    expect(() => metadata.numbers("a.scores", "integers")).toThrow("Expected an array of whole numbers for a.scores");
  });

  it("takes long templates, and no longer ones", () => {
    const template = "x".repeat(4 << 20);
    expect(header([["tokenizer.chat_template", "string", template]]).metadata.text("tokenizer.chat_template")).toBe(
      template,
    );
    expect(() => header([["tokenizer.chat_template", "string", `${template}x`]])).toThrow(
      "Expected at most 4194304 for",
    );
    expect(() => header([["general.name", "string", template]])).toThrow("Expected at most 1048576 for the length of");
  });

  it("reads a vocabulary of 150,000 tokens of several chunks", () => {
    const tokens = Array.from({ length: 150_000 }, (_, id) => `token-${id}`);
    const { metadata } = header([["t", "array string", tokens]]);
    const strings = metadata.strings("t")!;
    expect(strings).toHaveLength(150_000);
    for (const id of [0, 1, 77_777, 149_999]) expect(Buffer.from(strings.at(id)).toString()).toBe(`token-${id}`);
  });

  it("refuses a key twice", () => {
    expect(() =>
      header([
        ["a", "u8", 1],
        ["a", "u8", 1],
      ]),
    ).toThrow(/^Key "a" is in .* twice\.$/);
  });
});

describe("GGUF tensors", () => {
  it("lie one after another, aligned, slowest dimension first", () => {
    const { tensors, version } = header(
      [["general.alignment", "u32", 64]],
      [
        { name: "a", shape: [3, 32], type: 8, block: { elements: 32, bytes: 34 } },
        { name: "b", shape: [2] },
      ],
    );
    expect(version).toBe(3);
    expect(tensors[0]).toMatchObject({
      name: "a",
      shape: [3, 32],
      sizeBytes: 102,
      type: { name: "Q8_0", dtype: "Q8_0" },
    });
    expect(tensors[0]!.offset % 64).toBe(0);
    expect(tensors[1]!.offset - tensors[0]!.offset).toBe(128);
  });

  it("may be of a type that holds no weights", () => {
    const [tensor] = header([], [{ name: "a", shape: [4], type: 26 }]).tensors;
    expect(tensor!.type).toEqual({ name: "I32", elements: 1, bytes: 4 });
  });

  it.each([
    [4, "4 (Q4_2, removed from ggml)"],
    [38, "38 (IQ4_NL_8_8, removed from ggml)"],
    [137, "137, which ggml does not define"],
  ])("of type %i are refused", (type, words) => {
    expect(() => header([], [{ name: "a", shape: [4], type }])).toThrow(
      new RegExp(`^The type of tensor "a" of .* is ${words.replace(/[()]/g, "\\$&")}\\.$`),
    );
  });
});

describe("split GGUF models", () => {
  const part = (index: number, count: number, tensors: string[], more: GgufPair[] = []) =>
    ggufBytes(
      [["split.no", "u16", index], ["split.count", "u16", count], ["split.tensors.count", "i32", 3], ...more],
      tensors.map((name) => ({ name, shape: [4] })),
    );
  const paths = (stem: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${stem}-0000${index + 1}-of-0000${count}.gguf`);

  it("are read from any part, metadata from the first", () => {
    const [first, second] = paths("good", 2);
    write(first!, part(0, 2, ["a", "b"], [["general.name", "string", "first"]]));
    const path = write(second!, part(1, 2, ["c"]));
    const model = readGgufModel(path);
    expect(model.files).toEqual([join(folder, first!), path]);
    expect(model.metadata.text("general.name")).toBe("first");
    expect(model.tensors.map(({ name, file }) => [name, file])).toEqual([
      ["a", 0],
      ["b", 0],
      ["c", 1],
    ]);
  });

  it("are refused with a part missing, swapped, foreign or unnamed", () => {
    const [first, second] = paths("bad", 2);
    const path = write(first!, part(0, 2, ["a", "b"]));
    expect(() => readGgufModel(path)).toThrow(
      `1 of 2 parts of ${path} are missing, the first is ${join(folder, second!)}: download all parts into one folder.`,
    );
    write(second!, part(0, 2, ["c"]));
    expect(() => readGgufModel(path)).toThrow(
      `Expected ${join(folder, second!)} to be part 2 of 2, its split.no and split.count say part 1 of 2.`,
    );
    write(second!, part(1, 3, ["c"]));
    expect(() => readGgufModel(path)).toThrow("its split.no and split.count say part 2 of 3.");
    write(second!, part(1, 2, ["b"]));
    expect(() => readGgufModel(path)).toThrow(`Tensor "b" of ${join(folder, second!)} is in an earlier part too.`);
    write(second!, part(1, 2, ["c", "d"]));
    expect(() => readGgufModel(path)).toThrow(`Expected 3 tensors in the 2 parts of ${path}, found 4.`);
    const unnamed = write("part.gguf", part(0, 2, ["a"]));
    expect(() => readGgufModel(unnamed)).toThrow(
      `${unnamed} says that it is one of 2 parts, but is not named like one (name-00001-of-0000N.gguf), so the others cannot be found.`,
    );
    const misnamed = write("x-00001-of-00003.gguf", part(0, 2, ["a"]));
    expect(() => readGgufModel(misnamed)).toThrow(
      `Expected 3 parts by the name of ${misnamed}, its split.count says 2.`,
    );
  });
});
