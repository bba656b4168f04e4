import type { Estimate } from "./metric.js";
import type { RunResult } from "./result.js";
import type { Track } from "./task.js";

/** The model card of Qwen2-57B-A14B-Instruct, and our own numbers beside it. */

/** The card's columns. */
export const CARD_MODELS: readonly string[] = [
  "Mixtral-8x7B-Instruct-v0.1",
  "Yi-1.5-34B-Chat",
  "Qwen1.5-32B-Chat",
  "Qwen2-57B-A14B-Instruct",
];

interface CardLine {
  benchmark: string;
  /** In the order of `CARD_MODELS`, as printed; null where the card has none. MT-Bench and AlignBench are points of 10, the rest percent. */
  scores: readonly (number | null)[];
  /** Names of our tasks that measure it, and of the metrics in them that are its score. */
  task?: RegExp;
  metric?: RegExp;
  note?: string;
}

/** Source: the card on Hugging Face; the GitHub README and the blog post agree cell for cell. */
const CARD: readonly CardLine[] = [
  { benchmark: "MMLU", scores: [71.4, 76.8, 74.8, 75.4], task: /^mmlu$/ },
  { benchmark: "MMLU-Pro", scores: [43.3, 52.3, 46.4, 52.8], task: /^mmlu-pro$/ },
  { benchmark: "GPQA", scores: [null, null, 30.8, 34.3] },
  { benchmark: "TheoremQA", scores: [null, null, 30.9, 33.1] },
  { benchmark: "MT-Bench", scores: [8.3, 8.5, 8.3, 8.55] },
  { benchmark: "HumanEval", scores: [45.1, 75.2, 68.3, 79.9], task: /^humaneval(?!-mini)/ },
  { benchmark: "MBPP", scores: [59.5, 74.6, 67.9, 70.9] },
  { benchmark: "MultiPL-E", scores: [null, null, 50.7, 66.4] },
  { benchmark: "EvalPlus", scores: [48.5, null, 63.6, 71.6] },
  { benchmark: "LiveCodeBench", scores: [12.3, null, 15.2, 25.5] },
  {
    benchmark: "GSM8K",
    scores: [65.7, 90.2, 83.6, 79.6],
    task: /^gsm8k(?!-mini)/,
    note: "the technical report has 85.3 for Qwen2-57B-A14B-Instruct",
  },
  { benchmark: "MATH", scores: [30.7, 50.1, 42.4, 49.1] },
  { benchmark: "C-Eval", scores: [null, null, 76.7, 80.5], task: /^ceval$/, metric: /^acc/ },
  { benchmark: "AlignBench", scores: [5.7, 7.2, 7.19, 7.36] },
];

/** One of our numbers. */
export interface OurScore {
  model: string;
  /** How the weights were stored, for example "Q5_K_M": a quantised model is another model. */
  weights: string;
  task: string;
  track: Track;
  protocol: string;
  metric: string;
  estimate: Estimate;
  /** Whether every sample of the official benchmark was asked. */
  isWhole: boolean;
}

/** A benchmark of the card with all that the runs have on it; `scores` is null for tasks of ours that the card does not have. */
export interface CardRow {
  benchmark: string;
  scores: readonly (number | null)[] | null;
  note?: string;
  ours: readonly OurScore[];
}

/** A finished run and how its model's weights were stored. */
export interface CardRun {
  run: RunResult;
  weights: string;
}

/** The card's lines in its order, then our other tasks. */
export function cardRows(runs: readonly CardRun[]): CardRow[] {
  const ours = runs.flatMap(scoresOf);
  const isOf = ({ task, metric }: CardLine, score: OurScore): boolean => {
    return task?.test(score.task) === true && (metric?.test(score.metric) ?? true);
  };
  const lines = CARD.map((line): CardRow => {
    const { benchmark, scores, note } = line;
    return { benchmark, scores, note, ours: ours.filter((score) => isOf(line, score)) };
  });
  const others = ours.filter((score) => !CARD.some(({ task }) => task?.test(score.task)));
  const names = [...new Set(others.map(({ task }) => task))];
  const rest = names.map((benchmark): CardRow => {
    return { benchmark, scores: null, ours: others.filter(({ task }) => task === benchmark) };
  });
  return [...lines, ...rest];
}

function scoresOf({ run, weights }: CardRun): OurScore[] {
  return run.tasks.flatMap(({ name, track, settings, metrics, done, dataset }) => {
    const isWhole = done === (dataset.officialRows ?? dataset.rows);
    return metrics
      .filter(({ path }) => path.length === 0)
      .map(({ metric, estimate }): OurScore => {
        const protocol = String(settings.protocol ?? "");
        return { model: run.model, weights, task: name, track, protocol, metric, estimate, isWhole };
      });
  });
}
