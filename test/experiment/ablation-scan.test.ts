/** Ablation scans: what each effect is, controls, resuming, and what changes nothing. */
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ablationScan, scanForest } from "../../src/experiment/ablation-scan.js";
import { Ablations } from "../../src/experiment/ablations.js";
import { allSlots, matchedControls } from "../../src/experiment/expert-slots.js";
import { effectOf, pairedEffects } from "../../src/experiment/paired-effect.js";
import { lineQuestions, type Questions } from "../../src/experiment/questions.js";
import { Model } from "../../src/model/model.js";
import { ablate } from "../../src/router/intervention-builders.js";
import { seededModel, temporaryFolder } from "../cli/seeded.js";
import { linesOfTwoDomains } from "./lines.js";

const folder = temporaryFolder();
const questions = lineQuestions(linesOfTwoDomains(5), "two domains");
let model: Model;
beforeAll(async () => {
  model = await Model.load(seededModel());
});
afterAll(() => model.dispose());

/** The same questions, counting how often they are asked. */
function counted(): { questions: Questions; asked: () => number } {
  let asked = 0;
  const ask: Questions["ask"] = (...parts) => {
    asked++;
    return questions.ask(...parts);
  };
  // Without lines, so that each set is asked for by itself.
  return { questions: { ...questions, lines: undefined, ask }, asked: () => asked };
}

describe("ablation scan", () => {
  it("gives each expert the paired effect of its absence", async () => {
    const experts = [
      { layer: 1, expert: 3 },
      { layer: 3, expert: 0 },
    ];
    const scan = await ablationScan(model, questions, { mode: "mask", experts, controls: 1 });
    const before = await questions.ask(model);
    for (const [i, { layer, expert }] of experts.entries()) {
      const after = await questions.ask(model.with(ablate({ layers: [layer], experts: [expert], mode: "mask" })));
      const { effects, controls } = scan.experts[i]!;
      expect(effects.map(({ q: _, ...effect }) => effect)).toEqual(pairedEffects(before, after));
      expect(controls).toHaveLength(1);
      expect(controls[0]).toMatchObject({ layer });
      expect(controls[0]!.expert).not.toBe(expert);
    }
    expect(scan.groups).toEqual(["all", "animals", "code"]);
    const forest = scanForest(scan, { measure: "logprob", group: "animals" });
    expect(forest.rows).toHaveLength(2);
  });

  it("takes the first experts by load", async () => {
    const load = await ablationScan(model, questions, { top: 3, controls: 0 });
    const rates = load.experts.map(({ rate }) => rate);
    expect(rates).toEqual([...rates].sort((a, b) => b - a));
    const all = await ablationScan(model, questions, { controls: 0, experts: allSlots(model.parts.shape).slice(0, 8) });
    expect(all.experts).toHaveLength(8);
    expect(Math.max(...all.experts.map(({ rate }) => rate))).toBeLessThanOrEqual(rates[0]!);
  });

  it("finds no change of any bit where the expert is never selected", async () => {
    const unused = lineQuestions([{ id: "a", group: "all", context: "the cat", continuation: " bird" }], "one line");
    const scan = await ablationScan(model, unused, { controls: 0 });
    const idle = scan.experts.filter(({ rate }) => rate === 0);
    expect(idle.length).toBeGreaterThan(5);
    for (const { effects } of idle) expect(effects[0]).toMatchObject({ measure: "logprob", difference: 0, p: 1 });
    expect(scan.experts.some(({ effects }) => effects[0]!.difference !== 0)).toBe(true);
  });

  it("goes on where it stopped, also behind a torn line, and refuses what belongs to others", async () => {
    const out = join(folder, "scan");
    const options = { experts: [0, 1, 2].map((expert) => ({ layer: 2, expert })), controls: 0, out } as const;
    const first = counted();
    const whole = await ablationScan(model, first.questions, options);
    expect(first.asked()).toBe(5); // the load, the model itself, three experts
    const file = join(out, "answers.jsonl");
    const lines = readFileSync(file, "utf8").split("\n");
    writeFileSync(file, `${lines.slice(0, 3).join("\n")}\n${lines[3]!.slice(0, 40)}`);
    const second = counted();
    const resumed = await ablationScan(model, second.questions, options);
    expect(second.asked()).toBe(3); // the load again, and the two experts that were lost
    expect(resumed.experts).toEqual(whole.experts);
    await expect(ablationScan(model, questions, { ...options, mode: "mask" })).rejects.toMatchObject({
      code: "RUN_CONFLICT",
    });
    const other = lineQuestions(linesOfTwoDomains(2), "others");
    await expect(ablationScan(model, other, options)).rejects.toThrow(
      "Expected answers of this model to these questions in",
    );
    appendFileSync(file, "not JSON\n");
    await expect(ablationScan(model, questions, options)).rejects.toMatchObject({ code: "BAD_FILE" });
  });

  it.each([
    [{ experts: [{ layer: 9, expert: 0 }] }, "Expected one of the MoE layers 0, 1, 2, 3 for layer, got 9"],
    [{ experts: [{ layer: 1, expert: 8 }] }, "Expected an expert from 0 to 7 for expert, got 8"],
    [{ top: 33 }, "Expected a number of experts from 1 to 32 for top, got 33"],
    [{ mode: "swap" as "zero" }, 'Expected zero or mask for mode, got "swap".'],
    [{ top: 1, by: "size" as "load" }, 'Expected load or gate-mass or ean or reap for criterion, got "size".'],
  ])("refuses %o", async (options, sentence) => {
    await expect(ablationScan(model, questions, { controls: 0, ...options })).rejects.toThrow(sentence);
  });

  it("asks each set of experts once, in whatever order it is named", async () => {
    const { questions: asking, asked } = counted();
    const ablations = await Ablations.open(model, asking, { mode: "zero" });
    const [a, b] = [
      { layer: 1, expert: 2 },
      { layer: 0, expert: 5 },
    ];
    expect(await ablations.without([a, b])).toBe(await ablations.without([b, a]));
    expect(asked()).toBe(1);
  });
});

