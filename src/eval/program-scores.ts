import { invalidArgument } from "../errors.js";
import type { Program, RunProgramOptions, Sandbox } from "./sandbox/sandbox.js";
import { passAtK } from "./statistics.js";
import type { Json, Scores, Verdict } from "./task.js";

/** Scores of programs: pass@k of Chen et al. 2021 (arXiv 2107.03374), the chance that one of k programs passes. */

/** One attempt at a problem: its program, or null where the output has none. */
export type Attempt = Program | null;

/**
 * Runs all attempts at one problem and gives `pass@k` for each k, unbiased over the attempts. Where one of them could not be run the
 * problem is not scored: a score of the others would be another number.
 *
 * @param ks each at least 1 and at most the number of attempts.
 * @throws AbortError when `options.signal` fires.
 */
export async function scorePrograms(
  sandbox: Sandbox,
  attempts: readonly Attempt[],
  ks: readonly number[],
  options: RunProgramOptions = {},
): Promise<Scores> {
  const bad = ks.find((k) => !Number.isInteger(k) || k < 1 || k > attempts.length);
  if (bad !== undefined) throw invalidArgument("k", `a whole number from 1 to ${attempts.length}`, bad);
  const results = await Promise.all(
    attempts.map(async (attempt) => (attempt === null ? undefined : await sandbox.run(attempt, options))),
  );
  const answer = attempts.find((attempt) => attempt !== null)?.source ?? null;
  const notRun = results.find((result) => result?.verdict === "not-run");
  const passes = results.filter((result) => result?.verdict === "passed").length;
  const verdictAt = (k: number): Verdict => {
    if (notRun !== undefined) return { value: null, answer, note: `not run: ${notRun.reason}` };
    const value = passAtK(attempts.length, passes, k);
    if (attempts.length > 1) return { value, answer, note: `${passes} of ${attempts.length} passed` };
    const [result] = results;
    if (result === undefined || result.verdict === "passed") return { value, answer };
    return { value, answer, note: `${result.verdict}: ${result.reason}` };
  };
  return Object.fromEntries(ks.map((k) => [`pass@${k}`, verdictAt(k)]));
}

/** What a task whose programs run in this sandbox records as its environment. */
export async function programEnvironment(sandbox: Sandbox): Promise<Readonly<Record<string, Json>>> {
  const status = await sandbox.status();
  return { programs: status.available ? `run in ${status.description}` : `not run: ${status.reason}` };
}
