import { invalidArgument, type PromptForm, type Selection, type Task, type Track } from "../src/index.js";
import { type CevalSplit, ceval } from "./ceval.js";
import { GSM8K_VARIANTS, gsm8k } from "./gsm8k.js";
import { humaneval } from "./humaneval.js";
import { HUMANEVAL_MINI_FORMS, type HumanEvalMiniForm, humanevalMini } from "./humaneval-mini.js";
import { cevalMini, gsm8kMini, MINI_FORMS, type MiniForm, type MiniOptions, mmluMini } from "./mini.js";
import { mmlu } from "./mmlu.js";

/** Settings that every benchmark understands; what is left out has the benchmark's own default. */
export interface NamedTaskOptions extends Selection {
  dataDir?: string;
  track?: Track;
  numFewshot?: number;
  /** Seed of the draw of worked examples, where a benchmark draws them. */
  fewshotSeed?: number;
  form?: PromptForm;
  maxTokens?: number;
  /** Run programs that the model wrote without isolation. */
  unsafeCode?: boolean;
}

/** A benchmark with its variants in each track; asked for by name alone, it gives the tasks that `usual` lists. */
interface Benchmark {
  variants: Readonly<Record<Track, readonly string[]>>;
  usual: Readonly<Record<Track, readonly string[]>>;
  task(options: NamedTaskOptions, variant: string): Task;
}

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  mmlu: {
    variants: { ref: [""], qwen: [""] },
    usual: { ref: [""], qwen: [""] },
    task: (options) => mmlu(options),
  },
  gsm8k: {
    variants: GSM8K_VARIANTS,
    // What Qwen ran is not known, so all three candidates are run and printed.
    usual: { ref: ["standard"], qwen: GSM8K_VARIANTS.qwen },
    task: (options, variant) => gsm8k({ ...options, variant: variant as (typeof GSM8K_VARIANTS)["ref"][number] }),
  },
  humaneval: {
    variants: { ref: [""], qwen: [""] },
    usual: { ref: [""], qwen: [""] },
    task: (options) => humaneval(options),
  },
  ceval: {
    variants: { ref: ["val", "test"], qwen: ["val", "test"] },
    usual: { ref: ["val"], qwen: ["val"] },
    task: (options, variant) => ceval({ ...options, split: variant as CevalSplit }),
  },
  "mmlu-mini": miniSuite("mmlu-mini", mmluMini),
  "ceval-mini": miniSuite("ceval-mini", cevalMini),
  "gsm8k-mini": miniSuite("gsm8k-mini", gsm8kMini),
  "humaneval-mini": {
    variants: { ref: HUMANEVAL_MINI_FORMS, qwen: [] },
    usual: { ref: HUMANEVAL_MINI_FORMS.slice(0, 1), qwen: [] },
    task: ({ limit, sampleIds, maxTokens, unsafeCode }, variant) => {
      return humanevalMini({ limit, sampleIds, maxTokens, unsafeCode, form: variant as HumanEvalMiniForm });
    },
  },
};

/** A suite of our own has one protocol, which is in track `ref`; its variants are its forms. */
function miniSuite(name: keyof typeof MINI_FORMS, task: (options: MiniOptions) => Task): Benchmark {
  const forms = MINI_FORMS[name];
  return {
    variants: { ref: forms, qwen: [] },
    usual: { ref: forms.slice(0, 1), qwen: [] },
    task: ({ limit, sampleIds, maxTokens }, variant) => {
      return task({ limit, sampleIds, maxTokens, form: variant as MiniForm });
    },
  };
}

/** The names that `namedTasks` knows. */
export const BENCHMARK_NAMES: readonly string[] = Object.keys(BENCHMARKS);

/**
 * The tasks of names such as "mmlu" or "gsm8k:cot" (a benchmark and one of its variants).
 *
 * @throws InvalidArgumentError for an unknown benchmark, or one or a variant that the track does not have.
 */
export function namedTasks(names: readonly string[], options: NamedTaskOptions = {}): Task[] {
  const track = options.track ?? "ref";
  return names.flatMap((name) => {
    const [benchmarkName, variant] = name.split(":", 2) as [string, string | undefined];
    const benchmark = BENCHMARKS[benchmarkName];
    if (benchmark === undefined) throw invalidArgument("tasks", `benchmarks (${BENCHMARK_NAMES.join(", ")})`, name);
    if (benchmark.variants[track].length === 0) {
      throw invalidArgument("tasks", `benchmarks that have a track ${track}`, benchmarkName);
    }
    const known = benchmark.variants[track].filter((candidate) => candidate !== "");
    if (variant !== undefined && !known.includes(variant)) {
      const expected =
        known.length === 0
          ? `${benchmarkName} without a variant`
          : `a variant of ${benchmarkName} (${known.join(", ")})`;
      throw invalidArgument("tasks", `${expected} in track ${track}`, name);
    }
    const variants = variant === undefined ? benchmark.usual[track] : [variant];
    return variants.map((each) => benchmark.task(options, each));
  });
}
