import PQueue from "p-queue";
import { AbortError, MoescopeError } from "../errors.js";
import type { CallOptions, LanguageModel, TraceRequest } from "./language-model.js";
import { type SampleRow, sampleRow } from "./row.js";
import type { LoadedTask, Sample, SampleRequest, SampleResponse, Task } from "./task.js";
import type { TraceEntry } from "./trace-sink.js";

/** Runs one task's samples: batches in dataset order, a bounded number of them in flight, rows handed over as they finish. */

export interface RunnerOptions {
  /** Samples in one call of the model. Neighbours share their few-shot prefix, so they go together. */
  batchSize: number;
  /** Calls of the model in flight. */
  concurrency: number;
  trace?: TraceRequest;
  signal?: AbortSignal;
  /** Progress inside a batch: requests answered, of how many. */
  onRequests?: (done: number, total: number) => void;
}

/** A finished batch: its rows in dataset order, and their traces where the model gave any. */
export interface FinishedBatch {
  rows: SampleRow[];
  traces: TraceEntry[];
}

/**
 * Runs the samples that `isDone` does not know.
 *
 * @param onBatch stores a finished batch; the next batch waits for it, so memory stays bounded.
 * @throws AbortError when `signal` fires, and the model's own error when a batch fails; batches that finished are stored either way.
 */
export async function runSamples(
  model: LanguageModel,
  task: Task,
  loaded: LoadedTask,
  options: RunnerOptions,
  isDone: (sample: Sample) => boolean,
  onBatch: (batch: FinishedBatch) => Promise<void>,
): Promise<void> {
  const queue = new PQueue({ concurrency: options.concurrency });
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  let failure: { error: unknown } | undefined;
  let stored: Promise<void> = Promise.resolve();
  let isWhole = true;
  const runOne = async (samples: readonly Sample[]): Promise<void> => {
    if (signal.aborted) {
      isWhole = false;
      return;
    }
    try {
      const batch = await runBatch(model, task, loaded, samples, { ...options, signal });
      stored = stored.then(() => onBatch(batch));
      await stored;
    } catch (error) {
      failure ??= { error };
      stop.abort(error);
    }
  };
  for (const samples of batches(loaded.samples, options.batchSize, isDone)) {
    void queue.add(() => runOne(samples));
  }
  await queue.onIdle();
  if (isWhole && failure === undefined) return;
  if (options.signal?.aborted) throw new AbortError(undefined, { cause: failure?.error ?? options.signal.reason });
  throw failure?.error;
}

function* batches(
  samples: readonly Sample[],
  size: number,
  isDone: (sample: Sample) => boolean,
): Generator<readonly Sample[]> {
  let batch: Sample[] = [];
  for (const sample of samples) {
    if (isDone(sample)) continue;
    batch.push(sample);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

async function runBatch(
  model: LanguageModel,
  task: Task,
  loaded: LoadedTask,
  samples: readonly Sample[],
  options: RunnerOptions,
): Promise<FinishedBatch> {
  const started = performance.now();
  const requests = samples.map((sample) => loaded.requests(sample));
  const flat = await answer(model, requests.flat(), options);
  const seconds = (performance.now() - started) / 1000 / samples.length;
  const batch: FinishedBatch = { rows: [], traces: [] };
  let next = 0;
  const answers = requests.map(({ length }) => {
    next += length;
    return flat.slice(next - length, next);
  });
  const scores = await Promise.all(samples.map((sample, i) => loaded.score(sample, answers[i]!, options.signal)));
  samples.forEach((sample, i) => {
    const responses = answers[i]!;
    batch.rows.push(sampleRow(task, sample, requests[i]!, responses, scores[i]!, seconds));
    responses.forEach(({ trace }, request) => {
      if (trace !== undefined)
        batch.traces.push({ task: task.name, sampleId: sample.id, epoch: 0, request, turn: 0, trace });
    });
  });
  return batch;
}

/** Answers requests of any kinds in order, with one call of the model for each kind. */
async function answer(
  model: LanguageModel,
  requests: readonly SampleRequest[],
  options: RunnerOptions,
): Promise<SampleResponse[]> {
  const responses: SampleResponse[] = new Array(requests.length);
  let answered = 0;
  const callOptions = (offset: number): CallOptions => ({
    signal: options.signal,
    trace: options.trace,
    onProgress: (done) => options.onRequests?.(offset + done, requests.length),
  });
  for (const kind of ["loglikelihood", "generate", "chat"] as const) {
    const indexes = requests.flatMap((request, i) => (request.kind === kind ? [i] : []));
    if (indexes.length === 0) continue;
    const results = await call(
      model,
      kind,
      indexes.map((i) => requests[i]!),
      callOptions(answered),
    );
    if (results.length !== indexes.length) {
      throw new MoescopeError("INTERNAL", `Expected ${indexes.length} answers of the model, got ${results.length}.`);
    }
    indexes.forEach((index, i) => {
      responses[index] = { ...results[i]!, kind } as SampleResponse;
    });
    answered += indexes.length;
  }
  return responses;
}

function call(
  model: LanguageModel,
  kind: SampleRequest["kind"],
  requests: readonly SampleRequest[],
  options: CallOptions,
): Promise<readonly object[]> {
  return model[kind](requests as never, options);
}
