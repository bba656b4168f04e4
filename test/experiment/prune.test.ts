/** Pruning: the report's masks, and the checkpoint that computes what a mask computes. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Contributions } from "../../src/analysis/contribution.js";
import { RoutingLoad } from "../../src/analysis/routing-load.js";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { ablationOf } from "../../src/experiment/ablations.js";
import { allSlots } from "../../src/experiment/expert-slots.js";
import { pairedEffects } from "../../src/experiment/paired-effect.js";
import { writePrunedCheckpoint } from "../../src/experiment/prune-checkpoint.js";
import { leastUseful, pruneReport } from "../../src/experiment/prune-report.js";
import { lineQuestions } from "../../src/experiment/questions.js";
import { Model } from "../../src/model/model.js";
import { seededModel, temporaryFolder } from "../cli/seeded.js";
import { linesOfTwoDomains } from "./lines.js";

const folder = temporaryFolder();
const questions = lineQuestions(linesOfTwoDomains(4), "two domains");
let model: Model;
beforeAll(async () => {
  model = await Model.load(seededModel());
});
afterAll(() => model.dispose());

/** The tokens of each line's first request. */
function documents({ lines }: typeof questions): Promise<Int32Array>[] {
  return lines!.map(async ({ context, choices, continuation }) => {
    const answer = choices?.[0] ?? continuation!;
    const ids = await model.tokenizer.encode(context! + answer);
    return ids.slice(0, -1);
  });
}

describe("prune report", () => {
  it("takes the least chosen experts of every layer out and says what that saves", async () => {
    const report = await pruneReport(model, questions, { remove: [1, 3] });
    const load = new RoutingLoad();
    await questions.ask(model, { onTrace: ({ trace }) => load.add(trace) });
    const counts = load.counts();
    const [one, three] = report.steps;
    expect(one!.experts).toHaveLength(4);
    for (const { layer, expert } of one!.experts) {
      expect(counts[layer * 8 + expert]).toBe(Math.min(...counts.subarray(layer * 8, layer * 8 + 8)));
    }
    const before = await questions.ask(model);
    const after = await questions.ask(model.with(ablationOf(three!.experts, "mask")));
    expect(three!.effects).toEqual(pairedEffects(before, after));
    // An expert: three matrices of 64 x 128 in bf16 or f32, as the file has them.
    const { dtype } = model.parts.checkpoint.plan.tensors.find(({ role }) => role.includes("experts"))!;
    const bytes = 3 * 64 * 128 * (dtype === "F32" ? 4 : 2);
    expect(one!.savedBytes).toBe(4 * bytes);
    expect(three!.savedBytes).toBe(12 * bytes);
    expect(three!.weightBytes).toBe(report.weightBytes - 12 * bytes);
    expect(three!.controls).toHaveLength(12);
  });

  it("ranks by what experts contribute", async () => {
    const [step] = (await pruneReport(model, questions, { remove: [1], by: "reap", controls: false })).steps;
    const sums = await model.contributions(await Promise.all(documents(questions)));
    const reap = new Contributions(sums, { moeLayers: [0, 1, 2, 3], numExperts: 8, numLayers: 4 }).reap().values;
    for (const { layer, expert } of step!.experts) {
      const ofLayer = Array.from(reap.subarray(layer * 8, layer * 8 + 8), (value) => (Number.isNaN(value) ? 0 : value));
      expect(ofLayer[expert]).toBe(Math.min(...ofLayer));
    }
  });

  it("refuses to leave fewer than k", async () => {
    await expect(pruneReport(model, questions, { remove: [7] })).rejects.toThrow(
      "Expected experts of each layer from 1 to 6 (2 must be left) for remove, got 7",
    );
  });
});

describe("pruned checkpoint", () => {
  const slots = allSlots({ moeLayers: [0, 1, 2, 3], numExperts: 8 });
  // Another set in every layer, so that numbers must be given anew by layer.
  const experts = leastUseful(
    slots,
    slots.map(({ layer, expert }) => (expert * (2 * layer + 3)) % 8),
    3,
  );

  it("computes what the mask computes, bit for bit", async () => {
    const out = join(folder, "pruned");
    const written = await writePrunedCheckpoint(model.parts.checkpoint, experts, out);
    expect(written.numExperts).toBe(5);
    const pruned = await Model.load(out);
    expect(pruned.config.numExperts).toBe(5);
    expect(pruned.parts.checkpoint.weightBytes).toBe(written.weightBytes);
    const ids = await model.tokenizer.encode("def add(x, y): the cat and the dog return x + y");
    const masked = await model.with(ablationOf(experts, "mask")).forward(ids, { logits: "all", trace: "topk" });
    const own = await pruned.forward(ids, { logits: "all", trace: "topk" });
    expect(own.logits).toEqual(masked.logits);
    expect(own.trace!.columns.topkWeights).toEqual(masked.trace!.columns.topkWeights);
    const kept = (layer: number) =>
      [0, 1, 2, 3, 4, 5, 6, 7].filter((e) => !experts.some((slot) => slot.layer === layer && slot.expert === e));
    own.trace!.columns.topkExperts.forEach((expert, i) => {
      expect(kept(Math.floor(i / 2) % 4)[expert]).toBe(masked.trace!.columns.topkExperts[i]);
    });
    await pruned.dispose();
    expect(existsSync(join(out, "tokenizer.json"))).toBe(true);
    expect(JSON.parse(readFileSync(join(out, "config.json"), "utf8"))).toMatchObject({
      num_experts: 5,
      num_experts_per_tok: 2,
    });
  });

  it("refuses unequal layers, too few experts, folders in use, and files of another form", async () => {
    const { checkpoint } = model.parts;
    const to = (name: string) => join(folder, name);
    await expect(writePrunedCheckpoint(checkpoint, experts.slice(1), to("unequal"))).rejects.toThrow(
      "Expected as many experts to prune in every one of the MoE layers 0, 1, 2, 3, got 2 in layer 0, 3 in layer 1",
    );
    const seven = slots.filter(({ expert }) => expert > 0);
    await expect(writePrunedCheckpoint(checkpoint, seven, to("few"))).rejects.toThrow(
      "Expected at least the 2 experts of a token to be left, got 1.",
    );
    writeFileSync(to("file"), "x");
    await expect(writePrunedCheckpoint(checkpoint, experts, folder)).rejects.toMatchObject({ code: "RUN_CONFLICT" });
    const gguf = { ...(await openCheckpoint(seededModel())), format: "gguf" as const };
    await expect(writePrunedCheckpoint(gguf, experts, to("gguf"))).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });
});
