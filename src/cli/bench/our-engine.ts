/** Our engine as its users meet it: the public API, in this process. */
import { join } from "node:path";
import { type GenerateOptions, type LoadOptions, Model } from "../../index.js";
import { packageRoot, packageVersion } from "../../native/addon.js";
import { runChild } from "./child.js";
import { type Contender, type ContenderOptions, RandomTokens, timed } from "./contender.js";
import { SCORING, type Work } from "./works.js";

/** Greedy, but never the same token twice, so that each step meets other experts, as a text does. */
const VARIED = { temperature: 0, presencePenalty: 100 } satisfies GenerateOptions;

/** "a", a token of its own in every vocabulary; prompts of batched decoding are letters from it on. */
const FIRST_LETTER = 0x61;

export interface OurOptions extends ContenderOptions {
  load: LoadOptions;
}

export class OurEngine implements Contender {
  readonly name: string = "moescope";
  readonly description: Readonly<Record<string, unknown>>;
  readonly model: Model;
  readonly #options: OurOptions;
  readonly #tokens: RandomTokens;
  /** The beginning of questions that are asked one by one. */
  #prefix: number[] | undefined;

  private constructor(model: Model, options: OurOptions) {
    this.model = model;
    this.#options = options;
    this.#tokens = new RandomTokens(options.vocabSize, 1);
    const { device, threads, precision, cacheType } = model.parts;
    this.description = { version: packageVersion(), device, threads, precision, cacheType };
  }

  static async start(options: OurOptions): Promise<OurEngine> {
    return new OurEngine(await Model.load(options.modelPath, options.load), options);
  }

  async measure(work: Work, signal: AbortSignal): Promise<(number | null)[]> {
    switch (work.kind) {
      case "load":
        return this.#load(signal);
      case "prefill": {
        const ids = this.#tokens.take(work.size);
        return [work.size / (await timed(() => this.model.forward(ids, { signal }))).seconds];
      }
      case "decode":
        return [work.sequences === 1 ? await this.#decodeOne(work, signal) : await this.#decodeMany(work, signal)];
      case "score":
        return [await this.#score(work, signal)];
    }
  }

  close(): Promise<void> {
    return this.model.dispose();
  }

  async #load(signal: AbortSignal): Promise<(number | null)[]> {
    const script = join(packageRoot(), "dist", "src", "cli", "bench", "load-probe.js");
    const args = [script, this.#options.modelPath, JSON.stringify(this.#options.load)];
    const { stdout, seconds, peakBytes } = await runChild(process.execPath, args, signal);
    return [JSON.parse(stdout).loadSeconds, seconds, peakBytes];
  }

  async #decodeOne({ size }: Work, signal: AbortSignal): Promise<number> {
    const options = { ...VARIED, maxTokens: size + 1, signal };
    const { timing } = await this.model.generate(this.#tokens.take(1), options);
    return timing.tokensPerSecond;
  }

  /** Prompts of one token: the step that reads them is as large as those that follow, so that every step counts. */
  async #decodeMany({ sequences, size }: Work, signal: AbortSignal): Promise<number> {
    const sampling = { ...VARIED, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1, frequencyPenalty: 0, seed: 0 };
    const requests = Array.from({ length: sequences }, (_, index) => {
      return { prompt: String.fromCharCode(FIRST_LETTER + index), stop: [], maxTokens: size, sampling };
    });
    const { seconds, value } = await timed(() => this.model.toLanguageModel().generate(requests, { signal }));
    return value.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0) / seconds;
  }

  async #score({ size }: Work, signal: AbortSignal): Promise<number> {
    const isKnown = size === 1;
    if (isKnown && this.#prefix === undefined) {
      this.#prefix = this.#tokens.take(SCORING.prefixTokens);
      await this.#ask(this.#tokens.questions(1, this.#prefix), signal);
    }
    const questions = this.#tokens.questions(size, isKnown ? this.#prefix : undefined);
    return (await timed(() => this.#ask(questions, signal))).seconds / size;
  }

  async #ask(questions: readonly number[][], signal: AbortSignal): Promise<void> {
    const choices = this.#tokens.take(SCORING.choices);
    const requests = questions.flatMap((contextIds) => choices.map((id) => ({ contextIds, continuationIds: [id] })));
    await this.model.loglikelihood(requests, { signal });
  }
}
