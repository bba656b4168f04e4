import { Tokenizer as PackageTokenizer } from "tokenizers";
import { describe, expect, test } from "vitest";
import { Tokenizer } from "../../src/tokenizer/tokenizer.js";
import { checkTokenizerJson, parseJsonObject, type TokenizerJson } from "../../src/tokenizer/tokenizer-json.js";
import { describeWithGoldens } from "../golden/shared.js";
import { differences } from "./check-encoding.js";
import { type EncodeRow, GOLDEN, readJsonl, readTokenizerJson, SHARED, textOf } from "./goldens.js";

describeWithGoldens("on golden files", "golden", () => {
  const yiPath = `${GOLDEN}/yi_like.tokenizer.json`;
  const modelPath = `${SHARED}/golden/models/qwen2moe-e8k2/tokenizer.json`;
  const yiRows = readJsonl<EncodeRow>(`${GOLDEN}/yi.jsonl`);
  const qwenLike = (): Tokenizer => new Tokenizer(readTokenizerJson(modelPath), modelPath);

  test("every row of the stand-in for Yi", async () => {
    expect(yiRows.length).toBeGreaterThan(400);
    expect(await differences(new Tokenizer(readTokenizerJson(yiPath), yiPath), yiRows)).toEqual([]);
  });

  test.each([
    ["byte-level", modelPath],
    ["SentencePiece", yiPath],
  ])("special tokens are found as the package itself finds them: %s", async (_, path) => {
    const tokenizer = new Tokenizer(readTokenizerJson(path), path);
    const known = PackageTokenizer.fromFile(path);
    const added = readTokenizerJson(path).added_tokens.map((token) => token.content);
    for (const [index, row] of yiRows.entries()) {
      if (row.gen !== undefined) continue;
      const text = `${added[index % added.length]}${textOf(row)} ${added[(index * 7) % added.length]}x`;
      const expected = (await known.encode(text, null, { addSpecialTokens: false })).getIds();
      expect([...(await tokenizer.encode(text, { addSpecial: false, parseSpecial: true }))]).toEqual(expected);
    }
  });

  test("no text becomes a special token unless it is asked for", async () => {
    const tokenizer = qwenLike();
    for (const text of ["<|im_end|>", "a<|im_start|>system\n", "<|endoftext|><|endoftext|>"]) {
      const ids = await tokenizer.encode(text);
      expect([...ids].some((id) => tokenizer.isSpecial(id))).toBe(false);
      expect(tokenizer.decode(ids)).toBe(text);
    }
    expect([...(await tokenizer.encode("<|im_end|>", { parseSpecial: true }))]).toEqual([1023]);
  });

  test("10,000 equal characters take well under a second, 250,000 not 25 times 25 as long", async () => {
    // CPU time of the process, encoder threads included: the clock also counts what else the machine does.
    const seconds = async (tokenizer: Tokenizer, text: string): Promise<number> => {
      const start = process.cpuUsage();
      expect(tokenizer.decode(await tokenizer.encode(text))).toBe(text);
      const { user, system } = process.cpuUsage(start);
      return (user + system) / 1e6;
    };
    for (const tokenizer of [qwenLike(), new Tokenizer(readTokenizerJson(yiPath), yiPath)]) {
      for (const unit of ["a", " ", "\n", "字", "é", "1", "😀"]) {
        expect(await seconds(tokenizer, unit.repeat(10_000))).toBeLessThan(0.8);
      }
      expect(await seconds(tokenizer, " ".repeat(250_000))).toBeLessThan(5);
    }
  });

  test("ids, pieces and bytes", () => {
    const tokenizer = qwenLike();
    expect(tokenizer.vocabSize).toBe(1024);
    expect(tokenizer.tokenId("<|im_end|>")).toBe(1023);
    expect(tokenizer.tokenPiece(1023)).toBe("<|im_end|>");
    const space = tokenizer.tokenId("Ġt")!;
    expect([...tokenizer.tokenBytes(space)]).toEqual([0x20, 0x74]);
    expect(tokenizer.tokenPiece(1500)).toBeUndefined();
    expect(tokenizer.decode([1500, 1 << 20])).toBe("");
    expect(() => tokenizer.decode([-1])).toThrow("Expected a whole number from 0 for a token id");
  });
});

