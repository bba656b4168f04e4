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

  it("refuses an empty context when there is no prefix token", () => {
    expect(() => encodePair(() => [1], "", "x", undefined)).toThrow("neither a bos nor an eos");
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
    const encode = await encoderOf(tokenizer, rows);
    expect(rows.length).toBeGreaterThan(50);
    for (const row of rows) {
      const run = () => truncatePair(encodePair(encode, row.context, row.continuation, imEnd), row.max_length);
      if (row.error !== undefined) {
        expect(run, row.note).toThrow();
        continue;
      }
      const whole = encodePair(encode, row.context, row.continuation, imEnd);
      expect(whole, row.note).toEqual({ contextIds: row.context_ids, continuationIds: row.continuation_ids });
      const kept = run();
      expect([...kept.contextIds, ...kept.continuationIds].slice(0, -1), row.note).toEqual(row.model_input);
    }
  });
});

/** The tokenizer's encode is asynchronous and the rule's is not: every text that the rule can ask for is encoded beforehand. */
async function encoderOf(tokenizer: Tokenizer, rows: Row[]): Promise<(text: string) => number[]> {
  const known = new Map<string, number[]>();
  for (const row of rows) {
    for (const text of [row.context + row.continuation, pythonRstrip(row.context), row.continuation]) {
      known.set(text, (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds());
    }
  }
  return (text) => known.get(text)!;
}
