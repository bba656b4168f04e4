/** Stores as ollama lays them out, written here. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { findOllamaModel, ollamaFolders } from "../../src/hub/ollama-store.js";
import { resolveModel } from "../../src/hub/resolve.js";

const root = mkdtempSync(join(tmpdir(), "moescope-ollama-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

interface StoreLayer {
  kind: string;
  text: string;
}

/** Adds a model to a store. `separator` stands in the names of blobs. */
function addModel(
  folder: string,
  path: string,
  layers: readonly StoreLayer[],
  separator: "-" | ":" = "-",
  change: object = {},
): void {
  mkdirSync(join(folder, "blobs"), { recursive: true });
  mkdirSync(join(folder, "manifests", path, ".."), { recursive: true });
  const entries = layers.map(({ kind, text }) => {
    writeFileSync(join(folder, "blobs", `sha256${separator}${sha256(text)}`), text);
    return {
      mediaType: `application/vnd.ollama.image.${kind}`,
      digest: `sha256:${sha256(text)}`,
      size: Buffer.byteLength(text),
    };
  });
  writeFileSync(join(folder, "manifests", path), JSON.stringify({ schemaVersion: 2, layers: entries, ...change }));
}

const LAYERS: StoreLayer[] = [
  { kind: "model", text: "GGUF and so on" },
  { kind: "template", text: "{{ .System }}{{ .Prompt }}" },
  { kind: "system", text: "You are a helpful assistant." },
  { kind: "params", text: '{"stop":["<|im_start|>","<|im_end|>"],"temperature":0.7}' },
  { kind: "license", text: "Apache License" },
];

describe("findOllamaModel", () => {
  const store = join(root, "store");
  addModel(store, "registry.ollama.ai/library/qwen2/latest", LAYERS);
  addModel(store, "registry.ollama.ai/mannix/qwen2-57b/q5_K_M", LAYERS.slice(0, 2));
  addModel(store, "localhost:5000/team/model/v1", LAYERS.slice(0, 1));

  it("reads every layer of a model", () => {
    expect(findOllamaModel("qwen2", [store])).toEqual({
      path: join(store, "blobs", `sha256-${sha256("GGUF and so on")}`),
      template: "{{ .System }}{{ .Prompt }}",
      messages: [{ role: "system", content: "You are a helpful assistant." }],
      params: { stop: ["<|im_start|>", "<|im_end|>"], temperature: 0.7 },
      licence: "Apache License",
    });
  });

  it("understands namespaces, tags and registries", () => {
    expect(findOllamaModel("mannix/qwen2-57b:q5_K_M", [store]).messages).toEqual([]);
    expect(findOllamaModel("qwen2:latest", [store]).licence).toBe("Apache License");
    expect(findOllamaModel("localhost:5000/team/model:v1", [store])).toMatchObject({ template: null, params: {} });
  });

  it("finds the blobs of old installations, in the folder that has the model", () => {
    const old = join(root, "old");
    addModel(old, "registry.ollama.ai/library/mixtral/8x7b", LAYERS, ":");
    expect(findOllamaModel("mixtral:8x7b", [store, old]).path).toBe(
      join(old, "blobs", `sha256:${sha256("GGUF and so on")}`),
    );
  });

  it.each(["", "a/b/c/d", "../secret", "a/../b", "qwen2:../../x", "qwen2:", ".hidden", "qwen 2", "a\\b", "q:x:y"])(
    "refuses %j as a name",
    (name) => {
      expect(() => findOllamaModel(name, [store])).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    },
  );

  it("says how to get a model that is not there", () => {
    expect(() => findOllamaModel("yi:34b", [store])).toThrow(/Ollama has no model yi:34b .* "ollama pull yi:34b"/);
    expect(() => findOllamaModel("yi:34b", [store])).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  });

  it.each<[string, string, object | string, string]>([
    [
      "a digest that leaves the folder",
      "BAD_FILE",
      { layers: [layer({ digest: `sha256:../../${"a".repeat(58)}` })] },
      "digest",
    ],
    ["a digest of another kind", "BAD_FILE", { layers: [layer({ digest: `sha512:${"a".repeat(64)}` })] }, "digest"],
    [
      "a blob that is not there",
      "NOT_FOUND",
      { layers: [layer({ digest: `sha256:${"a".repeat(64)}` })] },
      "pull the model again",
    ],
    ["a blob of another size", "BAD_FILE", { layers: [layer({ size: 3 })] }, "download has not finished"],
    ["no weights", "BAD_FILE", { layers: [] }, "weights"],
    ["layers that are no list", "BAD_FILE", { layers: 3 }, "list of layers"],
    ["a layer that is null", "BAD_FILE", { layers: [null] }, "every layer"],
    [
      "an adapter",
      "UNSUPPORTED",
      { layers: [layer({}), layer({ mediaType: "application/vnd.ollama.image.adapter" })] },
      "adapter",
    ],
  ])("refuses %s", (name, code, change, sentence) => {
    const broken = join(root, name);
    addModel(broken, "registry.ollama.ai/library/m/latest", LAYERS.slice(0, 1), "-", change as object);
    expect(() => findOllamaModel("m", [broken])).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(sentence) }),
    );
  });

  function layer(change: object): object {
    const text = "GGUF and so on";
    return {
      mediaType: "application/vnd.ollama.image.model",
      digest: `sha256:${sha256(text)}`,
      size: text.length,
      ...change,
    };
  }

  it("refuses a manifest that is no JSON", () => {
    const broken = join(root, "text");
    addModel(broken, "registry.ollama.ai/library/m/latest", []);
    writeFileSync(join(broken, "manifests/registry.ollama.ai/library/m/latest"), "<html>");
    expect(() => findOllamaModel("m", [broken])).toThrow(expect.objectContaining({ code: "BAD_FILE" }));
  });
});

describe("resolveModel", () => {
  it("takes ollama's names from the folder that OLLAMA_MODELS names, and paths as they are", () => {
    const store = join(root, "environment");
    addModel(store, "registry.ollama.ai/library/m/latest", LAYERS);
    vi.stubEnv("OLLAMA_MODELS", store);
    try {
      expect(ollamaFolders()).toEqual([store]);
      expect(resolveModel("ollama:m")).toBe(join(store, "blobs", `sha256-${sha256("GGUF and so on")}`));
      expect(resolveModel("some/ollama:m")).toBe("some/ollama:m");
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("looks in the user's folder and the service's where nothing is set", () => {
    expect(ollamaFolders({})).toEqual([expect.stringMatching(/\.ollama.models$/), "/usr/share/ollama/.ollama/models"]);
  });
});
