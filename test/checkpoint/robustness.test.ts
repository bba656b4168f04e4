/** Damaged files end in an error of ours or in a plan, never in anything else, and never take more memory than the file has bytes. */

import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { readGgufHeader } from "../../src/checkpoint/gguf.js";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.js";
import { MoescopeError } from "../../src/errors.js";
import { random } from "./random.js";
import { ggufPairs, LLAMA_CONFIG, QWEN2_MOE_CONFIG, QWEN2_MOE_GGUF, QWEN2_MOE_TENSORS } from "./tiny-models.js";
import { type GgufPair, ggufBytes, safetensorsBytes, temporaryFolder, writeFolder } from "./write-files.js";

const root = temporaryFolder();

/** Opens a path; true where it was accepted. Anything but our own error fails the test. */
async function survives(path: string): Promise<boolean> {
  try {
    const { plan } = await openCheckpoint(path);
    for (const { rows, cols, offset } of plan.tensors) {
      if (!(rows > 0 && cols > 0 && Number.isSafeInteger(offset)))
        throw new Error(`A plan with a tensor that is none: ${path}`);
    }
    return true;
  } catch (error) {
    if (error instanceof MoescopeError) return false;
    throw error;
  }
}

const more: GgufPair[] = [
  ["general.alignment", "u32", 32],
  ["tokenizer.ggml.merges", "array string", ["a b", "c d"]],
  ["tokenizer.chat_template", "string", "{{ messages }}"],
  ["x.numbers", "array f64", [1, 2]],
];
const GGUF = ggufBytes([...ggufPairs("qwen2moe", true), ...more], QWEN2_MOE_GGUF);
const SAFETENSORS = safetensorsBytes(QWEN2_MOE_TENSORS);
/** Where the data begins: damage behind it changes numbers, which no header reader sees. */
const GGUF_HEADER = 2400;

describe("GGUF", () => {
  const path = join(root, "model.gguf");

  it("survives every length that a download may stop at", async () => {
    for (let length = 0; length < GGUF.length; length += length < GGUF_HEADER ? 3 : 197) {
      writeFileSync(path, GGUF.subarray(0, length));
      expect(await survives(path), `${length} bytes`).toBe(false);
    }
    writeFileSync(path, GGUF);
    expect(await survives(path)).toBe(true);
  });

  it("survives flipped bits and random bytes", async () => {
    const pick = random(1);
    let accepted = 0;
    for (let round = 0; round < 1500; round++) {
      const bytes = Buffer.from(GGUF);
      for (let count = 1 + pick(3); count > 0; count--) {
        const at = pick(GGUF_HEADER);
        bytes[at] = pick(2) === 0 ? bytes[at]! ^ (1 << pick(8)) : pick(256);
      }
      writeFileSync(path, bytes);
      if (await survives(path)) accepted++;
    }
    // Names and template texts may change without harm; most else may not.
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(1200);
  });

  it("survives extreme numbers in every place of 8 bytes", async () => {
    const extremes = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 62n, 2n ** 63n, 2n ** 64n - 1n];
    for (let at = 4; at < GGUF_HEADER; at += 7) {
      const bytes = Buffer.from(GGUF);
      bytes.writeBigUInt64LE(extremes[at % extremes.length]!, at);
      writeFileSync(path, bytes);
      await survives(path);
    }
  });
});

describe("safetensors", () => {
  const folder = writeFolder(join(root, "model"), { "config.json": QWEN2_MOE_CONFIG });
  const path = join(folder, "model.safetensors");
  const headerBytes = SAFETENSORS.readUInt32LE();

  it("survives every length that a download may stop at", async () => {
    for (let length = 0; length < SAFETENSORS.length; length += length < headerBytes ? 17 : 197) {
      writeFileSync(path, SAFETENSORS.subarray(0, length));
      expect(await survives(folder), `${length} bytes`).toBe(false);
    }
    writeFileSync(path, SAFETENSORS);
    expect(await survives(folder)).toBe(true);
  });

  it("survives flipped bits and random bytes", async () => {
    const pick = random(2);
    for (let round = 0; round < 800; round++) {
      const bytes = Buffer.from(SAFETENSORS);
      const at = pick(8 + headerBytes);
      bytes[at] = pick(2) === 0 ? bytes[at]! ^ (1 << pick(8)) : pick(256);
      writeFileSync(path, bytes);
      await survives(folder);
    }
  });
});

