/** Multiple testing, permutation, rank and agreement statistics against outside libraries' values. */

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { benjaminiHochberg, benjaminiYekutieli, holm } from "../../src/analysis/multiple-testing.js";
import { exactDifferencePValue, permutationPValue } from "../../src/analysis/permutation.js";
import { cohenKappa, kendallTauB, rocAuc, spearman } from "../../src/analysis/rank.js";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { differences, type Nested } from "./golden-case.js";

interface Case {
  id: string;
  fn: string;
  args: Record<string, unknown>;
  expect: { value?: number | string; values?: number[]; permutations?: number; error?: true };
  tol: string;
}

// biome-ignore lint/suspicious/noExplicitAny: the arguments of nine functions, as JSON has them
type Args = Record<string, any>;

const FUNCTIONS: Readonly<Record<string, (args: Args) => Nested>> = {
  bh: ({ p }) => benjaminiHochberg(p),
  by: ({ p }) => benjaminiYekutieli(p),
  holm: ({ p }) => holm(p),
  spearman: ({ a, b }) => spearman(a, b),
  kendall_tau_b: ({ a, b }) => kendallTauB(a, b),
  auc: ({ score, label }) => rocAuc(score, label),
  permutation_p: ({ observed, null: drawn, alternative }) => permutationPValue(observed, drawn, alternative),
  permutation_p_exact_difference: ({ a, b }) => {
    const { p, permutations } = exactDifferencePValue(a, b);
    return [p, permutations];
  },
  cohen_kappa: ({ a, b }) => cohenKappa(a, b),
};

/** Held by the tests of src/eval/statistics.ts. */
const OF_EVAL = [
  "mean",
  "se",
  "clustered_se",
  "paired_se",
  "wilson",
  "mcnemar_exact",
  "mcnemar_exact_items",
  "pass_at_k",
  "bootstrap_ci",
  "quantile",
];

/** Numbers that JSON cannot write stand as strings. */
function revive(_key: string, value: unknown): unknown {
  return value === "NaN" || value === "Infinity" || value === "-Infinity" ? Number(value) : value;
}

describeWithGoldens("statistics", "golden/metrics/stats.json", () => {
  const text = readFileSync(sharedPath("golden/metrics/stats.json"), "utf8");
  const cases = (JSON.parse(text, revive) as { cases: Case[] }).cases;

  it("are all known", () => {
    const unknown = cases.map(({ fn }) => fn).filter((fn) => !(fn in FUNCTIONS) && !OF_EVAL.includes(fn));
    expect(unknown).toEqual([]);
  });

  it.each(cases.filter(({ fn }) => fn in FUNCTIONS).map((item) => [item.id, item] as const))("%s", (_id, item) => {
    const run = () => FUNCTIONS[item.fn]!(item.args as Args);
    if (item.expect.error) {
      expect(run).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
      return;
    }
    expect(item.tol).toBe("float");
    const { value, values, permutations } = item.expect;
    const expected = values ?? (permutations === undefined ? value! : [value!, permutations]);
    expect(differences(run(), expected)).toEqual([]);
  });
});