describe("controls", () => {
  const slots = allSlots({ moeLayers: [0, 1], numExperts: 4 });
  const rates = [0.5, 0.45, 0.1, 0.9, 0.2, 0.6, 0.61, 0.59];

  it("are of the target's layer and chosen about as often; without such, the nearest", () => {
    for (let seed = 0; seed < 20; seed++) {
      expect(matchedControls(slots, rates, [{ layer: 0, expert: 0 }], seed)).toEqual([{ layer: 0, expert: 1 }]);
      expect(matchedControls(slots, rates, [{ layer: 1, expert: 0 }], seed)).toEqual([{ layer: 1, expert: 3 }]);
    }
  });

  it("are drawn at random, never a target and never twice", () => {
    const targets = [
      { layer: 1, expert: 1 },
      { layer: 1, expert: 2 },
    ];
    const drawn = Array.from({ length: 20 }, (_, seed) => matchedControls(slots, rates, targets, seed));
    for (const set of drawn) {
      expect(set.map(({ expert }) => expert).sort()).toEqual([0, 3]);
    }
    expect(
      new Set(
        drawn.map((set) => JSON.stringify(matchedControls(slots, rates, targets.slice(0, 1), drawn.indexOf(set)))),
      ).size,
    ).toBe(2);
  });
});

describe("paired effects", () => {
  it("test right answers by McNemar, anything else by signs", () => {
    const before = [1, 1, 1, 1, 1, 1, 0, 0];
    const after = [0, 0, 0, 0, 0, 0, 0, 0];
    expect(effectOf(before, after)).toMatchObject({ n: 8, before: 0.75, after: 0, difference: -0.75 });
    expect(effectOf(before, after).p).toBeCloseTo(2 * 0.5 ** 6, 12);
    // Five differences of one sign: 2 of the 32 patterns of signs are as extreme.
    expect(effectOf([0, 0, 0, 0, 0], [1, 2, 3, 4, 5]).p).toBe(2 / 32);
  });

  it("refuse answers to other items", () => {
    const answer = { task: "t", sampleId: "a", group: "g", correct: 1, logprob: null };
    expect(() => pairedEffects([answer], [{ ...answer, sampleId: "b" }])).toThrow("they differ from item 0 on");
    expect(() => pairedEffects([answer], [])).toThrow("they differ from item 0 on");
  });
});
