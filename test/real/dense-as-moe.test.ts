/** A real dense checkpoint, rewritten as experts, gives the dense model's logits. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { loadAddon } from "../../src/native/addon.js";
import { ints, readSafetensors } from "../golden/safetensors.js";
import { sharedPath } from "../golden/shared.js";
import { maxAbsDifference, standardDeviation } from "../model/compare.js";
import { type Rewriting, rewriteAsMoe } from "./dense-as-moe.js";
import { describeWithRealWeights, SMOLLM } from "./real-weights.js";

describeWithRealWeights("a dense checkpoint as a mixture of experts", ["golden/real"], (path) => {
  let ids: Int32Array;
  let dense: Float32Array;
  const folders: string[] = [];

  beforeAll(async () => {
    ids = ints(readSafetensors(sharedPath("golden/real/smollm2-135m-q4_1.safetensors")), "input_ids").slice(0, 96);
    dense = (await forward(path(SMOLLM), ids)).logits;
  });
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });

  it.each(["identical", "split", "shared"] as Rewriting[])("%s", async (rewriting) => {
    const folder = mkdtempSync(join(tmpdir(), "moescope-dense-as-moe-"));
    folders.push(folder);
    await rewriteAsMoe(path(SMOLLM), folder, rewriting);
    const { logits, counts } = await forward(folder, ids);
    // Thirty layers of fp32 sums in another order; the bound that is asked of the model against transformers.
    expect(maxAbsDifference(logits, dense)).toBeLessThanOrEqual(1e-4 * standardDeviation(dense));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(ids.length * 30 * (rewriting === "split" ? 4 : 2));
    rmSync(folder, { recursive: true, force: true });
  });

  /** All logits, without a tokenizer: the rewritten folder has none. */
  async function forward(model: string, tokenIds: Int32Array): Promise<{ logits: Float32Array; counts: Float64Array }> {
    const addon = loadAddon();
    const { plan } = await openCheckpoint(model);
    const native = await addon.loadModel(plan, { threads: addon.availableCores(), precision: "ref" }, null);
    const session = native.createSession({ cacheType: "f32", chunkRows: 96 });
    const sequence = session.createSequence([]);
    const head = { kind: "logits" as const, rows: "all" as const };
    const segments = [{ sequence, tokenIds, origin: 0 as const, segment: 0, head }];
    const { logits } = await session.step({ segments }, null, null);
    const counts = session.expertCounts();
    session.dispose();
    native.dispose();
    return { logits, counts };
  }
});