/** A SentencePiece-like vocabulary of a few pieces; `change` edits the file before it is read. */
function tiny(change: (json: Record<string, unknown>) => void = () => {}): TokenizerJson {
  const pieces = ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "▁b", "<tool>"];
  const json: Record<string, unknown> = {
    added_tokens: [
      { id: 0, content: "<unk>", special: true },
      { id: 1, content: "<s>", special: true },
      { id: 2, content: "</s>", special: true },
      { id: 8, content: "<tool>", special: false, normalized: false },
    ],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: [
        ["▁", "a"],
        ["▁", "b"],
      ],
    },
  };
  change(json);
  return checkTokenizerJson(json, "tiny.json");
}

describe("rules", () => {
  const parsed = async (tokenizer: Tokenizer, text: string): Promise<number[]> => [
    ...(await tokenizer.encode(text, { parseSpecial: true })),
  ];

  test("text after a special token gets its own prefix space, or not", async () => {
    expect(await parsed(new Tokenizer(tiny(), "tiny.json"), "a<s>b")).toEqual([6, 1, 7]);
    expect(await parsed(new Tokenizer(tiny(), "tiny.json", { config: { legacy: false } }), "a<s>b")).toEqual([6, 1, 5]);
    expect(await parsed(new Tokenizer(tiny(), "tiny.json", { spaceAfterSpecial: false }), "a<s>b")).toEqual([6, 1, 5]);
    const metaspace = tiny((json) => {
      json.normalizer = null;
      json.pre_tokenizer = { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false };
      json.decoder = { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false };
    });
    expect(await parsed(new Tokenizer(metaspace, "tiny.json"), "a<s>b")).toEqual([6, 1, 5]);
    expect(await parsed(new Tokenizer(metaspace, "tiny.json", { spaceAfterSpecial: true }), "a<s>b")).toEqual([
      6, 1, 7,
    ]);
    expect(new Tokenizer(metaspace, "tiny.json").decode([6, 5])).toBe("ab");
  });

  test("BOS and EOS: the post-processor's, unless the config says otherwise", async () => {
    const withBos = tiny((json) => {
      json.post_processor = {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
        pair: [],
        special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
      };
    });
    const named = { bos_token: "<s>", eos_token: { content: "</s>" } };
    const ids = async (json: TokenizerJson, config: object, addSpecial?: boolean): Promise<number[]> => [
      ...(await new Tokenizer(json, "tiny.json", { config: { ...named, ...config } }).encode("a", { addSpecial })),
    ];
    expect(await ids(withBos, {})).toEqual([1, 6]);
    expect(await ids(withBos, {}, false)).toEqual([6]);
    expect(await ids(withBos, { add_bos_token: false })).toEqual([6]);
    expect(await ids(tiny(), {})).toEqual([6]);
    expect(await ids(tiny(), { add_bos_token: true, add_eos_token: true })).toEqual([1, 6, 2]);
    const tokenizer = new Tokenizer(tiny(), "tiny.json", { config: named, eosTokenIds: [2, 8] });
    expect([tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.padTokenId]).toEqual([1, 2, null]);
    expect(tokenizer.eosTokenIds).toEqual([2, 8]);
  });

  test("an added token that is not special counts in any text, under its own id", async () => {
    const tokenizer = new Tokenizer(tiny(), "tiny.json");
    expect([...(await tokenizer.encode("a<tool><s>"))].filter((id) => id === 8)).toEqual([8]);
    const far = tiny((json) => {
      (json.added_tokens as object[]).push({ id: 4000, content: "<far>", special: false, normalized: false });
    });
    expect([...(await new Tokenizer(far, "tiny.json").encode("<far>"))]).toEqual([4000]);
  });

  test("lstrip, rstrip and single_word", async () => {
    const json = tiny((file) => {
      file.added_tokens = [
        { id: 1, content: "<s>", special: true, lstrip: true, rstrip: true },
        { id: 2, content: "aa", special: true, single_word: true },
      ];
    });
    const tokenizer = new Tokenizer(json, "tiny.json", { spaceAfterSpecial: false });
    expect(await parsed(tokenizer, "a  <s> \n b")).toEqual([6, 1, 5]);
    expect(await parsed(tokenizer, "aa")).toEqual([2]);
    expect(await parsed(tokenizer, "aab")).toEqual([6, 4, 5]);
    expect(await parsed(tokenizer, "a aa b")).toEqual([6, 3, 2, 7]);
  });

  test("of special tokens that begin alike the longest is found", async () => {
    const json = tiny((file) => {
      file.added_tokens = [
        { id: 1, content: "<x", special: true },
        { id: 2, content: "<x>", special: true },
      ];
    });
    expect(await parsed(new Tokenizer(json, "tiny.json"), "<x><x")).toEqual([2, 1]);
  });

  test("decoding drops one leading space, and only at the start", () => {
    const tokenizer = new Tokenizer(tiny(), "tiny.json");
    expect(tokenizer.decode([6, 7])).toBe("a b");
    expect(tokenizer.decode([3, 6])).toBe(" a");
    expect(tokenizer.decode([6, 7], { stripLeadingSpace: false })).toBe(" a b");
    expect(tokenizer.decode([1, 6, 2, 7])).toBe("<s> a</s> b");
    expect(tokenizer.decode([1, 6, 2, 7], { skipSpecial: true })).toBe("a b");
  });
});

