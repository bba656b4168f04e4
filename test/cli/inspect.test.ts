/** `inspect`: what it says of a checkpoint, and whether --validate sees spoilt weights. */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { runCli } from "./run-cli.js";
import { copyOfSeeded, seededModel, temporaryFolder } from "./seeded.js";

describe("inspect", () => {
  const folder = temporaryFolder();

  it("gives the config in Hugging Face's words, equal to config.json where that states it", async () => {
    const { code, stdout } = await runCli(["inspect", seededModel(), "--json"]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    const stated = JSON.parse(readFileSync(join(seededModel(), "config.json"), "utf8"));
    for (const [key, value] of Object.entries(report.config)) {
      if (key in stated && key !== "eos_token_id") expect([key, value]).toEqual([key, stated[key]]);
    }
    expect(report.config.num_experts_per_tok).toBe(2);
    expect(report.router).toMatchObject({ moeLayers: [0, 1, 2, 3], numExperts: 8, hasSharedExpert: true });
    expect(report.chatTemplate.source).toBe("tokenizer_config.json");
    // 4 layers x (key and value) x 2 heads x 32 numbers x 4 bytes.
    expect(report.memory.kvCache.f32).toEqual({ perToken: 2048, fullContext: 2048 * 1024 });
  });

  it("counts every weight once", async () => {
    const { stdout } = await runCli(["inspect", seededModel(), "--json"]);
    const { tensors, parameters, memory } = JSON.parse(stdout);
    const sum = (field: string) =>
      tensors.reduce((total: number, group: Record<string, number>) => total + group[field]!, 0);
    expect(sum("parameters")).toBe(parameters.total);
    expect(sum("bytes")).toBe(memory.weightsMapped);
  });

  it("lists hook points with their widths", async () => {
    const { stdout } = await runCli(["inspect", seededModel(), "--json", "--hooks"]);
    const hooks = JSON.parse(stdout).hooks as { name: string; width: number; layers?: number[] }[];
    expect(hooks.find(({ name }) => name === "router.logits")).toEqual({
      name: "router.logits",
      width: 8,
      layers: [0, 1, 2, 3],
    });
    expect(hooks.find(({ name }) => name === "output.logits")).toEqual({ name: "output.logits", width: 2560 });
  });

  it("shows the rope scaling that is asked for, and the context that follows", async () => {
    const { stdout } = await runCli(["inspect", seededModel(), "--rope-scaling", "4:512"]);
    expect(stdout).toContain("YaRN, factor 4 over 512 tokens");
    expect(stdout).toContain("context        2048 tokens (the file states 1024)");
  });

  it("finds healthy weights healthy", async () => {
    const { code, stdout } = await runCli(["inspect", seededModel(), "--validate", "--quiet"]);
    expect(code).toBe(0);
    expect(stdout).toContain("Healthy: 1.8 million weights");
  });

  it("names tensor, layer and expert of a NaN, an infinity and a row of zeros", async () => {
    const model = copyOfSeeded(join(folder, "spoilt"));
    const { plan } = await openCheckpoint(model);
    const spoil = (role: string, values: Float32Array) => {
      const { file, offset } = plan.tensors.find((tensor) => tensor.role === role)!;
      const handle = openSync(plan.files[file]!, "r+");
      writeSync(handle, new Uint8Array(values.buffer), 0, values.byteLength, offset);
      closeSync(handle);
    };
    spoil("layers.2.experts.5.up", Float32Array.of(Number.NaN, Number.NaN));
    spoil("layers.1.shared.gate", Float32Array.of(Number.NEGATIVE_INFINITY));
    spoil("layers.0.experts.3.down", new Float32Array(64));
    const { code, stdout, stderr } = await runCli(["inspect", model, "--validate", "--json"]);
    expect(code).toBe(3);
    expect(stderr).toContain("2 of 155 matrices hold numbers that are not finite");
    const { faults } = JSON.parse(stdout).health;
    expect(faults).toHaveLength(3);
    expect(faults).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ layer: 2, expert: 5, nan: 2, infinite: 0 }),
        expect.objectContaining({ layer: 1, expert: "shared", nan: 0, infinite: 1 }),
        expect.objectContaining({ layer: 0, expert: 3, nan: 0, zeroBlocks: 1, blocks: 128 }),
      ]),
    );
    expect(faults.map(({ tensor }: { tensor: string }) => tensor)).toContain(
      "model.layers.2.mlp.experts.5.up_proj.weight",
    );
  });
});

describeWithGoldens("inspect on golden files", ["golden/gguf/models", "golden/models"], () => {
  it.each(["qwen2moe-k256-Q5_K_M.gguf", "mixtral-e8k2-IQ4_XS.gguf", "llama-yi-Q8_0.gguf", "qwen2-dense-F16.gguf"])(
    "reads and validates %s",
    async (name) => {
      const { code, stdout } = await runCli([
        "inspect",
        sharedPath("golden/gguf/models", name),
        "--validate",
        "--json",
      ]);
      expect(code).toBe(0);
      const { health, parameters, chatTemplate } = JSON.parse(stdout);
      expect(health.faults).toEqual([]);
      expect(health.weights).toBe(parameters.total);
      expect(chatTemplate === null || chatTemplate.source === "GGUF metadata").toBe(true);
    },
  );

  it("shows the scaling of a YaRN file", async () => {
    const { stdout } = await runCli(["inspect", sharedPath("golden/models/qwen2moe-yarn"), "--json"]);
    expect(JSON.parse(stdout).ropeScaling).toMatchObject({
      type: "yarn",
      factor: 2,
      originalMaxPositionEmbeddings: 64,
    });
  });
});
