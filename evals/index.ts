/** The public entry `moescope/evals`: the benchmarks, one file each. */

export { GSM8K_VARIANTS, type Gsm8kOptions, type Gsm8kVariant, gsm8k } from "./gsm8k.js";
export { type MmluOptions, mmlu } from "./mmlu.js";
export { BENCHMARK_NAMES, type NamedTaskOptions, namedTasks } from "./named.js";
