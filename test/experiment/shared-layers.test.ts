/** Ablations that share lower layers: the bits of asking one by one, and less work. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Ablations } from "../../src/experiment/ablations.js";
import { allSlots, type ExpertSlot } from "../../src/experiment/expert-slots.js";
import { lineQuestions } from "../../src/experiment/questions.js";
import type { ScoredLine } from "../../src/experiment/scored-lines.js";
import { Model } from "../../src/model/model.js";
import { seededModel } from "../cli/seeded.js";
import { linesOfTwoDomains } from "./lines.js";

const LINES: ScoredLine[] = [
  ...linesOfTwoDomains(3),
  // Choices of unequal length that begin alike, one of them the beginning of another.
  { id: "long", group: "code", context: "def f(x):", choices: [" return x + 1", " return x", " pass"], answer: 1 },
  { id: "text", group: "animals", text: "the cat and the dog saw a bird" },
];
let model: Model;
beforeAll(async () => {
  model = await Model.load(seededModel());
});
afterAll(() => model.dispose());

describe("ablations that share layers", () => {
  const sets: ExpertSlot[][] = [
    ...allSlots({ moeLayers: [0, 1, 2, 3], numExperts: 8 })
      .filter(({ expert }) => expert % 3 === 0)
      .map((slot) => [slot]),
    [
      { layer: 3, expert: 1 },
      { layer: 1, expert: 2 },
    ],
    [],
  ];

  it.each(["zero", "mask"] as const)("give the bits of asking one by one (%s)", async (mode) => {
    const questions = lineQuestions(LINES, "lines");
    const shared = await (await Ablations.open(model, questions, { mode })).withoutEach(sets);
    const alone = await Ablations.open(model, { ...questions, lines: undefined }, { mode });
    for (const [i, set] of sets.entries()) expect(shared[i]).toEqual(await alone.without(set));
    expect(new Set(shared.map((answers) => JSON.stringify(answers))).size).toBeGreaterThan(6);
  });

  it("compute fewer multiply-accumulates", async () => {
    const questions = lineQuestions(LINES, "lines");
    const macsOf = async (work: () => Promise<unknown>) => {
      await model.parts.engine.startProfile();
      await work();
      const { macs } = await model.parts.engine.stopProfile();
      return macs.reduce((sum, value) => sum + value, 0);
    };
    const alone = await Ablations.open(model, { ...questions, lines: undefined }, { mode: "zero" });
    const naive = await macsOf(async () => {
      for (const set of sets) await alone.without(set);
    });
    const shared = await Ablations.open(model, questions, { mode: "zero" });
    const less = await macsOf(() => shared.withoutEach(sets));
    expect(less).toBeGreaterThan(0);
    expect(less).toBeLessThan(0.8 * naive);
  });
});
