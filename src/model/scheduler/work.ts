/** What a sequence is asked to compute: tokens that are appended, what is wanted from their rows, and the pieces that steps cut it into. */
import type { HeadSpec, StepResult } from "../../native/binding.js";

/** Tokens to append to a sequence, all of one origin and one part of the text. */
export interface Append {
  tokenIds: Int32Array;
  /** 0 prompt, 1 generated. */
  origin: 0 | 1;
  /** Label of the part of the text that the tokens belong to. */
  segment: number;
  /** What is wanted from their rows. */
  head: HeadSpec;
  /** Called after each step with the rows that are there, of this append. What it throws fails the append. */
  onRows?: (rowsDone: number) => void;
}

/** Outputs of an append's head; what was not asked for is empty. Shapes as in StepResult. */
export type AppendResult = Omit<StepResult, "trace" | "contributions" | "failures">;

type OutputName = keyof AppendResult;
type Counts = Record<OutputName, number>;

const OUTPUT_NAMES = ["logits", "logprobs", "isGreedy", "topIds", "topLogprobs", "sampledIds"] as const;

/** The first row of an append whose output is wanted; rows before it may come from a cached prefix. */
export function firstWantedRow({ tokenIds, head }: Append): number {
  if (head.kind === "none") return tokenIds.length;
  if (head.kind === "targets") return head.rows[0] ?? tokenIds.length;
  if (head.kind !== "sample" && head.rows === "all") return 0;
  return tokenIds.length - 1;
}

/** The part of a head that the rows [from, to) of `total` answer. */
export function headOfRows(head: HeadSpec, from: number, to: number, total: number): HeadSpec {
  const none = { kind: "none" } as const;
  if (head.kind === "none") return none;
  if (head.kind === "targets") {
    const low = head.rows.findIndex((row) => row >= from);
    if (low < 0) return none;
    let high = low;
    while (high < head.rows.length && head.rows[high]! < to) high++;
    if (high === low) return none;
    const rows = head.rows.slice(low, high).map((row) => row - from);
    return { kind: "targets", rows, targets: head.targets.slice(low, high) };
  }
  if (head.kind !== "sample" && head.rows === "all") return head;
  return to === total ? head : none;
}

/** Values that a head gives for `rows` rows. */
function outputCounts(head: HeadSpec, rows: number, vocabSize: number): Counts {
  const counts: Counts = { logits: 0, logprobs: 0, isGreedy: 0, topIds: 0, topLogprobs: 0, sampledIds: 0 };
  if (head.kind === "logits") counts.logits = (head.rows === "all" ? rows : 1) * vocabSize;
  if (head.kind === "top") counts.topIds = counts.topLogprobs = (head.rows === "all" ? rows : 1) * head.n;
  if (head.kind === "targets") counts.logprobs = counts.isGreedy = head.rows.length;
  if (head.kind === "sample") counts.logprobs = counts.sampledIds = 1;
  return counts;
}

/** Walks over a step's outputs, segment by segment, and copies what belongs to each append to its place there. */
export class OutputCursor {
  readonly #at: Counts = outputCounts({ kind: "none" }, 0, 0);

  constructor(
    private readonly result: StepResult,
    private readonly vocabSize: number,
  ) {}

  /** Passes over what `head` gave for `rows` rows of the next segment. */
  skip(head: HeadSpec, rows: number): void {
    const counts = outputCounts(head, rows, this.vocabSize);
    for (const name of OUTPUT_NAMES) this.#at[name] += counts[name];
  }

  /** Takes what `head` gave for `rows` rows of the next segment. */
  take(head: HeadSpec, rows: number, outputs: Outputs): void {
    const counts = outputCounts(head, rows, this.vocabSize);
    for (const name of OUTPUT_NAMES) {
      if (counts[name] === 0) continue;
      outputs.add(name, this.result[name], this.#at[name], counts[name]);
      this.#at[name] += counts[name];
    }
  }
}

/** The outputs of one append as they come, step by step. */
export class Outputs {
  readonly #values: AppendResult = {
    logits: new Float32Array(0),
    logprobs: new Float32Array(0),
    isGreedy: new Uint8Array(0),
    topIds: new Int32Array(0),
    topLogprobs: new Float32Array(0),
    sampledIds: new Int32Array(0),
  };
  readonly #filled: Counts = outputCounts({ kind: "none" }, 0, 0);
  readonly #totals: Counts;

  constructor({ head, tokenIds }: Append, vocabSize: number) {
    this.#totals = outputCounts(head, tokenIds.length, vocabSize);
  }

  get values(): AppendResult {
    return this.#values;
  }

  /** Keeps `count` values of a step's array from `offset` on; the array itself where it holds nothing else. */
  add(name: OutputName, source: StepResult[OutputName], offset: number, count: number): void {
    const values = this.#values as Record<OutputName, StepResult[OutputName]>;
    if (source.length === count && count === this.#totals[name]) {
      values[name] = source;
      return;
    }
    if (values[name].length === 0) {
      values[name] = new (source.constructor as new (length: number) => typeof source)(this.#totals[name]);
    }
    values[name].set(source.subarray(offset, offset + count), this.#filled[name]);
    this.#filled[name] += count;
  }
}
