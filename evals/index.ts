/** The public entry `moescope/evals`: the benchmarks, one file each, with the types of their rows, which a notebook's checker has to be able to name. */

export { type Ceval as CevalRow, type CevalOptions, type CevalSplit, ceval } from "./ceval.js";
export { GSM8K_VARIANTS, type Gsm8kOptions, type Gsm8kVariant, gsm8k } from "./gsm8k.js";
export { type HumanEvalOptions, humaneval } from "./humaneval.js";
export {
  HUMANEVAL_MINI_FORMS,
  type HumanEvalMiniForm,
  type HumanEvalMiniOptions,
  humanevalMini,
} from "./humaneval-mini.js";
export {
  type Choice as MiniChoice,
  cevalMini,
  gsm8kMini,
  MINI_FORMS,
  type MiniForm,
  type MiniOptions,
  mmluMini,
  type Problem as MiniProblem,
} from "./mini.js";
export { type Mmlu as MmluRow, type MmluOptions, mmlu } from "./mmlu.js";
export { BENCHMARK_NAMES, type NamedTaskOptions, namedTasks } from "./named.js";
export { DATASET_SOURCES } from "./sources.js";
