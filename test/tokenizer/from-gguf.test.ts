import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readGgufHeader } from "../../src/checkpoint/gguf.js";
import { GgufMetadata } from "../../src/checkpoint/gguf-metadata.js";
import type { GgufValue } from "../../src/checkpoint/gguf-values.js";
import { tokenizerFromGguf } from "../../src/tokenizer/from-gguf.js";
import { readGgufTokenizerMetadata } from "../../src/tokenizer/gguf-keys.js";
import type { GgufTokenizerMetadata } from "../../src/tokenizer/gguf-tokens.js";
import { loadModelText, loadTokenizer } from "../../src/tokenizer/load.js";
import { BYTE_TO_CHAR } from "../../src/tokenizer/token-bytes.js";
import { describeWithGoldens } from "../golden/shared.js";
import { differences } from "./check-encoding.js";
import { type EncodeRow, GOLDEN, readJsonl, SHARED, textOf } from "./goldens.js";

function read(path: string): GgufTokenizerMetadata {
  return readGgufTokenizerMetadata(readGgufHeader(path).metadata);
}

describeWithGoldens("files", "golden", () => {
  const yiPath = `${GOLDEN}/yi_like-vocab.gguf`;
  const rows = readJsonl<EncodeRow>(`${GOLDEN}/yi.jsonl`);

  test("the stand-in for Yi, from scores: every row", async () => {
    const { tokenizer, chatTemplate } = tokenizerFromGguf(read(yiPath), yiPath);
    expect(await differences(tokenizer, rows)).toEqual([]);
    expect([tokenizer.vocabSize, tokenizer.bosTokenId, tokenizer.eosTokenIds]).toEqual([6000, 1, [7, 2]]);
    expect(tokenizer.warnings).toEqual([]);
    expect(chatTemplate).toBeNull();
  });

  test.each<[string, Partial<GgufTokenizerMetadata>]>([
    ["both keys", { addBosToken: undefined, addSpacePrefix: undefined }],
    ["add_space_prefix", { addSpacePrefix: undefined }],
  ])("a Yi file that lacks %s is read as Yi, with a warning", async (_, change) => {
    const { tokenizer } = tokenizerFromGguf({ ...read(yiPath), ...change }, yiPath);
    expect(tokenizer.warnings).toHaveLength(1);
    expect(tokenizer.warnings[0]).toMatch(/looks like Yi's, but the file lacks .*add_space_prefix/);
    expect(await differences(tokenizer, rows)).toEqual([]);
  });

  const models = readdirSync(`${SHARED}/golden/gguf/models`).filter((name) => name.endsWith(".gguf"));
  // The later parts of a split file hold no tokenizer.
  test.each(models.filter((name) => !/-0000[2-9]-of/.test(name)))(
    "%s gives what tokenizer.json gives",
    async (name) => {
      const path = `${SHARED}/golden/gguf/models/${name}`;
      const { metadata } = readGgufHeader(path);
      const fromGguf = await loadModelText({ kind: "gguf", metadata }, path);
      const fromJson = await loadTokenizer(`${SHARED}/golden/models/qwen2moe-e8k2`);
      for (const row of rows.filter((_, index) => index % 16 === 0)) {
        const text = `${textOf(row)}<|im_end|>`;
        for (const parseSpecial of [true, false]) {
          const [actual, expected] = await Promise.all(
            [fromGguf, fromJson].map(({ tokenizer }) => tokenizer.encode(text, { parseSpecial })),
          );
          expect(actual).toEqual(expected);
        }
      }
      expect(fromGguf.tokenizer.eosTokenId).toBe(1023);
      expect(fromGguf.chatTemplate?.source).toBe("GGUF metadata");
      expect(fromGguf.chatTemplate?.sha256).toBe(fromJson.chatTemplate?.sha256);
    },
  );
});

/** Byte-level: the 256 bytes, "ab" made of two, then whatever is added. */
function byteLevel(more: [string, number][], change: Partial<GgufTokenizerMetadata> = {}): GgufTokenizerMetadata {
  const tokens = [...BYTE_TO_CHAR, "ab", ...more.map(([text]) => text)];
  const tokenTypes = [...new Array<number>(257).fill(1), ...more.map(([, type]) => type)];
  return { model: "gpt2", pre: "qwen2", tokens, tokenTypes, merges: ["a b"], ...change };
}

/** SentencePiece with scores. */
function sentencePiece(
  pieces: [string, number, number][],
  change: Partial<GgufTokenizerMetadata> = {},
): GgufTokenizerMetadata {
  const all: [string, number, number][] = [["<unk>", 0, 2], ["<s>", 0, 3], ["</s>", 0, 3], ...pieces];
  return {
    model: "llama",
    tokens: all.map(([text]) => text),
    scores: all.map(([, score]) => score),
    tokenTypes: all.map(([, , type]) => type),
    bosTokenId: 1,
    eosTokenId: 2,
    ...change,
  };
}

async function ids(metadata: GgufTokenizerMetadata, text: string, options = {}): Promise<number[]> {
  return [...(await tokenizerFromGguf(metadata, "x.gguf").tokenizer.encode(text, options))];
}

describe("token types", () => {
  const vocabulary = byteLevel([
    ["<|c|>", 3],
    ["<u>", 4],
    ["[PAD259]", 4],
    ["[PAD260]", 5],
    ["<unused>", 5],
  ]);

  test("control tokens only where asked, user-defined always, padding and unused never", async () => {
    expect(await ids(vocabulary, "<|c|><u>", { parseSpecial: true })).toEqual([257, 258]);
    expect((await ids(vocabulary, "<|c|>")).includes(257)).toBe(false);
    expect(await ids(vocabulary, "<u>")).toEqual([258]);
    for (const text of ["[PAD259]", "[PAD260]", "<unused>"]) {
      expect(await ids(vocabulary, text, { parseSpecial: true })).toHaveLength(text.length);
    }
    const { tokenizer } = tokenizerFromGguf(vocabulary, "x.gguf");
    expect([257, 258].map((id) => tokenizer.isSpecial(id))).toEqual([true, false]);
    expect(tokenizer.decode([259, 260, 256])).toBe("ab");
  });

  test("a doubled text is encoded as the first and decoded as either; bytes that are no UTF-8 are decoded", async () => {
    const { tokenizer } = tokenizerFromGguf(byteLevel([["ab", 1]]), "x.gguf");
    expect([...(await tokenizer.encode("ab"))]).toEqual([256]);
    expect(tokenizer.decode([256, 257])).toBe("abab");
    const pieces = sentencePiece([
      ["▁", -1, 1],
      ["e", -2, 1],
    ]);
    const bytes = [...(pieces.tokens as string[]).map((text) => new TextEncoder().encode(text)), Uint8Array.of(0xc3)];
    const broken = { ...pieces, tokens: bytes, tokenTypes: [2, 3, 3, 1, 1, 1], scores: [0, 0, 0, -1, -2, -3] };
    expect(tokenizerFromGguf(broken, "x.gguf").tokenizer.decode([4, 5])).toBe("e\uFFFD");
  });

  test("BOS: added by default for llama, not for gpt2", async () => {
    const pieces: [string, number, number][] = [
      ["▁", -1, 1],
      ["a", -2, 1],
      ["▁a", -3, 1],
    ];
    expect(await ids(sentencePiece(pieces), "a")).toEqual([1, 5]);
    expect(await ids(sentencePiece(pieces, { addBosToken: false }), "a")).toEqual([5]);
    expect(await ids(sentencePiece(pieces, { addSpacePrefix: false, addEosToken: true }), "a")).toEqual([1, 4, 2]);
    expect(await ids(byteLevel([["<s>", 3]], { bosTokenId: 257 }), "ab")).toEqual([256]);
    expect(await ids(byteLevel([["<s>", 3]], { bosTokenId: 257, addBosToken: true }), "ab")).toEqual([257, 256]);
  });
});

test("the highest score merges first, ties leftmost; the rest falls back to bytes", async () => {
  const letters: [string, number, number][] = [
    ["a", -9, 1],
    ["b", -9, 1],
    ["c", -9, 1],
    ["ab", -2, 1],
    ["bc", -1, 1],
    ["cc", -3, 1],
  ];
  const bytes = Array.from({ length: 256 }, (_, b): [string, number, number] => [
    `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`,
    0,
    6,
  ]);
  const metadata = sentencePiece([...letters, ...bytes], { addSpacePrefix: false, addBosToken: false });
  expect(await ids(metadata, "abc")).toEqual([3, 7]);
  expect(await ids(metadata, "ccc")).toEqual([8, 5]);
  expect(await ids(metadata, "aé")).toEqual([3, 9 + 0xc3, 9 + 0xa9]);
});

test("smollm: every digit stands alone, contractions keep their case, no NFC", async () => {
  const metadata = byteLevel([["12", 1]], { pre: "smollm", merges: ["a b", "1 2"] });
  expect(await ids(metadata, "12")).toHaveLength(2);
  expect(await ids(metadata, "e\u0301")).toHaveLength(3);
  expect(await ids({ ...metadata, pre: "qwen2" }, "e\u0301")).toHaveLength(2);
});

describe("reading the keys of a file", () => {
  const text = (value: string): GgufValue => ({ type: "string", value: new TextEncoder().encode(value) });

  test.each<[string, [string, GgufValue][], string, RegExp]>([
    ["no model", [], "BAD_FILE", /Expected tokenizer\.ggml\.model in x\.gguf/],
    ["no tokens", [["tokenizer.ggml.model", text("gpt2")]], "BAD_FILE", /tokenizer\.ggml\.tokens in x\.gguf/],
    [
      "a model of a wrong type",
      [["tokenizer.ggml.model", { type: "u32", value: 1 }]],
      "BAD_FILE",
      /tokenizer\.ggml\.model in x\.gguf/,
    ],
    [
      "its own normalisation",
      [["tokenizer.ggml.precompiled_charsmap", text("")]],
      "UNSUPPORTED",
      /precompiled_charsmap in x\.gguf/,
    ],
  ])("%s", async (_, values, code, message) => {
    const metadata = new GgufMetadata("x.gguf", new Map(values));
    await expect(loadModelText({ kind: "gguf", metadata }, "x.gguf")).rejects.toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});

describe("refusals", () => {
  test.each<[string, GgufTokenizerMetadata, string, RegExp]>([
    ["model", byteLevel([], { model: "bert" }), "UNSUPPORTED", /tokenizer\.ggml\.model in x\.gguf, got "bert"/],
    [
      "pre",
      byteLevel([], { pre: "llama-bpe" }),
      "UNSUPPORTED",
      /qwen2, smollm for tokenizer\.ggml\.pre in x\.gguf, got "llama-bpe"/,
    ],
    ["no pre", byteLevel([], { pre: undefined }), "UNSUPPORTED", /tokenizer\.ggml\.pre in x\.gguf, got none/],
    ["no merges", byteLevel([], { merges: undefined }), "BAD_FILE", /tokenizer\.ggml\.merges in x\.gguf/],
    ["a merge of one", byteLevel([], { merges: ["ab"] }), "BAD_FILE", /merges\[0\] in x\.gguf, got "ab"/],
    ["an unknown merge", byteLevel([], { merges: ["zz y"] }), "BAD_FILE", /x\.gguf/],
    ["types", byteLevel([], { tokenTypes: [1] }), "BAD_FILE", /for each of 257 tokens in x\.gguf, got 1/],
    [
      "an id",
      byteLevel([], { eosTokenId: 999 }),
      "BAD_FILE",
      /0 to 256, for tokenizer\.ggml\.eos_token_id in x\.gguf, got 999/,
    ],
    ["no scores", sentencePiece([], { scores: undefined }), "BAD_FILE", /tokenizer\.ggml\.scores .* x\.gguf, got none/],
    [
      "whitespace rule",
      sentencePiece([], { removeExtraWhitespaces: true }),
      "UNSUPPORTED",
      /remove_extra_whitespaces in x\.gguf/,
    ],
  ])("%s", (_, metadata, code, message) => {
    expect(() => tokenizerFromGguf(metadata, "x.gguf")).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test("a missing pre is qwen2 for Qwen's architectures", async () => {
    const metadata = byteLevel([], { pre: undefined, architecture: "qwen2moe" });
    expect(await ids(metadata, "ab")).toEqual([256]);
  });
});
