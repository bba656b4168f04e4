/** The type of every tensor against files that llama-quantize made, and the sizes of the full models against those of the ollama library. */
import { basename } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { readGgufModel } from "../../src/checkpoint/gguf-split.js";
import { parseHfConfig } from "../../src/checkpoint/hf-config.js";
import { sumBytes } from "../../src/checkpoint/storage-types.js";
import { ggufNaming } from "../../src/checkpoint/tensor-names.js";
import { ExpectedTensors } from "../../src/checkpoint/tensor-roles.js";
import { FILE_TYPE_NAMES, type FileType, tensorType } from "../../src/quantize/file-type.js";
import { outputTensors } from "../../src/quantize/output-tensors.js";
import { describeWithGoldens } from "../golden/shared.js";
import { GOLDEN_GGUFS, goldenCheckpoint } from "./golden-files.js";

describeWithGoldens("types of golden GGUF files", "golden/gguf/models", () => {
  it.each(GOLDEN_GGUFS)("$name has the types that we choose", async ({ path, type }) => {
    const theirs = readGgufModel(path).tensors;
    const ours = outputTensors(await openCheckpoint(path), type);
    // One tensor per expert became one per layer; old routers in F16 are written as all are now.
    const wanted = new Map(
      theirs.map(({ name, type: found }) => [
        name.replace(/(ffn_(?:gate|up|down))\.\d+\./, "$1_exps."),
        name.endsWith("ffn_gate_inp.weight") ? "F32" : found.name,
      ]),
    );
    expect(new Map(ours.map(({ name, dtype }) => [name, dtype]))).toEqual(wanted);
  });

  it.each(GOLDEN_GGUFS.filter(({ checkpoint }) => checkpoint !== undefined))(
    "$name has the names, order and shapes that the original gives",
    async ({ name, path, type, checkpoint }) => {
      const theirs = readGgufModel(path).tensors;
      const ours = outputTensors(await openCheckpoint(goldenCheckpoint(checkpoint!)), type);
      const described = ours.map((tensor) => ({
        name: tensor.name,
        dtype: tensor.dtype as string,
        shape: tensor.shape,
      }));
      const expected = theirs.map((tensor) => ({
        name: tensor.name,
        dtype: tensor.type.name,
        shape: tensor.name.endsWith("_inp_shexp.weight") ? tensor.shape.slice(-1) : tensor.shape,
      }));
      // The YaRN file came straight from the converter, which has an order of its own.
      const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
      if (basename(name).includes("yarn")) expect(described.sort(byName)).toEqual(expected.sort(byName));
      else expect(described).toEqual(expected);
    },
  );
});

describe("sizes of the full models", () => {
  const QWEN2_57B = {
    model_type: "qwen2_moe",
    hidden_size: 3584,
    num_hidden_layers: 28,
    num_attention_heads: 28,
    num_key_value_heads: 4,
    num_experts: 64,
    num_experts_per_tok: 8,
    moe_intermediate_size: 2560,
    shared_expert_intermediate_size: 20480,
    vocab_size: 151936,
  };
  const YI_34B = {
    model_type: "llama",
    hidden_size: 7168,
    num_hidden_layers: 60,
    num_attention_heads: 56,
    num_key_value_heads: 8,
    intermediate_size: 20480,
    vocab_size: 64000,
  };

  function gigabytes(json: Record<string, string | number>, type: FileType): number {
    const config = parseHfConfig(json, "config.json");
    const expected = new ExpectedTensors(config);
    const model = {
      numLayers: config.numLayers,
      numExperts: config.numExperts,
      groupSize: config.numAttentionHeads / config.numKeyValueHeads,
      tied: false,
      is70B: false,
    };
    const matrices = [...expected.roles()].map((role) => {
      const { rows, cols } = expected.shapeOf(role)!;
      const name = ggufNaming.nameOf(role);
      const isFloat = rows === 1 || name.endsWith("ffn_gate_inp.weight");
      return { rows, cols, dtype: isFloat ? ("F32" as const) : tensorType(name, cols, type, model) };
    });
    return sumBytes(matrices) / 1e9;
  }

  // Sizes that the files of others have: ollama lists 41 GB and 35 GB for Qwen2, model cards 33.2 GB and 28.4 GB for Mixtral.
  it.each([
    ["Qwen2-57B-A14B", QWEN2_57B, "Q5_K_M", 40.8],
    ["Qwen2-57B-A14B", QWEN2_57B, "Q4_K_M", 34.85],
    ["Qwen2-57B-A14B", QWEN2_57B, "Q8_0", 61.02],
    ["Mixtral-8x7B", { model_type: "mixtral" }, "Q5_K_M", 33.23],
    ["Mixtral-8x7B", { model_type: "mixtral" }, "Q4_K_M", 28.45],
    ["Yi-34B", YI_34B, "Q5_K_M", 24.32],
    ["Yi-34B", YI_34B, "Q4_K_M", 20.66],
  ] as const)("%s as %3$s", (_name, json, type, expected) => {
    expect(gigabytes(json, type)).toBeCloseTo(expected, 1);
  });
});

describe("tensorType", () => {
  const model = { numLayers: 32, numExperts: 0, groupSize: 8, tied: false, is70B: false };

  it("falls back to blocks of 32, and to F16 where those do not divide a row either", () => {
    expect(tensorType("blk.9.ffn_up.weight", 1408, "Q4_K_M", model)).toBe("Q5_0");
    expect(tensorType("blk.9.ffn_up.weight", 1408, "Q5_K_S", model)).toBe("Q5_1");
    expect(tensorType("blk.9.ffn_up.weight", 1408, "Q6_K", model)).toBe("Q8_0");
    expect(tensorType("blk.9.ffn_up.weight", 1408, "Q3_K_S", model)).toBe("Q4_0");
    expect(tensorType("blk.9.ffn_up.weight", 1408, "IQ4_XS", model)).toBe("IQ4_NL");
    for (const type of FILE_TYPE_NAMES.filter((name) => name.includes("Q"))) {
      expect(tensorType("blk.9.ffn_up.weight", 40, type, model)).toBe("F16");
    }
  });

  it("gives values of the 70B shape more bits", () => {
    const of = (is70B: boolean) => tensorType("blk.20.attn_v.weight", 8192, "Q3_K_S", { ...model, is70B });
    expect([of(false), of(true)]).toEqual(["Q3_K", "Q5_K"]);
  });

  it("quantises an embedding that serves as head as heads are", () => {
    const of = (tied: boolean) => tensorType("token_embd.weight", 4096, "Q4_K_M", { ...model, tied });
    expect([of(false), of(true)]).toEqual(["Q4_K", "Q6_K"]);
  });

  it("leaves every matrix alone in float files", () => {
    for (const type of ["F32", "F16", "BF16"] as const) {
      expect(tensorType("output.weight", 33, type, model)).toBe(type);
      expect(tensorType("blk.0.attn_v.weight", 33, type, { ...model, numExperts: 8 })).toBe(type);
    }
  });
});
