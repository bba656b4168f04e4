/** Windows and log-likelihoods of whole texts, against lm-evaluation-harness; divergence against its definition. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { divergence } from "../../src/model/divergence.js";
import { Model } from "../../src/model/model.js";
import { perplexityOf, rollingWindows } from "../../src/model/rolling.js";
import { mask } from "../../src/router/intervention-builders.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";

interface Golden {
  note: string;
  max_length: number;
  prefix_token_id: number;
  text: string;
  n_tokens: number;
  loglikelihood: number;
  windows: { context_ids: number[]; continuation_ids: number[]; loglikelihood: number }[];
}

describe("rollingWindows", () => {
  it("predicts each token once, and gives the last window as much input as the others", () => {
    const ids = Int32Array.from({ length: 23 }, (_, i) => 100 + i);
    const windows = rollingWindows(ids, 7, 5);
    expect(windows.flatMap(({ continuationIds }) => [...continuationIds])).toEqual([...ids]);
    expect(windows.map(({ contextIds, continuationIds }) => contextIds.length + continuationIds.length - 1)).toEqual([
      5, 5, 5, 5, 5,
    ]);
    expect([...windows[0]!.contextIds]).toEqual([7]);
    expect([...windows[1]!.contextIds]).toEqual([104]);
    expect([...windows[4]!.contextIds]).toEqual([117, 118, 119]);
  });

  it("has no window for an empty text", () => {
    expect(rollingWindows(new Int32Array(0), 7, 5)).toEqual([]);
  });
});

describeWithGoldens(
  "rolling log-likelihoods",
  ["golden/lm_eval/rolling_tiny.jsonl", "golden/models/qwen2moe-e8k2"],
  () => {
    const rows = readFileSync(sharedPath("golden/lm_eval/rolling_tiny.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Golden);
    let model: Model;
    beforeAll(async () => {
      model = await Model.load(sharedPath("golden/models/qwen2moe-e8k2"));
    });
    afterAll(() => model.dispose());

    it("cuts every text as the harness does", async () => {
      for (const { note, text, max_length, prefix_token_id, windows } of rows) {
        const ids = await model.tokenizer.encode(text, { addSpecial: false, parseSpecial: true });
        const cut = rollingWindows(ids, prefix_token_id, max_length).map(({ contextIds, continuationIds }) => ({
          context_ids: [...contextIds],
          continuation_ids: [...continuationIds],
        }));
        const expected = windows.map(({ context_ids, continuation_ids }) => ({ context_ids, continuation_ids }));
        expect(cut, note).toEqual(expected);
      }
    });

    it("sums to the harness's log-likelihood within 1e-3 a token", async () => {
      const usable = rows.filter(({ prefix_token_id }) => prefix_token_id === model.tokenizer.eosTokenId);
      expect(usable.length).toBeGreaterThan(5);
      for (const { note, text, max_length, loglikelihood, n_tokens } of usable) {
        const window = Math.min(max_length, model.config.maxContext);
        if (window < max_length && n_tokens > window) continue;
        const [result] = await model.loglikelihoodRolling([text], { window, parseSpecial: true });
        expect(result!.tokenIds.length, note).toBe(n_tokens);
        expect(Math.abs(result!.logprob - loglikelihood), note).toBeLessThanOrEqual(1e-3 * n_tokens);
      }
    });

    it("divides sums, not ratios, over several texts", async () => {
      const results = await model.loglikelihoodRolling(["The cat sat.", " A  b\n"]);
      const logprob = results[0]!.logprob + results[1]!.logprob;
      expect(results[1]).toMatchObject({ numBytes: 6, numWords: 4 });
      const { perWord, perByte, bitsPerByte, perToken } = perplexityOf(results);
      const tokens = results[0]!.tokenIds.length + results[1]!.tokenIds.length;
      expect(perWord).toBeCloseTo(Math.exp(-logprob / 7), 6);
      expect(perByte).toBeCloseTo(Math.exp(-logprob / 18), 9);
      expect(perToken).toBeCloseTo(Math.exp(-logprob / tokens), 6);
      expect(bitsPerByte).toBeCloseTo(-logprob / 18 / Math.LN2, 9);
    });

    it("finds no divergence of a model from itself, and the definition's from its ablation", async () => {
      const text = rows.find(({ note }) => note === "code")!.text;
      const itself = await divergence(model, model, text, { window: 64 });
      expect(itself.kl).toEqual({ mean: 0, median: 0, max: 0 });
      expect(itself).toMatchObject({ top1Agreement: 1, routes: { sameSet: 1, overlap: 1 } });
      const [rolling] = await model.loglikelihoodRolling([text], { window: 64 });
      expect(itself.a.logprob).toBeCloseTo(rolling!.logprob, 2);

      const other = model.with(mask({ layers: [0], experts: [0] }));
      const short = "The cat sat on the mat.";
      const found = await divergence(model, other, short);
      const prefix = model.tokenizer.bosTokenId ?? model.tokenizer.eosTokenId!;
      const ids = [prefix, ...(await model.tokenizer.encode(short, { addSpecial: false }))].slice(0, -1);
      const [a, b] = await Promise.all(
        [model, other].map((each) => each.forward(ids, { logits: "all", trace: "topk" })),
      );
      const kls = ids.map((_, row) => klOfRow(a!.logits, b!.logits, row, model.config.vocabSize));
      expect(found.kl.mean).toBeCloseTo(kls.reduce((sum, kl) => sum + kl, 0) / kls.length, 6);
      expect(found.kl.max).toBeCloseTo(Math.max(...kls), 6);
      const sets = (experts: Uint16Array, k: number) =>
        Array.from({ length: experts.length / k }, (_, row) => [...experts.slice(row * k, row * k + k)].sort().join());
      const [setsA, setsB] = [a!, b!].map(({ trace }) => sets(trace!.columns.topkExperts, trace!.topK));
      const same = setsA!.filter((set, row) => set === setsB![row]).length / setsA!.length;
      expect(same).toBeLessThan(1);
      expect(found.routes!.sameSet).toBeCloseTo(same, 9);
    });
  },
);

/** KL(a || b) of one row of logits, from the definition. */
function klOfRow(a: Float32Array, b: Float32Array, row: number, width: number): number {
  const softmax = (logits: Float32Array) => {
    const values = Array.from(logits.subarray(row * width, (row + 1) * width), Math.exp);
    const total = values.reduce((sum, value) => sum + value, 0);
    return values.map((value) => value / total);
  };
  const [p, q] = [softmax(a), softmax(b)];
  return p.reduce((sum, value, token) => sum + value * Math.log(value / q[token]!), 0);
}
