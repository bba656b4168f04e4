import {
  InvalidArgumentError,
  invalidArgument,
  openSandbox,
  type PromptForm,
  type Sandbox,
  type SandboxName,
  type Selection,
  type Task,
  type Track,
} from "../src/index.js";
import { type CevalSplit, ceval } from "./ceval.js";
import { GSM8K_VARIANTS, gsm8k } from "./gsm8k.js";
import { humaneval } from "./humaneval.js";
import { HUMANEVAL_MINI_FORMS, type HumanEvalMiniForm, humanevalMini } from "./humaneval-mini.js";
import { cevalMini, gsm8kMini, MINI_FORMS, type MiniForm, type MiniOptions, mmluMini } from "./mini.js";
import { mmlu } from "./mmlu.js";

/** Settings of benchmarks; what is left out has the benchmark's own default, what none of the named ones has is refused. */
export interface NamedTaskOptions extends Selection {
  dataDir?: string;
  track?: Track;
  /** Only these subjects. */
  subjects?: readonly string[];
  numFewshot?: number;
  /** Seed of the draw of worked examples, where a benchmark draws them. */
  fewshotSeed?: number;
  form?: PromptForm;
  maxTokens?: number;
  /** Programs for each problem, and which pass@k to give. */
  numSamples?: number;
  k?: readonly number[];
  temperature?: number;
  /** Seed of the draw of tokens, at a temperature. */
  samplingSeed?: number;
  /** Wall time of a program and its tests in milliseconds. */
  timeoutMs?: number;
  /** Where programs that the model wrote run; default: bubblewrap, or WebAssembly where that is not to be had. */
  sandbox?: SandboxName;
  /** Run programs that the model wrote without isolation. */
  unsafeCode?: boolean;
}

/** A setting that a benchmark may have; every one has `limit` and `sampleIds`. */
export type BenchmarkSetting = Exclude<keyof NamedTaskOptions, keyof Selection | "dataDir" | "track">;

/** A benchmark with its variants in each track; asked for by name alone, it gives the tasks that `usual` lists. */
interface Benchmark {
  variants: Readonly<Record<Track, readonly string[]>>;
  usual: Readonly<Record<Track, readonly string[]>>;
  settings(track: Track, variant: string): readonly BenchmarkSetting[];
  task(options: NamedTaskOptions, variant: string): Task;
}

const PROGRAM_SETTINGS = ["sandbox", "unsafeCode"] as const;
const CHOICE_SETTINGS = (track: Track): BenchmarkSetting[] =>
  track === "ref" ? ["subjects", "numFewshot", "form"] : ["subjects", "maxTokens"];

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  mmlu: {
    variants: { ref: [""], qwen: [""] },
    usual: { ref: [""], qwen: [""] },
    settings: CHOICE_SETTINGS,
    task: (options) => mmlu(options),
  },
  gsm8k: {
    variants: GSM8K_VARIANTS,
    // What Qwen ran is not known, so all three candidates are run and printed.
    usual: { ref: ["standard"], qwen: GSM8K_VARIANTS.qwen },
    settings: (_track, variant) => {
      if (variant === "standard") return ["numFewshot", "fewshotSeed", "form", "maxTokens"];
      return variant === "cot" ? ["form", "maxTokens"] : ["maxTokens"];
    },
    task: (options, variant) => gsm8k({ ...options, variant: variant as (typeof GSM8K_VARIANTS)["ref"][number] }),
  },
  humaneval: {
    variants: { ref: [""], qwen: [""] },
    usual: { ref: [""], qwen: [""] },
    settings: () => [
      ...(["maxTokens", "numSamples", "k", "temperature", "samplingSeed", "timeoutMs"] as const),
      ...PROGRAM_SETTINGS,
    ],
    task: ({ samplingSeed: seed, ...options }) => humaneval({ ...options, seed, sandbox: sandboxOf(options) }),
  },
  ceval: {
    variants: { ref: ["val", "test"], qwen: ["val", "test"] },
    usual: { ref: ["val"], qwen: ["val"] },
    settings: CHOICE_SETTINGS,
    task: (options, variant) => ceval({ ...options, split: variant as CevalSplit }),
  },
  "mmlu-mini": miniSuite("mmlu-mini", mmluMini),
  "ceval-mini": miniSuite("ceval-mini", cevalMini),
  "gsm8k-mini": miniSuite("gsm8k-mini", gsm8kMini),
  "humaneval-mini": {
    variants: { ref: HUMANEVAL_MINI_FORMS, qwen: [] },
    usual: { ref: HUMANEVAL_MINI_FORMS.slice(0, 1), qwen: [] },
    settings: () => ["maxTokens", ...PROGRAM_SETTINGS],
    task: ({ limit, sampleIds, maxTokens, ...options }, variant) => {
      const form = variant as HumanEvalMiniForm;
      const { unsafeCode } = options;
      return humanevalMini({ limit, sampleIds, maxTokens, form, unsafeCode, sandbox: sandboxOf(options) });
    },
  },
};

