/** Generation: when a text ends, what a reader sees of it, and what the numbers beside it mean. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GenerateOptions, Model } from "../../src/index.js";
import { generationContext } from "../../src/model/generation.js";
import { copyOfSeeded, seededModel, temporaryFolder } from "../cli/seeded.js";

const PROMPT = "Tom has 3 apples and buys 4 more. How many apples does he have now?";

/** Natural logarithm of the softmax at `id` of one row of logits, in float64. */
function logSoftmax(logits: Float32Array, id: number): number {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  return logits[id]! - largest - Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
}

async function readStream(model: Model, options: GenerateOptions) {
  const stream = model.stream(PROMPT, options);
  const pieces: string[] = [];
  while (true) {
    const { value, done } = await stream.next();
    if (done) return { pieces, generation: value };
    pieces.push(value.text);
  }
}

describe("generation", () => {
  const folder = temporaryFolder();
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(seededModel());
  });
  afterAll(() => model.dispose());

  /** A copy of the model with changed files; it goes away with the test. */
  async function withModel<T>(name: string, change: (folder: string) => void, use: (model: Model) => Promise<T>) {
    const copy = copyOfSeeded(join(folder, name));
    change(copy);
    const changed = await Model.load(copy);
    try {
      return await use(changed);
    } finally {
      await changed.dispose();
    }
  }

  it("never shows any of a stop string that spans tokens", async () => {
    const whole = await model.generate(PROMPT, { maxTokens: 40 });
    const texts = Array.from(whole.tokenIds, (id) => model.tokenizer.decode([id]));
    // From inside one token to inside the next, both plain text.
    const at = texts.findIndex(
      (text, i) => i > 2 && /^[ -~]{2,}$/.test(text) && /^[ -~]{2,}$/.test(texts[i + 1] ?? ""),
    );
    const stop = texts[at]!.slice(-1) + texts[at + 1]!.slice(0, 1);
    const { pieces, generation } = await readStream(model, { maxTokens: 40, stop });
    expect(generation.finishReason).toBe("stop");
    expect(generation.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
    expect(pieces.join("")).toBe(generation.text);
    expect(generation.tokenIds).toEqual(whole.tokenIds.slice(0, generation.tokenIds.length));
  });

  it("streams the same text as it returns, sample by sample", async () => {
    const stream = model.stream(PROMPT, { maxTokens: 20, temperature: 1, seed: 5, n: 3 });
    const texts = ["", "", ""];
    let next = await stream.next();
    for (; !next.done; next = await stream.next()) texts[next.value.sample] += next.value.text;
    expect(next.value.samples.map(({ text }) => text)).toEqual(texts);
    expect(new Set(texts).size).toBe(3);
  });

  it("ends each of n samples at its own end-of-text token", async () => {
    const options = { maxTokens: 24, temperature: 1, seed: 11, n: 4 };
    const { samples } = await model.generate(PROMPT, options);
    // A token in the middle of the second sample becomes an end of text.
    const eos = samples[1]!.tokenIds[9]!;
    const ended = await withModel(
      "eos",
      (copy) => writeFileSync(join(copy, "generation_config.json"), JSON.stringify({ eos_token_id: [eos] })),
      (changed) => changed.generate(PROMPT, options),
    );
    for (const [i, { tokenIds, text, finishReason }] of ended.samples.entries()) {
      const at = samples[i]!.tokenIds.indexOf(eos);
      expect(tokenIds).toEqual(samples[i]!.tokenIds.slice(0, at < 0 ? undefined : at + 1));
      expect(finishReason).toBe(at < 0 ? "length" : "eos");
      if (at >= 0) expect(text).toBe(model.tokenizer.decode(tokenIds.slice(0, -1), { stripLeadingSpace: false }));
    }
    expect(ended.samples[1]!.tokenIds.length).toBeLessThanOrEqual(10);
    expect(ended.usage.completionTokens).toBe(ended.samples.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0));
  });

  it("ends texts at the tokens of the config's files and of the tokenizer's", () => {
    const tokenizer = { eosTokenIds: [7, 9] } as unknown as Model["tokenizer"];
    const stub = { config: { eosTokenIds: [7, 8] }, tokenizer, parts: {}, kindAt: () => ({}) } as unknown as Model;
    expect(generationContext(stub, "counts").eosTokenIds).toEqual(new Set([7, 8, 9]));
  });

  it("gives each token's log-probability under the model's own softmax, whatever draws it", async () => {
    const options = { maxTokens: 12, temperature: 1.7, topK: 5, repetitionPenalty: 1.4, presencePenalty: 0.5, seed: 2 };
    const { promptIds, tokenIds, logprobs } = await model.generate(PROMPT, options);
    const ids = [...promptIds, ...tokenIds.slice(0, -1)];
    const { logits } = await model.forward(ids, { logits: "all" });
    const { vocabSize } = model.config;
    for (const [i, id] of tokenIds.entries()) {
      const row = promptIds.length - 1 + i;
      const expected = logSoftmax(logits.subarray(row * vocabSize, (row + 1) * vocabSize), id);
      // float32 holds a number below 16 to 1e-6.
      expect(Math.abs(logprobs[i]! - expected)).toBeLessThanOrEqual(1e-6);
    }
  });

  it("penalises tokens of prompt and answer for repetition, and those of the answer for presence and frequency", async () => {
    // Signs that make tokens come again, so that each penalty decides.
    const [repetitionPenalty, presencePenalty, frequencyPenalty] = [0.6, -0.8, 0.5];
    const { vocabSize } = model.config;
    const { promptIds, tokenIds } = await model.generate(PROMPT, {
      ...{ maxTokens: 20, temperature: 0, repetitionPenalty, presencePenalty, frequencyPenalty },
    });
    const ids = [...promptIds, ...tokenIds];
    const { logits } = await model.forward(ids.slice(0, -1), { logits: "all" });
    for (let length = promptIds.length; length < ids.length; length++) {
      const row = logits.slice((length - 1) * vocabSize, length * vocabSize);
      for (const id of new Set(ids.slice(0, length))) {
        // Keskar et al. 2019, as transformers applies it; then OpenAI's two.
        const times = ids.slice(promptIds.length, length).filter((other) => other === id).length;
        const repeated = row[id]! > 0 ? row[id]! / repetitionPenalty : row[id]! * repetitionPenalty;
        row[id] = repeated - (times > 0 ? presencePenalty + frequencyPenalty * times : 0);
      }
      expect(ids[length]).toBe(row.indexOf(row.reduce((a, b) => Math.max(a, b))));
    }
  });

  it("returns with a prefix hit the prompt's routes, as attributed, before those that ran", async () => {
    const fresh = await Model.load(seededModel());
    const options = { maxTokens: 4, temperature: 0, trace: "topk" } as const;
    const first = await fresh.generate(PROMPT, options);
    const before = (await fresh.expertLoad()).counts.reduce((sum, count) => sum + count, 0);
    const again = await fresh.generate(PROMPT, options);
    const after = (await fresh.expertLoad()).counts.reduce((sum, count) => sum + count, 0);
    const { columns } = again.trace!;
    const numPrompt = first.promptIds.length;
    expect(Array.from(columns.positions)).toEqual(Array.from({ length: numPrompt + 3 }, (_, i) => i));
    expect(Array.from(columns.tokenIds)).toEqual([...first.promptIds, ...first.tokenIds.slice(0, -1)]);
    expect(Array.from(columns.origins)).toEqual([...new Array(numPrompt).fill(0), 1, 1, 1]);
    // The last token of a prompt is always computed: its row predicts the first new one.
    expect(Array.from(columns.computed)).toEqual([...new Array(numPrompt - 1).fill(0), 1, 1, 1, 1]);
    expect(again.trace!.expertLoad("computed").counts.reduce((sum, count) => sum + count, 0)).toBe(after - before);
    expect(columns.topkExperts).toEqual(first.trace!.columns.topkExperts);
    await fresh.dispose();
  });

  it("ends at the last position of the context, and takes a prompt that fills it", async () => {
    const { maxContext } = model.config;
    const ids = Array.from({ length: maxContext }, (_, i) => (i * 31 + 5) % 2000);
    const full = await model.generate(ids, { maxTokens: 5 });
    expect([full.tokenIds.length, full.finishReason]).toEqual([1, "length"]);
    const almost = await model.generate(ids.slice(3), { maxTokens: 9 });
    expect([almost.tokenIds.length, almost.finishReason]).toEqual([4, "length"]);
    await expect(model.generate([1, ...ids], { maxTokens: 1 })).rejects.toMatchObject({ code: "CONTEXT_TOO_LONG" });
  });

  it("never draws a row of the vocabulary that stands for no text", async () => {
    const [best] = (await model.generate(PROMPT, { maxTokens: 1 })).tokenIds;
    const piece = model.tokenizer.tokenPiece(best!)!;
    const promptIds = await model.tokenizer.encode(PROMPT);
    const withoutPiece = (copy: string) => {
      const path = join(copy, "tokenizer.json");
      const json = JSON.parse(readFileSync(path, "utf8"));
      delete json.model.vocab[piece];
      json.model.merges = json.model.merges.filter((merge: string | [string, string]) => {
        const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
        return left !== piece && right !== piece && `${left}${right}` !== piece;
      });
      writeFileSync(path, JSON.stringify(json));
    };
    await withModel("padded", withoutPiece, async (changed) => {
      const { logits } = await changed.forward(promptIds);
      const second = logits.reduce((at, logit, id) => (id !== best && logit > logits[at]! ? id : at), 0);
      expect((await changed.generate(promptIds, { maxTokens: 1 })).tokenIds).toEqual(Int32Array.of(second));
    });
  });

  it("keeps the question of a harness whose answer may take the whole context", async () => {
    const { maxContext } = model.config;
    const sampling = { ...{ temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 }, repetitionPenalty: 1 };
    const limits = { stop: ["\n"], sampling: { ...sampling, presencePenalty: 0, frequencyPenalty: 0 } };
    const promptOf = async (prompt: string, maxTokens: number) => {
      const [answer] = await model.toLanguageModel().generate([{ prompt, maxTokens, ...limits }]);
      return answer!.promptTokens;
    };
    const numTokens = (await model.tokenizer.encode(PROMPT)).length;
    expect(await promptOf(PROMPT, maxContext * 2)).toBe(numTokens);
    expect(await promptOf(PROMPT, maxContext - numTokens)).toBe(numTokens);
    // lm-evaluation-harness's rule: the prompt is cut to what the answer leaves.
    expect(await promptOf(PROMPT, maxContext - numTokens + 2)).toBe(numTokens - 2);
  });
});
