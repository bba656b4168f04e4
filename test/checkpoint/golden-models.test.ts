import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { expect, it } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { readGgufHeader } from "../../src/checkpoint/gguf.js";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.js";
import { BLOCK_SHAPES } from "../../src/checkpoint/storage-types.js";
import { MoescopeError } from "../../src/errors.js";
import type { PlanTensor } from "../../src/native/binding.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";

function table(path: string): string[][] {
  return readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split("\t"));
}

async function verdict(open: () => unknown): Promise<string> {
  try {
    await open();
    return "accepted";
  } catch (error) {
    if (!(error instanceof MoescopeError)) throw error;
    return "rejected";
  }
}

describeWithGoldens("hostile GGUF files", "golden/gguf/hostile", () => {
  const folder = sharedPath("golden/gguf/hostile");
  for (const [file, what, expected, , , level] of table(`${folder}/EXPECT.tsv`)) {
    it(`${expected}: ${file}, ${what}`, async () => {
      const path = `${folder}/${file}`;
      const found = await verdict(() => (level === "model" ? openCheckpoint(path) : readGgufHeader(path)));
      if (expected !== "either") expect(found).toBe(expected);
    });
  }
});

describeWithGoldens("hostile safetensors files", "golden/gguf/hostile_safetensors", () => {
  const folder = sharedPath("golden/gguf/hostile_safetensors");
  for (const [file, what, expected] of table(`${folder}/EXPECT.tsv`)) {
    it(`${expected}: ${file}, ${what}`, async () => {
      const found = await verdict(() => readSafetensorsHeader(`${folder}/${file}`));
      if (expected !== "either") expect(found).toBe(expected);
    });
  }
});

/** The bytes of every matrix of a plan, by role. */
function bytesByRole(checkpoint: Checkpoint): Map<string, string> {
  const files = checkpoint.plan.files.map((file) => readFileSync(file));
  return new Map(
    checkpoint.plan.tensors.map((tensor) => [
      tensor.role,
      files[tensor.file]!.subarray(tensor.offset, tensor.offset + sizeOf(tensor)).toString("base64"),
    ]),
  );
}

function sizeOf({ dtype, rows, cols }: PlanTensor): number {
  const block = BLOCK_SHAPES[dtype];
  return (rows * cols * block.bytes) / block.elements;
}

describeWithGoldens("golden models", ["golden/models", "golden/long", "golden/gguf/models"], () => {
  const folders = readdirSync(sharedPath("golden/models"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => sharedPath("golden/models", entry.name));
  const ggufs = readdirSync(sharedPath("golden/gguf/models")).filter((name) => name.endsWith(".gguf"));
  const paths = [...folders, sharedPath("golden/long"), ...ggufs.map((name) => sharedPath("golden/gguf/models", name))];

  for (const path of paths) {
    it(`opens ${basename(path)}`, async () => {
      const checkpoint = await openCheckpoint(path);
      const { plan, config } = checkpoint;
      const elements = plan.tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
      expect(elements).toBe(checkpoint.numParameters);
      expect(new Set(plan.tensors.map(({ role }) => role)).size).toBe(plan.tensors.length);
      expect(plan.config.ropeInvFreq.length).toBe(config.headDim / 2);
      expect(config.eosTokenIds).toContain(1023);
      expect(config.bosTokenId).toBe(1021);
      const sizes = plan.files.map((file) => readFileSync(file).length);
      for (const tensor of plan.tensors)
        expect(tensor.offset + sizeOf(tensor)).toBeLessThanOrEqual(sizes[tensor.file]!);
    });
  }

  it("finds the same matrices in stacked experts as in single ones", async () => {
    const single = bytesByRole(await openCheckpoint(sharedPath("golden/models/qwen2moe-mixed")));
    const stacked = bytesByRole(await openCheckpoint(sharedPath("golden/models/qwen2moe-mixed.fused")));
    expect(stacked).toEqual(single);
  });

  it("finds the same matrices in shards as in one file", async () => {
    const single = await openCheckpoint(sharedPath("golden/models/qwen2moe-yarn"));
    const sharded = await openCheckpoint(sharedPath("golden/models/qwen2moe-yarn.v4-sharded"));
    expect(sharded.plan.files).toHaveLength(3);
    expect(bytesByRole(sharded)).toEqual(bytesByRole(single));
    expect(sharded.config.ropeScaling).toEqual(single.config.ropeScaling);
    expect(sharded.config.ropeInvFreq).toEqual(single.config.ropeInvFreq);
  });

  it("finds the same matrices in a lossless GGUF as in the folder it was made from", async () => {
    const folder = bytesByRole(await openCheckpoint(sharedPath("golden/models/qwen2-dense")));
    const gguf = await openCheckpoint(sharedPath("golden/gguf/models/qwen2-dense-F16.gguf"));
    const converted = bytesByRole(gguf);
    const matrices = gguf.plan.tensors.filter(({ rows }) => rows > 1).map(({ role }) => role);
    expect(matrices).toHaveLength(22);
    for (const role of matrices) expect(converted.get(role), role).toBe(folder.get(role));
  });

  it("opens a split model by any of its parts", async () => {
    const parts = ggufs
      .filter((name) => name.startsWith("qwen2moe-e64k8-Q5_K_M-"))
      .map((name) => sharedPath("golden/gguf/models", name));
    expect(parts).toHaveLength(3);
    const [first, ...others] = await Promise.all(parts.map((part) => openCheckpoint(part)));
    for (const other of others) expect(other.plan).toEqual(first!.plan);
  });

  it("states rope layout, renormalisation and widths as each architecture has them", async () => {
    const open = (path: string) => openCheckpoint(sharedPath("golden", path)).then(({ config }) => config);
    expect(await open("gguf/models/llama-yi-Q8_0.gguf")).toMatchObject({
      ropeLayout: "interleaved",
      numExperts: 0,
      ropeTheta: 5e6,
    });
    expect(await open("models/llama-yi")).toMatchObject({
      ropeLayout: "half",
      intermediateSize: 352,
      attentionBias: false,
    });
    expect(await open("gguf/models/mixtral-e8k2-Q4_K_M.gguf")).toMatchObject({
      architecture: "mixtral",
      ropeLayout: "interleaved",
      normTopkProb: true,
      moeIntermediateSize: 224,
      intermediateSize: 0,
    });
    expect(await open("models/mixtral-e8k2")).toMatchObject({
      ropeLayout: "half",
      normTopkProb: true,
      moeIntermediateSize: 224,
    });
    expect(await open("gguf/models/qwen2moe-e64k8-L1-oldkeys-Q4_0.gguf")).toMatchObject({
      ropeLayout: "half",
      normTopkProb: false,
      moeIntermediateSize: 32,
      sharedExpertIntermediateSize: 256,
    });
    const mixed = await open("models/qwen2moe-mixed");
    expect(mixed).toMatchObject({ normTopkProb: true, tieWordEmbeddings: true, intermediateSize: 160 });
    expect([...mixed.isMoeLayer]).toEqual([0, 1, 0, 0, 0, 1]);
  });
});
