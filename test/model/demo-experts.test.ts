/** What models/demo/README.md says of the embedded model's experts, measured by moescope itself: masks and log-likelihoods. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { mean, sampleStandardDeviation } from "simple-statistics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Intervention, Model, mask } from "../../src/index.js";
import { packageRoot } from "../../src/native/addon.js";

const DOMAINS = ["english", "chinese", "math", "code"] as const;
type Domain = (typeof DOMAINS)[number];

interface ExpertUse {
  /** Experts [layers, 2] that a domain favours. */
  favourites: Record<Domain, number[][]>;
  /** What PyTorch computed, the texts of all domains one behind the other. */
  first_texts: { of_each_suite: number; loss: number[]; damage: Record<Domain, number[]> };
}

interface Text {
  contextIds: Int32Array;
  continuationIds: Int32Array;
}

/** Texts of each domain: enough for a difference between domains, few enough for some seconds. */
const COUNT = 30;

const use = JSON.parse(readFileSync(join(packageRoot(), "models", "demo", "expert-use.json"), "utf8")) as ExpertUse;

describe("the embedded model's experts", () => {
  let model: Model;
  /** Mean loss a token of every text in nats. */
  let loss: Record<Domain, number[]>;
  /** Its change without the favourites of the first domain, for the texts of the second. */
  let damage: Record<Domain, Record<Domain, number[]>>;

  beforeAll(async () => {
    model = await Model.load("demo");
    const texts = await byDomain((domain) => textsOf(model, domain));
    const losses = (changed: Model) => byDomain((domain) => lossesOf(changed, texts[domain]));
    loss = await losses(model);
    damage = await byDomain(async (favoured) => {
      const masked = await losses(model.with(withoutFavouritesOf(favoured)));
      return byDomain(async (domain) => masked[domain].map((value, i) => value - loss[domain][i]!));
    });
  }, 120_000);
  afterAll(() => model.dispose());

  it("do what PyTorch says, whole and masked", () => {
    const { of_each_suite: count, ...expected } = use.first_texts;
    const firstOf = (values: Record<Domain, number[]>) => DOMAINS.flatMap((domain) => values[domain].slice(0, count));
    // Both compute in float32 on the same bf16 weights; the file keeps six decimals.
    expect(largestDifference(firstOf(loss), expected.loss)).toBeLessThanOrEqual(1e-4);
    for (const favoured of DOMAINS)
      expect(largestDifference(firstOf(damage[favoured]), expected.damage[favoured])).toBeLessThanOrEqual(1e-3);
  });

  it.each(DOMAINS.flatMap((own) => DOMAINS.filter((other) => other !== own).map((other) => [own, other] as const)))(
    "a text of %s suffers more without its favourites than without those of %s, and more than the other's texts",
    (own, other) => {
      const within = damage[own][own].map((value, i) => value - damage[other][own][i]!);
      expect(mean(within) / standardError(within)).toBeGreaterThan(1.96);
      const [here, there] = [damage[own][own], damage[own][other]];
      expect((mean(here) - mean(there)) / Math.hypot(standardError(here), standardError(there))).toBeGreaterThan(1.96);
    },
  );
});

async function byDomain<T>(make: (domain: Domain) => Promise<T>): Promise<Record<Domain, T>> {
  const made: Partial<Record<Domain, T>> = {};
  for (const domain of DOMAINS) made[domain] = await make(domain);
  return made as Record<Domain, T>;
}

/** The favourites of every layer are out of its router's reach: tokens go to the next experts. */
function withoutFavouritesOf(domain: Domain): Intervention[] {
  return use.favourites[domain].map((experts, layer) => mask({ layers: [layer], experts }));
}

async function lossesOf(model: Model, texts: readonly Text[]): Promise<number[]> {
  const scores = await model.loglikelihood(texts);
  return scores.map(({ logprob, tokenIds }) => -logprob / tokenIds.length);
}

/** Questions of a suite in its main form, with the reference answer as the model was taught to write it. */
async function textsOf(model: Model, domain: Domain): Promise<Text[]> {
  const suite = { english: "mmlu-mini", chinese: "ceval-mini", math: "gsm8k-mini", code: "humaneval-mini" }[domain];
  const lines = readFileSync(join(packageRoot(), "evals", "mini", `${suite}.jsonl`), "utf8").split("\n");
  const encode = (text: string) => model.tokenizer.encode(text, { parseSpecial: true });
  return Promise.all(
    lines.slice(0, COUNT).map(async (line) => {
      const [context, continuation] = questionAndAnswer(domain, JSON.parse(line));
      return { contextIds: await encode(context), continuationIds: await encode(continuation) };
    }),
  );
}

function questionAndAnswer(domain: Domain, item: Record<string, string> & { choices: string[] }): [string, string] {
  if (domain === "code") return [item.prompt!, `${item.canonical_solution}<|endoftext|>`];
  if (domain === "math") return [chatPrompt(item.question!), `${item.answer}<|im_end|>`];
  const lines = item.choices.map((choice, i) => `${"ABCD"[i]}. ${choice}`);
  const right = Number(item.answer);
  const reply = [
    ...lines.map((line, i) => `${line} ${"ABCD"[i]}`),
    `${domain === "english" ? "Answer:" : "答案:"} ${item.choices[right]} ${"ABCD"[right]}<|im_end|>`,
  ];
  return [chatPrompt([item.question, ...lines].join("\n")), reply.join("\n")];
}

function chatPrompt(user: string): string {
  const system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n";
  return `${system}<|im_start|>user\n${user}<|im_end|>\n<|im_start|>assistant\n`;
}

/** NaN where a number is missing or is no number, so that no bound holds. */
function largestDifference(values: readonly number[], expected: readonly number[]): number {
  if (values.length !== expected.length) return Number.NaN;
  return Math.max(...values.map((value, i) => Math.abs(value - expected[i]!)));
}

function standardError(values: readonly number[]): number {
  return sampleStandardDeviation([...values]) / Math.sqrt(values.length);
}
