/** Whole models: what comes out of a GGUF file of ours against the model that went in, and against llama-quantize's file of it. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { withFile } from "../../src/checkpoint/file-source.js";
import { readGgufHeader } from "../../src/checkpoint/gguf.js";
import { readGgufModel } from "../../src/checkpoint/gguf-split.js";
import { Model } from "../../src/model/model.js";
import { loadAddon } from "../../src/native/addon.js";
import type { PlanTensor } from "../../src/native/binding.js";
import { quantizeModel } from "../../src/quantize/quantize.js";
import { QWEN2_MOE_CONFIG, QWEN2_MOE_TENSORS } from "../checkpoint/tiny-models.js";
import { safetensorsBytes, temporaryFolder } from "../checkpoint/write-files.js";
import { describeWithGoldens } from "../golden/shared.js";
import { maxAbsDifference, sameBits, standardDeviation } from "../model/compare.js";
import { GOLDEN_GGUFS, goldenCheckpoint } from "./golden-files.js";

const folder = temporaryFolder();

async function logitsOf(path: string, ids: Int32Array): Promise<Float32Array> {
  const model = await Model.load(path, { threads: 1 });
  try {
    return (await model.forward(ids, { logits: "all" })).logits;
  } finally {
    await model.dispose();
  }
}

function values({ plan }: Checkpoint, tensor: PlanTensor): Float32Array {
  const shape = loadAddon().blockShape(tensor.dtype);
  const bytes = (tensor.rows * tensor.cols * shape.bytes) / shape.elements;
  const blocks = withFile(plan.files[tensor.file]!, (source) => source.read(tensor.offset, bytes));
  return loadAddon().dequantize(tensor.dtype, blocks);
}

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
}

describeWithGoldens("quantizeModel of golden models", ["golden/models", "golden/gguf/models"], () => {
  const ids = Int32Array.from({ length: 24 }, (_, i) => (i * 37 + 5) % 1021);

  it.each(["qwen2moe-e8k2", "qwen2moe-e64k8", "qwen2moe-yarn", "qwen2-dense"])(
    "%s as F32 gives the same logits bit for bit",
    async (name) => {
      const out = join(folder, `${name}-F32.gguf`);
      await quantizeModel(goldenCheckpoint(name), out, { type: "F32" });
      expect(sameBits(await logitsOf(out, ids), await logitsOf(goldenCheckpoint(name), ids))).toBe(true);
    },
  );

  // Here q and k change their order, and with it the order of a sum.
  it.each(["mixtral-e8k2", "llama-yi"])("%s as BF16 gives the same logits up to the order of q and k", async (name) => {
    const out = join(folder, `${name}-BF16.gguf`);
    await quantizeModel(goldenCheckpoint(name), out, { type: "BF16" });
    const expected = await logitsOf(goldenCheckpoint(name), ids);
    const difference = maxAbsDifference(await logitsOf(out, ids), expected);
    expect(difference).toBeLessThanOrEqual(1e-5 * standardDeviation(expected));
  });

  const madeOfCheckpoints = GOLDEN_GGUFS.filter(({ checkpoint }) => checkpoint !== undefined);

  it.each(madeOfCheckpoints)(
    "$name: every matrix is as near to the original as llama-quantize's",
    async ({ name, path, type, checkpoint }) => {
      const out = join(folder, `${name}.gguf`);
      await quantizeModel(goldenCheckpoint(checkpoint!), out, { type });
      const [ours, theirs] = [await openCheckpoint(out), await openCheckpoint(path)];
      // A file in F32 holds the original in the same order of rows.
      const exact = join(folder, `${checkpoint}-exact.gguf`);
      await quantizeModel(goldenCheckpoint(checkpoint!), exact, { type: "F32" });
      const original = await openCheckpoint(exact);
      for (const [index, tensor] of ours.plan.tensors.entries()) {
        const truth = values(original, original.plan.tensors[index]!);
        const error = squaredError(values(ours, tensor), truth);
        expect(error, tensor.role).toBeLessThanOrEqual(
          squaredError(values(theirs, theirs.plan.tensors[index]!), truth),
        );
      }
    },
  );

  it.each(madeOfCheckpoints)(
    "$name: the metadata say what llama.cpp's converter says",
    async ({ path, type, checkpoint }) => {
      const out = join(folder, "metadata.gguf");
      await quantizeModel(goldenCheckpoint(checkpoint!), out, { type });
      const [ours, theirs] = [readGgufHeader(out).metadata, readGgufModel(path).metadata];
      const plain = (value: unknown) =>
        JSON.stringify(value, (_, field) => (typeof field === "bigint" ? Number(field) : field));
      for (const key of theirs.keys().filter((key) => !/^split\.|size_label$/.test(key))) {
        const strings = theirs.get(key)!.type === "array" ? undefined : theirs.get(key);
        if (strings !== undefined) {
          expect(plain(ours.get(key)), key).toBe(plain(strings));
          continue;
        }
        const [a, b] = [ours.get(key)!.value, theirs.get(key)!.value] as { length: number; at(i: number): unknown }[];
        expect(a!.length, key).toBe(b!.length);
        for (let i = 0; i < b!.length; i++) expect(plain(a!.at(i)), `${key}[${i}]`).toBe(plain(b!.at(i)));
      }
    },
  );

  it.each(GOLDEN_GGUFS.filter(({ name }) => /oldkeys|perexpert|Q5_K_M|Q4_K_M/.test(name)))(
    "$name, itself quantised and old or in parts, becomes one file of the same weights",
    async ({ name, path }) => {
      const out = join(folder, `${name}-again.gguf`);
      const { tensors } = await quantizeModel(path, out, { type: "F32" });
      expect(sameBits(await logitsOf(out, ids), await logitsOf(path, ids))).toBe(true);
      const keys = readGgufHeader(out).metadata.keys();
      expect(keys.filter((key) => key.startsWith("split."))).toEqual([]);
      expect(keys).toContain("tokenizer.ggml.pre");
      const isMoe = name.includes("e8k2") || name.includes("moe");
      if (isMoe) expect(tensors.some((tensor) => tensor.name === "blk.0.ffn_down_exps.weight")).toBe(true);
    },
  );

  it("gives the same bytes on any number of threads, and keeps the text side", async () => {
    const files = await Promise.all(
      [1, 3].map(async (threads) => {
        const out = join(folder, `threads-${threads}.gguf`);
        await quantizeModel(goldenCheckpoint("mixtral-e8k2"), out, { type: "Q4_K_M", threads });
        return out;
      }),
    );
    expect(readFileSync(files[0]!).equals(readFileSync(files[1]!))).toBe(true);
    const [before, after] = await Promise.all(
      [goldenCheckpoint("mixtral-e8k2"), files[0]!].map((path) => Model.load(path, { threads: 1 })),
    );
    const text = "Every expert's 2nd vote, naïve or not:\n\n\t42 <|im_end|>";
    expect(await after!.tokenizer.encode(text)).toEqual(await before!.tokenizer.encode(text));
    expect(after!.chatTemplate?.text).toBe(before!.chatTemplate?.text);
    expect(after!.config.eosTokenIds).toEqual(before!.config.eosTokenIds);
    await Promise.all([before!.dispose(), after!.dispose()]);
  });

  it("stops when it is told to, and leaves no file", async () => {
    const abort = new AbortController();
    const out = join(folder, "aborted.gguf");
    const work = quantizeModel(goldenCheckpoint("llama-yi"), out, {
      type: "Q8_0",
      signal: abort.signal,
      onProgress: () => abort.abort(),
    });
    await expect(work).rejects.toMatchObject({ code: "ABORTED" });
    expect(readdirSync(folder).filter((name) => name.startsWith("aborted"))).toEqual([]);
  });

  it("refuses to write over the model, into nowhere, and onto a folder", async () => {
    const own = join(folder, "own.gguf");
    await quantizeModel(goldenCheckpoint("llama-yi"), own, { type: "Q8_0" });
    await expect(quantizeModel(own, own, { type: "Q4_0" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(quantizeModel(own, folder, { type: "Q4_0" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const nowhere = join(folder, "no", "where.gguf");
    await expect(quantizeModel(own, nowhere, { type: "Q4_0" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(quantizeModel(own, null, { type: "Q4_0" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const dry = await quantizeModel(own, join(folder, "dry.gguf"), { type: "Q4_0", dryRun: true });
    expect([dry.written, existsSync(join(folder, "dry.gguf"))]).toEqual([false, false]);
  });

  it("says which ends of a text GGUF has no place for", async () => {
    const model = temporaryFolderOf("many ends");
    for (const name of readdirSync(goldenCheckpoint("llama-yi")).filter((file) => !file.startsWith("expected"))) {
      copyFileSync(join(goldenCheckpoint("llama-yi"), name), join(model, name));
    }
    const eos = { eos_token_id: [1023, 1022, 1021, 7] };
    writeFileSync(join(model, "generation_config.json"), JSON.stringify(eos));
    const { warnings } = await quantizeModel(model, null, { type: "Q8_0", dryRun: true });
    expect(warnings).toEqual([expect.stringMatching(/does not name 1021, 1022, which/)]);
  });

  it("refuses layers that GGUF has no place for", async () => {
    const work = quantizeModel(goldenCheckpoint("qwen2moe-mixed"), null, { type: "Q8_0", dryRun: true });
    await expect(work).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("dense layers") });
  });
});

describe("quantizeModel of a broken model", () => {
  it("names the tensor of a weight that is not finite, and leaves no file", async () => {
    const model = temporaryModel();
    const out = join(folder, "broken.gguf");
    await expect(quantizeModel(model, out, { type: "F16" })).rejects.toMatchObject({
      code: "BAD_FILE",
      message: expect.stringMatching(
        /NaN in row 2, column 1 of tensor "model\.layers\.0\.mlp\.experts\.1\.up_proj\.weight" \(layers\.0\.experts\.1\.up\)/,
      ),
    });
    expect(readdirSync(folder).filter((name) => name.startsWith("broken.gguf"))).toEqual([]);
  });

  /** A qwen2_moe model of zeros with a NaN in one expert, and the smallest tokenizer. */
  function temporaryModel(): string {
    const model = temporaryFolderOf("broken");
    const bytes = safetensorsBytes(QWEN2_MOE_TENSORS);
    const headerBytes = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, headerBytes).toString()) as Record<string, { data_offsets: number[] }>;
    const [begin] = header["model.layers.0.mlp.experts.1.up_proj.weight"]!.data_offsets;
    bytes.writeFloatLE(Number.NaN, headerBytes + begin! + 4 * (2 * 8 + 1));
    writeFileSync(join(model, "model.safetensors"), bytes);
    writeFileSync(join(model, "config.json"), JSON.stringify(QWEN2_MOE_CONFIG));
    const regex =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
    const tokenizer = {
      added_tokens: [],
      normalizer: { type: "NFC" },
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [{ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false }, byteLevel],
      },
      post_processor: null,
      decoder: byteLevel,
      model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: [["a", "b"]] },
    };
    writeFileSync(join(model, "tokenizer.json"), JSON.stringify(tokenizer));
    return model;
  }
});

function temporaryFolderOf(name: string): string {
  const path = join(folder, name);
  if (!existsSync(path)) mkdirSync(path);
  return path;
}
