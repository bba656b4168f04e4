/** Long calls obey the signal that they run under, as cells of a notebook do, without being handed one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ambientSignal, runWithSignal, withAmbientSignal } from "../src/ambient-signal.js";
import { seededModelFolder } from "../src/cli/seeded-model.js";
import { evaluate, RunAbortedError } from "../src/eval/evaluate.js";
import { Model } from "../src/model/model.js";
import { packageRoot } from "../src/native/addon.js";
import { toyModel, toyTask } from "./eval/toy-task.js";

describe("the ambient signal", () => {
  it("follows promises and timers, and nothing else", async () => {
    const { signal } = new AbortController();
    const seen = await runWithSignal(signal, async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      return ambientSignal();
    });
    expect(seen).toBe(signal);
    expect(ambientSignal()).toBeUndefined();
  });

  it("fires beside a caller's own", () => {
    const ambient = new AbortController();
    const own = new AbortController();
    const [joined, alone] = runWithSignal(ambient.signal, () => [
      withAmbientSignal(own.signal),
      withAmbientSignal(undefined),
    ]);
    expect(alone).toBe(ambient.signal);
    expect(withAmbientSignal(own.signal)).toBe(own.signal);
    expect(withAmbientSignal(undefined)).toBeUndefined();
    ambient.abort();
    expect(joined?.aborted).toBe(true);
    expect(own.signal.aborted).toBe(false);
  });

  it("ends a native call in flight", async () => {
    const model = await Model.load(seededModelFolder(join(packageRoot(), "models", "demo")), { maxContext: 1024 });
    const cell = new AbortController();
    const ids = Array.from({ length: 1024 }, (_, i) => i % 1000);
    const work = runWithSignal(cell.signal, () =>
      model.forward(ids, { logits: "all", onProgress: () => cell.abort() }),
    );
    await expect(work).rejects.toMatchObject({ code: "ABORTED" });
    expect((await model.forward([1, 2, 3])).logits).toHaveLength(model.config.vocabSize);
    await model.dispose();
  });

  it("ends an evaluation, whose run goes on later to the same digest", async () => {
    const out = mkdtempSync(join(tmpdir(), "moescope-ambient-"));
    const cell = new AbortController();
    const options = { out: join(out, "run"), batchSize: 4 };
    const work = runWithSignal(cell.signal, () =>
      evaluate(toyModel(), [toyTask()], {
        ...options,
        onProgress: ({ done }) => done >= 8 && cell.abort(),
      }),
    );
    await expect(work).rejects.toBeInstanceOf(RunAbortedError);
    const resumed = await evaluate(toyModel(), [toyTask()], { ...options, resume: true });
    const whole = await evaluate(toyModel(), [toyTask()]);
    expect(resumed.digest).toBe(whole.digest);
    rmSync(out, { recursive: true });
  });
});
