/** The text side of a GGUF file, written from tokenizer.json and read back, against tokenizers and GGUF files of others. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Checkpoint, TokenizerSource } from "../../src/checkpoint/checkpoint.js";
import { readGgufHeader } from "../../src/checkpoint/gguf.js";
import { GgufMetadata } from "../../src/checkpoint/gguf-metadata.js";
import { tokenizerKeys } from "../../src/quantize/tokenizer-keys.js";
import { loadModelText } from "../../src/tokenizer/load.js";
import { temporaryFolder } from "../checkpoint/write-files.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";

const folder = temporaryFolder();

type Files = Extract<TokenizerSource, { kind: "files" }>;

/** A folder with a tokenizer.json, changed in some fields, and a config for it. */
function filesOf(name: string, source: string, change: object, config: object): Files {
  const path = join(folder, name);
  mkdirSync(path);
  const tokenizerJson = join(path, "tokenizer.json");
  copyFileSync(source, tokenizerJson);
  const json = JSON.parse(readFileSync(source, "utf8")) as object;
  writeFileSync(tokenizerJson, JSON.stringify({ ...json, ...change }));
  const tokenizerConfig = join(path, "tokenizer_config.json");
  writeFileSync(tokenizerConfig, JSON.stringify(config));
  return { kind: "files", tokenizerJson, tokenizerConfig, chatTemplate: null, generationConfig: null };
}

async function metadataOf(files: Files, vocabSize: number, eosTokenIds: number[]): Promise<GgufMetadata> {
  const config = { vocabSize, eosTokenIds, bosTokenId: null };
  return new GgufMetadata("written", await tokenizerKeys({ path: folder, config } as unknown as Checkpoint, files));
}

const TEXTS = [
  "Hello world",
  " two  spaces, \u{1f600} and naïve café\n\n\ttabs 1234567",
  "<|im_start|>user\nWhat is 2+2?<|im_end|>\n",
  "def f(x):\n    return x ** 2  # 東京",
  "",
];

describeWithGoldens("tokenizerKeys of a SentencePiece vocabulary", "golden/tokenizer", () => {
  const source = sharedPath("golden/tokenizer/yi_like.tokenizer.json");
  const theirs = readGgufHeader(sharedPath("golden/tokenizer/yi_like-vocab.gguf")).metadata;
  const config = {
    bos_token: "<|startoftext|>",
    eos_token: "<|im_end|>",
    unk_token: "<unk>",
    add_bos_token: false,
    add_eos_token: false,
  };

  it("has the tokens, types, order of scores and special tokens of the converter's file", async () => {
    const ours = await metadataOf(filesOf("yi", source, {}, config), 6000, [7]);
    const scalars = ["model", "pre", "bos_token_id", "eos_token_id", "unknown_token_id", "add_bos_token"];
    for (const name of [...scalars, "add_eos_token", "add_space_prefix"]) {
      const key = `tokenizer.ggml.${name}`;
      expect(JSON.stringify(ours.get(key)), key).toBe(JSON.stringify(theirs.get(key)));
    }
    const [tokens, wanted] = [ours.strings("tokenizer.ggml.tokens")!, theirs.strings("tokenizer.ggml.tokens")!];
    expect(tokens.length).toBe(wanted.length);
    for (let i = 0; i < tokens.length; i++) expect(Buffer.from(tokens.at(i)).equals(wanted.at(i))).toBe(true);
    const types = (from: GgufMetadata) => Array.from(from.numbers("tokenizer.ggml.token_type", "integers")!, Number);
    expect(types(ours)).toEqual(types(theirs));
    // Scores may be other numbers, if pieces that a merge makes stand in the same order.
    const scores = (from: GgufMetadata) => Array.from(from.numbers("tokenizer.ggml.scores", "floats")!, Number);
    const merged = new Set(mergesOf(source).map(([left, right]) => left + right));
    const ids = types(theirs).flatMap((type, id) => (type === 1 && merged.has(textOf(wanted.at(id))) ? [id] : []));
    const order = (values: number[]) => ids.toSorted((a, b) => values[b]! - values[a]! || a - b);
    expect(order(scores(ours))).toEqual(order(scores(theirs)));
  });

  it.each([
    ["as it is", {}],
    [
      "with a prefix space",
      {
        normalizer: {
          type: "Sequence",
          normalizers: [
            { type: "Prepend", prepend: "▁" },
            { type: "Replace", pattern: { String: " " }, content: "▁" },
          ],
        },
      },
    ],
  ])("gives the same ids, %s", async (name, change) => {
    const files = filesOf(`ids ${name}`, source, change, { ...config, add_bos_token: true });
    const before = await loadModelText(files, folder);
    const metadata = await metadataOf(files, 6000, [7]);
    const after = await loadModelText({ kind: "gguf", metadata }, folder, {
      // Not stated in a GGUF file.
      spaceAfterSpecial: before.tokenizer.spaceAfterSpecial,
    });
    for (const text of TEXTS) {
      const options = { parseSpecial: true };
      expect(await after.tokenizer.encode(text, options), text).toEqual(await before.tokenizer.encode(text, options));
    }
  });

  it("refuses a normaliser that GGUF has no word for", async () => {
    const change = { normalizer: { type: "NFKC" } };
    await expect(metadataOf(filesOf("nfkc", source, change, config), 6000, [7])).rejects.toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringContaining("NFKC"),
    });
  });
});

describeWithGoldens("tokenizerKeys of a byte-level vocabulary", "golden/models/llama-yi", () => {
  const source = sharedPath("golden/models/llama-yi/tokenizer.json");
  const config = { eos_token: "<|im_end|>" };

  it("pads the vocabulary to the rows of the embedding, and keeps every end of a text", async () => {
    const metadata = await metadataOf(filesOf("padded", source, {}, config), 1030, [1021, 1023, 1022]);
    const tokens = metadata.strings("tokenizer.ggml.tokens")!;
    expect([tokens.length, textOf(tokens.at(1029))]).toEqual([1030, "[PAD1029]"]);
    expect(Number(metadata.numbers("tokenizer.ggml.token_type", "integers")![1029])).toBe(5);
    const ends = ["eos", "eot", "eom"].map((name) => metadata.integer(`tokenizer.ggml.${name}_token_id`));
    expect(ends).toEqual([1023, undefined, 1021]);
    expect(metadata.has("tokenizer.ggml.add_bos_token")).toBe(false);
  });

  it("refuses to name a way of cutting words that it is not", async () => {
    const change = {
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    };
    await expect(metadataOf(filesOf("other", source, change, config), 1024, [1023])).rejects.toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringContaining("cuts text into words"),
    });
    const noNfc = filesOf("no nfc", source, { normalizer: null }, config);
    await expect(metadataOf(noNfc, 1024, [1023])).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });
});

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8");
}

function mergesOf(path: string): [string, string][] {
  const { model } = JSON.parse(readFileSync(path, "utf8")) as { model: { merges: (string | [string, string])[] } };
  return model.merges.map((merge) => (typeof merge === "string" ? (merge.split(" ") as [string, string]) : merge));
}
