/**
 * What an experiment asks of a model: questions that can be asked again of the model with changed routing, so that every change is
 * paired item by item. They are the samples of benchmarks, or lines of a file.
 */

import { InvalidArgumentError, invalidArgument } from "../errors.js";
import { evaluate } from "../eval/evaluate.js";
import type { Task } from "../eval/task.js";
import type { LikelihoodRequest } from "../model/likelihood.js";
import type { Model } from "../model/model.js";
import type { CaptureLevel } from "../native/binding.js";
import { RouterTrace } from "../router/trace.js";
import type { ScoredLine } from "./scored-lines.js";

/** How one item went. Exactly the items of a `Questions`, in its order, whatever the model. */
export interface Answer {
  task: string;
  sampleId: string;
  /** What effects are reported by: a domain, a task, a subject. */
  group: string;
  /** 0 or 1, or a partial score; null where the item has no right answer or was not scored. */
  correct: number | null;
  /** Natural log-probability of the item's own answer; null where the model wrote an answer of its own. */
  logprob: number | null;
}

/** Routes of one request of an item, with only the tokens that no earlier request of the item had. */
export interface TracedItem {
  task: string;
  sampleId: string;
  group: string;
  request: number;
  trace: RouterTrace;
}

export interface AskOptions {
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
  /** With `onTrace`: how much to record; default "topk". */
  level?: Exclude<CaptureLevel, "counts">;
  onTrace?: (item: TracedItem) => void;
}

export interface Questions {
  /** What they are, for titles. */
  readonly name: string;
  /** All that decides which items there are and how they are scored: a scan is resumed only with the same. */
  readonly identity: unknown;
  ask(model: Model, options?: AskOptions): Promise<Answer[]>;
  /** Present where the items are lines: several ablations can then share what they have in common. */
  readonly lines?: readonly ScoredLine[];
  /** The same questions of some items only; `label` says which, for the identity. */
  subset(label: string, keep: (item: Pick<Answer, "task" | "sampleId" | "group">) => boolean): Questions;
}

/** Groups of benchmark samples: the task itself, or the benchmark's own subjects. */
export const TASK_GROUPS: readonly ["task", "subject"] = ["task", "subject"];
export type TaskGroup = (typeof TASK_GROUPS)[number];

type GroupOf = (task: string, subject: string) => string;

const BATCH_SIZE = 64;

/**
 * The samples of benchmarks, scored by the scorer of each one's first metric.
 *
 * @throws InvalidArgumentError for a `by` that benchmarks do not have.
 */
export function taskQuestions(tasks: readonly Task[], by: string = "task"): Questions {
  return questionsOfTasks(tasks, by, []);
}

function questionsOfTasks(tasks: readonly Task[], by: string, subsets: readonly string[]): Questions {
  if (!(TASK_GROUPS as readonly string[]).includes(by)) {
    throw invalidArgument("by", `${TASK_GROUPS.join(" or ")} for benchmarks`, by);
  }
  const groupOf: GroupOf = (task, subject) => (by === "task" || subject === "" ? task : subject);
  return {
    name: tasks.map(({ name }) => name).join(", "),
    identity: {
      by,
      subsets,
      tasks: tasks.map(({ name, track, version, settings }) => ({ name, track, version, settings })),
    },
    ask: (model, options = {}) => askTasks(model, tasks, groupOf, options),
    subset: (label, keep) =>
      questionsOfTasks(
        tasks.map((task) => withSamples(task, keep, groupOf)),
        by,
        [...subsets, label],
      ),
  };
}

function withSamples(task: Task, keep: Parameters<Questions["subset"]>[1], groupOf: GroupOf): Task {
  const load = async () => {
    const loaded = await task.load();
    const samples = loaded.samples.filter(({ id, group }) =>
      keep({ task: task.name, sampleId: id, group: groupOf(task.name, group) }),
    );
    return { ...loaded, samples };
  };
  return { ...task, load };
}

