/** What is measured: works, the figures that each gives, and how those relate to what a machine can do. */

/** One number of a work. */
export interface Figure {
  name: string;
  unit: "tokens/s" | "s" | "s/question" | "bytes";
  /** The ceiling that it is a fraction of: bytes read, or products. Absent: none bounds it. */
  bound?: "read" | "products";
  /** Tokens that one unit of the figure computes, for figures in seconds; a token per token otherwise. */
  tokens?: number;
}

export type WorkKind = "load" | "decode" | "prefill" | "score";

export interface Work {
  kind: WorkKind;
  name: string;
  figures: readonly Figure[];
  /** decode: sequences at once, and tokens that each generates. */
  sequences: number;
  /** decode: generated tokens of each sequence; prefill: tokens of the prompt; score: questions that are asked at once. */
  size: number;
}

/** Multiple choice with a shared beginning: 5 shots, then a question, then one of four tokens. */
export const SCORING = { prefixTokens: 609, questionTokens: 117, choices: 4 } as const;
function decode(sequences: number, size: number): Work {
  const name = `decode ${sequences}`;
  return { kind: "decode", name, sequences, size, figures: [{ name, unit: "tokens/s", bound: "read" }] };
}

function prefill(size: number): Work {
  const name = `prefill ${size}`;
  return { kind: "prefill", name, sequences: 1, size, figures: [{ name, unit: "tokens/s", bound: "products" }] };
}

function score(size: number): Work {
  const name = size === 1 ? "score 1 question, prefix known" : `score ${size} questions, prefix new`;
  const { prefixTokens, questionTokens } = SCORING;
  const tokens = questionTokens + (size === 1 ? 0 : prefixTokens / size);
  return {
    kind: "score",
    name,
    sequences: 1,
    size,
    figures: [{ name, unit: "s/question", bound: "products", tokens }],
  };
}

/** All works. `quick`: the small ones. */
export function allWorks(quick: boolean): Work[] {
  const load: Work = {
    kind: "load",
    name: "load",
    sequences: 1,
    size: 1,
    figures: [
      { name: "load", unit: "s" },
      { name: "process to first token", unit: "s" },
      { name: "peak memory", unit: "bytes" },
    ],
  };
  if (quick) return [load, decode(1, 32), decode(16, 16), prefill(512), score(1)];
  return [
    ...[load, decode(1, 128), decode(4, 48), decode(16, 32), prefill(64), prefill(512), prefill(2048)],
    ...[score(1), score(32)],
  ];
}

export const WORK_KINDS: readonly WorkKind[] = ["load", "decode", "prefill", "score"];
