import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { CONFIG, WEIGHTS, withTensors } from "./mistake.js";
import { ggufPairs, LLAMA_GGUF, LLAMA_TENSORS } from "./tiny-models.js";
import { type GgufPair, ggufBytes, temporaryFolder, writeFolder } from "./write-files.js";

const root = temporaryFolder();
const GGUF = ggufBytes(ggufPairs("llama", false), LLAMA_GGUF);

describe("a model", () => {
  it("opens from a folder with one GGUF file", async () => {
    const folder = writeFolder(join(root, "one-gguf"), { "a.gguf": GGUF, "README.md": "x" });
    expect(await openCheckpoint(folder)).toMatchObject({
      format: "gguf",
      architecture: "llama",
      path: join(folder, "a.gguf"),
    });
  });

  it("opens from a folder with one split set, and says which part is missing", async () => {
    const part = (index: number): Buffer => {
      const split: GgufPair[] = [
        ["split.no", "u16", index],
        ["split.count", "u16", 2],
      ];
      const half = LLAMA_GGUF.slice(index * 4, index === 0 ? 4 : undefined);
      return ggufBytes(index === 0 ? [...ggufPairs("llama", false), ...split] : split, half);
    };
    const name = (index: number): string => `m-0000${index + 1}-of-00002.gguf`;
    const folder = writeFolder(join(root, "split"), { [name(0)]: part(0), [name(1)]: part(1) });
    const { plan } = await openCheckpoint(folder);
    expect(plan.files).toEqual([join(folder, name(0)), join(folder, name(1))]);
    expect(plan.tensors).toHaveLength(LLAMA_TENSORS.length);
    rmSync(join(folder, name(0)));
    await expect(openCheckpoint(folder)).rejects.toThrow(`the first is ${join(folder, name(0))}: download all parts`);
  });

  it("opens from a GGUF file under any name", async () => {
    const folder = writeFolder(join(root, "blobs"), { [`sha256-${"0".repeat(64)}`]: GGUF });
    expect((await openCheckpoint(join(folder, `sha256-${"0".repeat(64)}`))).format).toBe("gguf");
  });

  it("opens from safetensors rather than GGUF, by links too", async () => {
    const blobs = writeFolder(join(root, "hub-blobs"), { "0": WEIGHTS });
    const folder = writeFolder(join(root, "both"), { ...CONFIG, "a.gguf": GGUF });
    symlinkSync(join(blobs, "0"), join(folder, "model.safetensors"));
    expect((await openCheckpoint(folder)).format).toBe("safetensors");
  });

  it("tells stop tokens, sampling and licence from all files", async () => {
    const folder = writeFolder(join(root, "whole"), {
      ...withTensors(LLAMA_TENSORS),
      "generation_config.json": {
        eos_token_id: [3, 5],
        temperature: 0.7,
        top_k: 20,
        top_p: 0.8,
        repetition_penalty: 1.05,
        do_sample: true,
      },
      "tokenizer_config.json": { eos_token: { content: "<end>" } },
      "tokenizer.json": { added_tokens: [{ id: 7, content: "<end>" }], model: { vocab: {} } },
      "chat_template.jinja": "x",
      LICENSE: "terms",
      "README.md": "---\nlicense: apache-2.0\nlicense_link: https://example.org/terms\n---\n# Model\nlicense: other\n",
    });
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.config.eosTokenIds).toEqual([3, 5, 7]);
    expect(checkpoint.generationDefaults).toEqual({
      doSample: true,
      temperature: 0.7,
      topK: 20,
      topP: 0.8,
      repetitionPenalty: 1.05,
    });
    expect(checkpoint.licence).toEqual({
      name: "apache-2.0",
      link: "https://example.org/terms",
      file: join(folder, "LICENSE"),
    });
    expect(checkpoint.tokenizer).toEqual({
      kind: "files",
      tokenizerJson: join(folder, "tokenizer.json"),
      tokenizerConfig: join(folder, "tokenizer_config.json"),
      chatTemplate: join(folder, "chat_template.jinja"),
      generationConfig: join(folder, "generation_config.json"),
    });
  });
});
