import { describe, expect, it } from "vitest";
import {
  type CallOptions,
  evaluate,
  type LanguageModel,
  type Progress,
  RunAbortedError,
  scriptedModel,
  type TraceEntry,
} from "../../src/index.js";
import { toyModel, toyTask } from "./toy-task.js";

describe("evaluate", () => {
  it("gives every group its number, and the whole the pooled one", async () => {
    const { tasks } = await evaluate(toyModel(), [toyTask()]);
    const rows = tasks[0]!.metrics.map(({ path, estimate }) => [path.join("/"), estimate.n, estimate.value]);
    // Sums 1, 6, ..., 36 of "fives": 6, 21, 36 are multiples of 3. Of all sums 1 to 40: 13.
    expect(rows).toEqual([
      ["", 40, 27 / 40],
      ["fives", 8, 5 / 8],
      ["others", 32, 22 / 32],
    ]);
  });

  it("counts an answer that was not found as wrong, and says how many there were", async () => {
    const { tasks } = await evaluate(toyModel(), [toyTask({ kind: "generate" })]);
    expect(tasks[0]!.metrics[0]!.estimate).toMatchObject({ value: 27 / 40, n: 40, noAnswer: 13, unscored: 0 });
  });

  it("gives one digest whatever the batch size and the number of calls in flight", async () => {
    const digests = await Promise.all(
      [
        [1, 1],
        [7, 1],
        [16, 4],
        [1000, 2],
      ].map(async ([batchSize, concurrency]) => {
        return (await evaluate(slow(toyModel()), [toyTask()], { batchSize, concurrency })).digest;
      }),
    );
    expect(new Set(digests).size).toBe(1);
    expect((await evaluate(toyModel(4), [toyTask()])).digest).not.toBe(digests[0]);
  });

  it("hands neighbours over together and keeps no more calls in flight than asked", async () => {
    const batches: string[][] = [];
    let active = 0;
    let most = 0;
    const model = slow(toyModel(), {
      onCall: (contexts) => batches.push(contexts),
      onActive: (delta) => {
        active += delta;
        most = Math.max(most, active);
      },
    });
    await evaluate(model, [toyTask({ size: 20 })], { batchSize: 3, concurrency: 2 });
    expect(most).toBe(2);
    expect(batches.length).toBe(7);
    expect(batches[1]).toEqual(["3", "3", "4", "4", "5", "5"].map((n) => `${n} + 1 =`));
  });

  it("reports progress with the running accuracy and the time left", async () => {
    const events: Progress[] = [];
    await evaluate(slow(toyModel()), [toyTask()], { batchSize: 10, onProgress: (event) => events.push(event) });
    const done = events.map((event) => event.done);
    expect(done).toEqual([...done].sort((a, b) => a - b));
    expect(events[0]).toMatchObject({ task: "toy", track: "ref", done: 0, total: 40 });
    expect(events.some((event) => event.requestsDone === 13 && event.requestsTotal === 20)).toBe(true);
    const last = events.at(-1)!;
    expect(last).toMatchObject({
      done: 40,
      total: 40,
      secondsLeft: 0,
      running: { metric: "acc", value: 27 / 40, n: 40 },
    });
    expect(last.perSecond).toBeGreaterThan(0);
    expect(last.running!.interval[0]).toBeLessThan(27 / 40);
  });

  it("stops on abort with the numbers of what is done", async () => {
    const abort = new AbortController();
    const run = evaluate(slow(toyModel()), [toyTask()], {
      batchSize: 8,
      signal: abort.signal,
      onProgress: ({ done }) => done >= 16 && abort.abort(),
    });
    const error = await run.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(RunAbortedError);
    expect(error).toMatchObject({ code: "ABORTED", message: "The run was cancelled with 16 of 40 samples done." });
    expect((error as RunAbortedError).partial.tasks[0]!.metrics[0]!.estimate.n).toBe(16);
  });

  it("passes the model's own failure on, and asks nothing more", async () => {
    let calls = 0;
    const model: LanguageModel = {
      ...toyModel(),
      loglikelihood: async (requests) => {
        // Answers whatever its signal says, as a model may.
        if (++calls === 3) throw new Error("the model broke");
        return toyModel().loglikelihood(requests);
      },
    };
    await expect(evaluate(model, [toyTask()], { batchSize: 4 })).rejects.toThrow("the model broke");
    expect(calls).toBe(3);
  });

  it("wants an answer to every request", async () => {
    const model: LanguageModel = { ...toyModel(), loglikelihood: async () => [] };
    await expect(evaluate(model, [toyTask()], { batchSize: 3 })).rejects.toThrow(
      "Expected 6 answers of the model, got 0.",
    );
  });

  it("is complete when the abort comes after the last sample", async () => {
    const abort = new AbortController();
    const onProgress = ({ done }: Progress) => done === 40 && abort.abort();
    const { tasks } = await evaluate(toyModel(), [toyTask()], { signal: abort.signal, onProgress });
    expect(tasks[0]!.done).toBe(40);
  });

  it("stores routes before scores, and closes their sink", async () => {
    const entries: TraceEntry[] = [];
    let isClosed = false;
    const events: string[] = [];
    const model = scriptedModel({
      loglikelihood: () => ({ logprob: -1, tokenLogprobs: [-1], tokenIds: [1], isGreedy: true, trace: "routes" }),
    });
    await evaluate(model, [toyTask({ size: 3 })], {
      batchSize: 3,
      trace: "topk",
      traceSink: () => ({
        write: async (batch) => {
          events.push("traces");
          entries.push(...batch);
        },
        close: async () => {
          isClosed = true;
        },
      }),
      onProgress: ({ done }) => events.push(`${done} done`),
    });
    expect(events.indexOf("traces")).toBeLessThan(events.indexOf("3 done"));
    expect(entries.length).toBe(6);
    expect(entries[3]).toEqual({ task: "toy", sampleId: "1", epoch: 0, request: 1, turn: 0, trace: "routes" });
    expect(isClosed).toBe(true);
  });

  it("stores one batch at a time, however many calls are in flight", async () => {
    let writing = 0;
    let most = 0;
    const model = scriptedModel({
      loglikelihood: () => ({ logprob: -1, tokenLogprobs: [-1], tokenIds: [1], isGreedy: true, trace: "routes" }),
    });
    await evaluate(model, [toyTask({ size: 12 })], {
      batchSize: 2,
      concurrency: 4,
      traceSink: () => ({
        write: async () => {
          most = Math.max(most, ++writing);
          await new Promise((resolve) => setTimeout(resolve, 2));
          writing--;
        },
        close: async () => undefined,
      }),
    });
    expect(most).toBe(1);
  });

  it("keeps the routes in the result where they have no other place", async () => {
    const model = scriptedModel({
      loglikelihood: () => ({ logprob: -1, tokenLogprobs: [-1], tokenIds: [1], isGreedy: true, trace: "routes" }),
    });
    const { traces } = await evaluate(model, [toyTask({ size: 3 })], { trace: "topk" });
    expect(traces.map(({ sampleId, request }) => `${sampleId}/${request}`)).toEqual([
      "0/0",
      "0/1",
      "1/0",
      "1/1",
      "2/0",
      "2/1",
    ]);
  });

  it("takes a model that can give a view of itself", async () => {
    const { model } = await evaluate({ toLanguageModel: () => toyModel() }, [toyTask({ size: 2 })]);
    expect(model).toBe("toy-model");
  });

  it("refuses no task, the same task twice and a batch of nothing", async () => {
    await expect(evaluate(toyModel(), [])).rejects.toThrow("Expected at least one task for tasks, got an array of 0.");
    await expect(evaluate(toyModel(), [toyTask(), toyTask()])).rejects.toThrow("tasks with different names");
    await expect(evaluate(toyModel(), [toyTask()], { batchSize: 0 })).rejects.toThrow("for batchSize, got 0 (number).");
  });
});

interface Watch {
  onCall?: (contexts: string[]) => void;
  onActive?: (delta: number) => void;
}

/** The same model, answering a turn of the event loop later, and obeying its signal as a real one does. */
function slow(model: LanguageModel, { onCall, onActive }: Watch = {}): LanguageModel {
  return {
    ...model,
    loglikelihood: async (requests, options?: CallOptions) => {
      onActive?.(1);
      onCall?.(requests.map((request) => String(request.context)));
      await new Promise((resolve) => setTimeout(resolve, 2));
      onActive?.(-1);
      return model.loglikelihood(requests, options);
    },
  };
}
