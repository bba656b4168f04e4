/** The public entry `moescope/evals`: the benchmarks, one file each. */

export { type MmluOptions, mmlu } from "./mmlu.js";
