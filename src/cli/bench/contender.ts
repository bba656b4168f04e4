/** Whoever is measured: our engine, or a peer. */
import { Random } from "../../analysis/random.js";
import { SCORING, type Work } from "./works.js";

export interface Contender {
  readonly name: string;
  /** Version, flags, and whatever else a reader needs to repeat the figures. */
  readonly description: Readonly<Record<string, unknown>>;
  /** One number per figure of the work, in its order; null for a figure that it cannot give. Undefined: not a work that it does. */
  measure(work: Work, signal: AbortSignal): Promise<(number | null)[] | undefined>;
  close(): Promise<void>;
}

export interface ContenderOptions {
  modelPath: string;
  vocabSize: number;
  threads: number;
}

/** Token ids without a meaning, another list each time. */
export class RandomTokens {
  readonly #random: Random;
  readonly #vocabSize: number;

  constructor(vocabSize: number, seed: number) {
    this.#vocabSize = vocabSize;
    this.#random = new Random(seed);
  }

  take(count: number): number[] {
    return Array.from({ length: count }, () => this.#random.below(this.#vocabSize));
  }

  /** Questions with the same beginning. */
  questions(count: number, prefix: readonly number[] = this.take(SCORING.prefixTokens)): number[][] {
    return Array.from({ length: count }, () => [...prefix, ...this.take(SCORING.questionTokens)]);
  }
}

/** Seconds that `work` takes, and its value. */
export async function timed<T>(work: () => Promise<T>): Promise<{ seconds: number; value: T }> {
  const start = performance.now();
  const value = await work();
  return { seconds: (performance.now() - start) / 1000, value };
}