describe("config.json", () => {
  const folder = writeFolder(join(root, "config"), { "model.safetensors": SAFETENSORS });
  const path = join(folder, "config.json");

  it("survives every value in every field", async () => {
    const values = [null, true, -1, 0, 0.5, 3, 1e9, 1e308, "x", "", [], [1], {}, { type: "yarn" }, [[]], "2"];
    const fields = [
      ...Object.keys(QWEN2_MOE_CONFIG),
      "head_dim",
      "rope_scaling",
      "rope_parameters",
      "rope_theta",
      "layer_types",
    ];
    for (const field of [
      ...fields,
      "mlp_only_layers",
      "quantization_config",
      "norm_topk_prob",
      "qkv_bias",
      "__proto__",
    ]) {
      for (const value of values) {
        const json = JSON.stringify({ ...QWEN2_MOE_CONFIG, [field]: undefined }).slice(0, -1);
        writeFileSync(path, `${json},${JSON.stringify(field)}:${JSON.stringify(value)}}`);
        await survives(folder);
      }
    }
  });

  it("survives damaged text", async () => {
    const pick = random(3);
    const good = Buffer.from(JSON.stringify({ ...LLAMA_CONFIG, rope_scaling: { type: "yarn", factor: 2 } }));
    for (let round = 0; round < 1000; round++) {
      const bytes = Buffer.from(good);
      bytes[pick(bytes.length)] = pick(256);
      writeFileSync(path, bytes.subarray(0, bytes.length - (pick(4) === 0 ? pick(bytes.length) : 0)));
      await survives(folder);
    }
  });
});

describe("memory", () => {
  afterEach(() => vi.restoreAllMocks());

  it("is never taken for more than the file holds", async () => {
    const largest = vi.spyOn(Buffer, "allocUnsafe");
    const path = join(root, "claims.gguf");
    let fileBytes = 0;
    for (const of of ["u8", "string", "f64"] as const) {
      const honest = ggufBytes([["a", `array ${of}`, of === "string" ? [] : [1]]], []);
      fileBytes = Math.max(fileBytes, honest.length);
      // Magic, version, two counts, key with its length, two types; then the count.
      const at = 24 + 9 + 8;
      for (const claim of [2n ** 22n, 2n ** 30n, 2n ** 63n]) {
        const bytes = Buffer.from(honest);
        bytes.writeBigUInt64LE(claim, at);
        writeFileSync(path, bytes);
        const before = process.memoryUsage().arrayBuffers;
        expect(() => readGgufHeader(path), `${claim} of ${of}`).toThrow(`${claim}`);
        expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
      }
    }
    const lying = join(root, "claims.safetensors");
    const header = Buffer.alloc(8);
    header.writeBigUInt64LE(99_999_999n);
    writeFileSync(lying, header);
    expect(() => readSafetensorsHeader(lying)).toThrow(MoescopeError);
    expect(Math.max(...largest.mock.calls.map(([size]) => size))).toBeLessThanOrEqual(fileBytes);
  });

  it("leaves no file open", async () => {
    const descriptors = "/dev/fd";
    const path = join(root, "open.gguf");
    writeFileSync(path, GGUF.subarray(0, 500));
    const count = readdirSync(descriptors).length;
    for (let round = 0; round < 50; round++) expect(await survives(path)).toBe(false);
    expect(readdirSync(descriptors).length).toBeLessThan(count + 50);
  });
});
