/** Options and arguments that cannot be meant, each refused by its name before anything runs. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LoadOptions } from "../../src/model/load-options.js";
import { Model } from "../../src/model/model.js";
import { seededModel } from "../cli/seeded.js";

/** What callers without types can say. */
const untyped = (value: unknown) => value as never;

it.each<[LoadOptions, string, RegExp]>([
  [{ threads: 0 }, "INVALID_ARGUMENT", /1 to 1024 for threads, got 0/],
  [{ threads: 1025 }, "INVALID_ARGUMENT", /for threads/],
  [{ threads: 1.5 }, "INVALID_ARGUMENT", /for threads/],
  [{ threads: untyped("2") }, "INVALID_ARGUMENT", /for threads, got "2"/],
  [{ device: untyped("cuda:9") }, "INVALID_ARGUMENT", /auto, cpu, cuda for device, got "cuda:9"/],
  [{ precision: untyped("fp8") }, "INVALID_ARGUMENT", /for precision, got "fp8"/],
  [{ cacheType: untyped("q4_0") }, "INVALID_ARGUMENT", /for cacheType, got "q4_0"/],
  [{ maxContext: 0 }, "INVALID_ARGUMENT", /for maxContext/],
  [{ maxContext: 1025 }, "INVALID_ARGUMENT", /at most the 1024 tokens/],
  [{ ropeScaling: untyped({ type: "linear", factor: 2 }) }, "INVALID_ARGUMENT", /for ropeScaling.type, got "linear"/],
  [{ ropeScaling: { type: "yarn", factor: 0.5 } }, "INVALID_ARGUMENT", /for ropeScaling.factor, got 0.5/],
  [{ ropeScaling: untyped({ type: "yarn", factor: 2, beta: 1 }) }, "INVALID_ARGUMENT", /for ropeScaling, got "beta"/],
  [{ chatTemplate: "{% if %}" }, "INVALID_ARGUMENT", /chat template \(caller\)/],
])("load refuses %j", async (options, code, message) => {
  await expect(Model.load(seededModel(), options)).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message),
  });
});

describe("calls", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(seededModel());
  });
  afterAll(() => model.dispose());

  it.each<[string, (model: Model) => Promise<unknown>, string, RegExp]>([
    ["no tokens", (m) => m.forward([]), "INVALID_ARGUMENT", /at least one token for ids/],
    ["a token beyond the vocabulary", (m) => m.forward([2560]), "INVALID_ARGUMENT", /from 0 to 2559, got 2560/],
    ["a negative token", (m) => m.forward([-1]), "INVALID_ARGUMENT", /got -1/],
    ["more tokens than the context", (m) => m.forward(new Array(1025).fill(1)), "CONTEXT_TOO_LONG", /1024/],
    ["an empty prompt", (m) => m.generate(""), "INVALID_ARGUMENT", /prompt of at least one token/],
    ["no new tokens", (m) => m.generate("a", { maxTokens: 0 }), "INVALID_ARGUMENT", /for maxTokens, got 0/],
    ["no texts", (m) => m.generate("a", { n: 0 }), "INVALID_ARGUMENT", /for n, got 0/],
    ["a stop that is no text", (m) => m.generate("a", { stop: untyped([3]) }), "INVALID_ARGUMENT", /for stop, got 3/],
    ["messages that are none", (m) => m.chat(untyped("hi")), "INVALID_ARGUMENT", /for messages, got "hi"/],
    ["a message without a role", (m) => m.chat(untyped([{ content: "hi" }])), "INVALID_ARGUMENT", /messages\[0\]/],
    [
      "an empty continuation",
      (m) => m.loglikelihood([{ contextIds: [1], continuationIds: [] }]),
      "INVALID_ARGUMENT",
      /requests\[0\].continuationIds/,
    ],
    [
      "a window above the context",
      (m) => m.loglikelihoodRolling(["a"], { window: 1025 }),
      "CONTEXT_TOO_LONG",
      /window has 1025/,
    ],
  ])("refuse %s", async (_, call, code, message) => {
    await expect(Promise.resolve().then(() => call(model))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });
});
