/** A run of benchmarks: every metric with its interval, and the protocol that it rests on. */
import type { ShowOptions } from "./show.js";
import { tableBundle } from "./table.js";

/** What is read of an eval result (`RunResult` of `evaluate`); the notebook stands beside `eval` and does not import it. */
interface RunLike {
  model: string;
  digest: string;
  tasks: readonly {
    name: string;
    track: string;
    samples: number;
    done: number;
    metrics: readonly {
      metric: string;
      path: readonly string[];
      isLeaf: boolean;
      estimate: { value: number; stderr: number; interval: readonly number[]; n: number; noAnswer: number };
    }[];
  }[];
}

export function isRunLike(value: unknown): value is RunLike {
  if (typeof value !== "object" || value === null || !("tasks" in value && "digest" in value)) return false;
  const { tasks } = value;
  return Array.isArray(tasks) && tasks.every((task) => Array.isArray(task?.metrics));
}

/** The totals and the groups above the leaves; where a task has one level of groups alone, these too. */
export function runBundle(run: RunLike, options: ShowOptions = {}): Record<string, unknown> {
  const rows = run.tasks.flatMap(({ name, track, metrics, done, samples }) =>
    metrics
      .filter(({ path }) => path.length <= 1)
      .map(({ metric, path, estimate }) => ({
        task: path.length === 0 ? name : `  ${path.join(" / ")}`,
        track,
        metric,
        value: estimate.value,
        "±SE": estimate.stderr,
        "95 % interval": [...estimate.interval],
        n: estimate.n,
        "no answer": estimate.noAnswer,
        ...(done < samples ? { done: `${done} of ${samples}` } : {}),
      })),
  );
  return tableBundle(rows, { title: `${run.model}, digest ${run.digest.slice(0, 16)}`, ...options });
}