describe("bad files are named, with what is wrong in them", () => {
  const read = (text: string): TokenizerJson =>
    checkTokenizerJson(parseJsonObject(text, "dir/tokenizer.json"), "dir/tokenizer.json");
  const build = (change: (json: Record<string, unknown>) => void, config = {}): Tokenizer =>
    new Tokenizer(tiny(change), "tiny.json", { config });

  test.each([
    ["{", "BAD_FILE", /Expected JSON in dir\/tokenizer\.json/],
    ["[]", "BAD_FILE", /Expected a JSON object in dir\/tokenizer\.json, got an array/],
    [
      '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}',
      "BAD_FILE",
      /Expected an id .* for "a" in model\.vocab/,
    ],
    ['{"model": {"type": "BPE", "vocab": {"a": 1e12}, "merges": []}}', "BAD_FILE", /Expected an id .* for "a"/],
    ['{"model": {"type": "Unigram", "vocab": []}}', "UNSUPPORTED", /type "BPE" in dir\/tokenizer\.json, got "Unigram"/],
    ['{"added_tokens": [{"id": 1}], "model": {}}', "BAD_FILE", /added_tokens\[0\]/],
    ['{"normalizer": 3, "model": {}}', "BAD_FILE", /normalizer of dir\/tokenizer\.json/],
    ['{"model": null}', "BAD_FILE", /an object for model of dir\/tokenizer\.json, got null/],
  ])("%s", (text, code, message) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });

  test.each<[string, (json: Record<string, unknown>) => void, object, string, RegExp]>([
    [
      "a decoder",
      (json) => (json.decoder = { type: "WordPiece" }),
      {},
      "UNSUPPORTED",
      /decoder in tiny\.json, got WordPiece/,
    ],
    ["a post-processor", (json) => (json.post_processor = { type: "Odd" }), {}, "UNSUPPORTED", /got Odd/],
    ["a pre-tokenizer", (json) => (json.pre_tokenizer = { type: "Odd" }), {}, "BAD_FILE", /can read in tiny\.json/],
    ["a merge", (json) => ((json.model as { merges: unknown }).merges = [["zz", "a"]]), {}, "BAD_FILE", /tiny\.json/],
    ["eos_token", () => {}, { eos_token: "<end>" }, "BAD_FILE", /eos_token .* vocabulary of tiny\.json, got "<end>"/],
  ])("%s that does not fit", (_, change, config, code, message) => {
    expect(() => build((json) => void change(json), config)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test("the file's own truncation does not cut a prompt", async () => {
    const json = tiny((file) => {
      file.truncation = { max_length: 1, strategy: "LongestFirst", stride: 0, direction: "Right" };
    });
    expect([...(await new Tokenizer(json, "tiny.json").encode("a b a"))]).toEqual([6, 7, 6]);
  });
});