async function askTasks(
  model: Model,
  tasks: readonly Task[],
  groupOf: GroupOf,
  { signal, onProgress, level = "topk", onTrace }: AskOptions,
): Promise<Answer[]> {
  const loaded = await Promise.all(tasks.map((task) => task.load()));
  const isEmpty = loaded.map(({ samples }) => samples.length === 0);
  const total = loaded.reduce((sum, { samples }) => sum + samples.length, 0);
  const subjects = tasks.map((_, i) => new Map(loaded[i]!.samples.map(({ id, group }) => [id, group])));
  const subjectOf = (task: string, sampleId: string) =>
    subjects[tasks.findIndex(({ name }) => name === task)]?.get(sampleId) ?? "";
  const done = new Map<string, number>();
  const fresh = new FreshTokens();
  const result = await evaluate(
    model,
    tasks.flatMap((task, i) => (isEmpty[i] ? [] : [{ ...task, load: async () => loaded[i]! }])),
    {
      batchSize: BATCH_SIZE,
      signal,
      onProgress: (progress) => {
        done.set(progress.task, progress.done);
        onProgress?.(
          [...done.values()].reduce((sum, count) => sum + count, 0),
          total,
        );
      },
      ...(onTrace !== undefined && {
        trace: level,
        traceSink: () => ({
          close: async () => undefined,
          write: async (entries) => {
            for (const { task, sampleId, epoch, request, trace } of entries) {
              if (!(trace instanceof RouterTrace)) throw noRoutes();
              const rest = fresh.of(JSON.stringify([task, sampleId]), trace);
              const keyed = rest.withKey({ task, sampleId, epoch, request });
              onTrace({ task, sampleId, group: groupOf(task, subjectOf(task, sampleId)), request, trace: keyed });
            }
          },
        }),
      }),
    },
  );
  return result.tasks.flatMap(({ name, scorer }) =>
    result.scores.get(name)!.map(({ sampleId, group, scores }) => {
      return {
        task: name,
        sampleId,
        group: groupOf(name, group),
        correct: scores[scorer]?.value ?? null,
        logprob: null,
      };
    }),
  );
}

/** Lines of a file: the log-probability of each line's answer, and whether it is the likeliest of the choices where there are some. */
export function lineQuestions(lines: readonly ScoredLine[], name: string): Questions {
  if (lines.length === 0) throw new InvalidArgumentError(`Expected at least one line in ${name}, got none.`);
  return {
    name,
    identity: { lines },
    lines,
    ask: (model, options = {}) => askLines(model, lines, options),
    subset: (_label, keep) =>
      lineQuestions(
        lines.filter(({ id, group }) => keep({ task: LINE_TASK, sampleId: id, group })),
        name,
      ),
  };
}

/** The task that lines of a file carry in keys. */
export const LINE_TASK = "lines";

async function askLines(
  model: Model,
  lines: readonly ScoredLine[],
  { signal, onProgress, level = "topk", onTrace }: AskOptions,
): Promise<Answer[]> {
  const requests: LikelihoodRequest[] = [];
  const owner: number[] = [];
  for (const [index, line] of lines.entries()) {
    for (const request of await requestsOf(model, line)) {
      requests.push(request);
      owner.push(index);
    }
  }
  const results = await model.loglikelihood(requests, {
    ...{ truncate: true, signal, trace: onTrace === undefined ? "counts" : level },
    onProgress: (done) => onProgress?.(Math.floor((done * lines.length) / requests.length), lines.length),
  });
  const fresh = new FreshTokens();
  return lines.map((line, index) => {
    const own = results.filter((_, request) => owner[request] === index);
    for (const [request, { trace }] of own.entries()) {
      if (onTrace === undefined) break;
      if (trace === undefined) throw noRoutes();
      const rest = fresh.of(line.id, trace).withKey({ task: LINE_TASK, sampleId: line.id, epoch: 0, request });
      onTrace({ task: LINE_TASK, sampleId: line.id, group: line.group, request, trace: rest });
    }
    return lineAnswer(
      line,
      own.map(({ logprob }) => logprob),
    );
  });
}

/** The answer of a line from the log-probabilities of its requests. */
export function lineAnswer({ id, group, choices, answer }: ScoredLine, logprobs: readonly number[]): Answer {
  const common = { task: LINE_TASK, sampleId: id, group };
  if (choices === undefined) return { ...common, correct: null, logprob: logprobs[0]! };
  const best = logprobs.indexOf(Math.max(...logprobs));
  return { ...common, correct: best === answer ? 1 : 0, logprob: logprobs[answer!]! };
}

/** What a line asks: one request, or one for each choice. */
export async function requestsOf(model: Model, line: ScoredLine): Promise<LikelihoodRequest[]> {
  const { context, continuation, choices, text } = line;
  if (text !== undefined) {
    const ids = await model.tokenizer.encode(text);
    if (ids.length < 2) throw new InvalidArgumentError(`Expected at least two tokens in the text of ${line.id}.`);
    return [{ contextIds: ids.subarray(0, 1), continuationIds: ids.subarray(1) }];
  }
  return (choices ?? [continuation!]).map((each) => ({ context: context!, continuation: each }));
}

/** An item's later requests begin as its earlier ones did: each token of an item counts once. */
class FreshTokens {
  readonly #before = new Map<string, Int32Array[]>();

  of(item: string, trace: RouterTrace): RouterTrace {
    const ids = trace.columns.tokenIds;
    const earlier = this.#before.get(item) ?? [];
    const known = Math.max(0, ...earlier.map((other) => commonLength(other, ids)));
    this.#before.set(item, [...earlier, ids]);
    return trace.slice(known);
  }
}

function commonLength(a: Int32Array, b: Int32Array): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a[length] === b[length]) length++;
  return length;
}

function noRoutes(): InvalidArgumentError {
  return new InvalidArgumentError("Expected a model with routed experts, this one records no routes.");
}
