import { readFileSync } from "node:fs";
import { Tokenizer } from "tokenizers";
import { describe, expect, it } from "vitest";
import { encodePair, pythonRstrip, truncatePair } from "../../src/tokenizer/encode-pair.js";
import { readGolden, shared, skipReason } from "../eval/shared.js";

interface Row {
  note: string;
  max_length: number;
  context: string;
  continuation: string;
  context_ids: number[];
  continuation_ids: number[];
  model_input?: number[];
  error?: string;
}

describe("encodePair", () => {
  it("moves only Python's white space, not JavaScript's", () => {
    expect(pythonRstrip("a \n\u3000\u00a0\x85\x1f")).toBe("a");
    expect(pythonRstrip("a\ufeff")).toBe("a\ufeff");
    expect(pythonRstrip("a\u200b")).toBe("a\u200b");
  });

  it("refuses an empty context when there is no prefix token", async () => {
    await expect(encodePair(() => [1], "", "x", undefined)).rejects.toThrow("neither a bos nor an eos");
  });

  it("keeps the last maxLength + 1 tokens and refuses a longer continuation", () => {
    const pair = { contextIds: [1, 2, 3, 4], continuationIds: [5, 6] };
    expect(truncatePair(pair, 3)).toEqual({ contextIds: [3, 4], continuationIds: [5, 6] });
    expect(truncatePair(pair, 2)).toEqual({ contextIds: [4], continuationIds: [5, 6] });
    expect(() => truncatePair(pair, 1)).toThrow("at most 1 tokens");
  });

  it.skipIf(skipReason)(`gives the harness's ids, input and refusals on every request${skipReason}`, async () => {
    const rows = readGolden<Row>("lm_eval/requests_tiny.jsonl");
    const tokenizer = Tokenizer.fromString(readFileSync(shared("golden/models/qwen2moe-e8k2/tokenizer.json"), "utf8"));
    const imEnd = tokenizer.tokenToId("<|im_end|>")!;
    const encode = async (text: string) => (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds();
    expect(rows.length).toBeGreaterThan(50);
    for (const row of rows) {
      const run = async () =>
        truncatePair(await encodePair(encode, row.context, row.continuation, imEnd), row.max_length);
      if (row.error !== undefined) {
        await expect(run(), row.note).rejects.toThrow();
        continue;
      }
      const whole = await encodePair(encode, row.context, row.continuation, imEnd);
      expect(whole, row.note).toEqual({ contextIds: row.context_ids, continuationIds: row.continuation_ids });
      const kept = await run();
      expect([...kept.contextIds, ...kept.continuationIds].slice(0, -1), row.note).toEqual(row.model_input);
    }
  });
});
