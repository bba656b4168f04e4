/** What the demo runs: the mini suites, one for each domain that the embedded model was trained on. */
import { cevalMini, gsm8kMini, humanevalMini, mmluMini } from "../../evals/index.js";
import type { Task } from "../eval/task.js";

export interface DemoSuite {
  domain: string;
  task: Task;
  /** Share of right answers that guessing gives. */
  chance: number;
}

/** Questions of each suite that an untrained model is asked: it never ends its answers, and its scores are chance. */
const QUESTIONS_UNTRAINED = 24;

/**
 * The suites, whole, in their main forms. An untrained model would write no answer, so of choices it only says which letter it finds likeliest.
 */
export function demoSuites(isTrained: boolean, limit?: number): DemoSuite[] {
  const count = { limit: limit ?? (isTrained ? undefined : QUESTIONS_UNTRAINED) };
  const choices = { ...count, form: isTrained ? ("chat" as const) : ("letter" as const) };
  return [
    { domain: "English", task: mmluMini(choices), chance: 0.25 },
    { domain: "Chinese", task: cevalMini(choices), chance: 0.25 },
    { domain: "arithmetic", task: gsm8kMini(count), chance: 0 },
    { domain: "code", task: humanevalMini(count), chance: 0 },
  ];
}