/** A suite of our own has one protocol, which is in track `ref`; its variants are its forms. */
function miniSuite(name: keyof typeof MINI_FORMS, task: (options: MiniOptions) => Task): Benchmark {
  const forms = MINI_FORMS[name];
  return {
    variants: { ref: forms, qwen: [] },
    usual: { ref: forms.slice(0, 1), qwen: [] },
    settings: () => ["maxTokens"],
    task: ({ limit, sampleIds, maxTokens }, variant) => {
      return task({ limit, sampleIds, maxTokens, form: variant as MiniForm });
    },
  };
}

function sandboxOf({ sandbox }: Pick<NamedTaskOptions, "sandbox">): Sandbox | undefined {
  return sandbox === undefined ? undefined : openSandbox(sandbox);
}

/** The names that `namedTasks` knows. */
export const BENCHMARK_NAMES: readonly string[] = Object.keys(BENCHMARKS);

/**
 * The tasks of names such as "mmlu" or "gsm8k:cot" (a benchmark and one of its variants).
 *
 * @throws InvalidArgumentError for an unknown benchmark, one or a variant that the track does not have, or a setting that none of the
 *   tasks has.
 */
export function namedTasks(names: readonly string[], options: NamedTaskOptions = {}): Task[] {
  const track = options.track ?? "ref";
  const chosen = names.flatMap((name) => variantsOf(name, track));
  const { dataDir: _data, track: _track, limit: _limit, sampleIds: _ids, ...settings } = options;
  const known = new Set(chosen.flatMap(({ benchmark, variant }) => benchmark.settings(track, variant)));
  for (const [setting, value] of Object.entries(settings)) {
    if (value === undefined || known.has(setting as BenchmarkSetting)) continue;
    throw new InvalidArgumentError(
      `Expected no ${setting}: ${names.join(", ")} in track ${track} ${names.length === 1 ? "has" : "have"} no such setting.`,
    );
  }
  return chosen.map(({ benchmark, variant }) => benchmark.task(options, variant));
}

/** What a name stands for. */
function variantsOf(name: string, track: Track): { benchmark: Benchmark; variant: string }[] {
  const [benchmarkName, variant] = name.split(":", 2) as [string, string | undefined];
  const benchmark = BENCHMARKS[benchmarkName];
  if (benchmark === undefined) throw invalidArgument("tasks", `benchmarks (${BENCHMARK_NAMES.join(", ")})`, name);
  if (benchmark.variants[track].length === 0) {
    throw invalidArgument("tasks", `benchmarks that have a track ${track}`, benchmarkName);
  }
  const known = benchmark.variants[track].filter((candidate) => candidate !== "");
  if (variant !== undefined && !known.includes(variant)) {
    const expected =
      known.length === 0 ? `${benchmarkName} without a variant` : `a variant of ${benchmarkName} (${known.join(", ")})`;
    throw invalidArgument("tasks", `${expected} in track ${track}`, name);
  }
  return (variant === undefined ? benchmark.usual[track] : [variant]).map((each) => ({ benchmark, variant: each }));
}
