/** `explain` on the demo model: what it claims of one half, and what the other half says to that. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { humanevalMini, mmluMini } from "../../evals/index.js";
import { explain, splitInHalves } from "../../src/experiment/explain.js";
import { lineQuestions, taskQuestions } from "../../src/experiment/questions.js";
import { Model } from "../../src/model/model.js";
import { sandboxHere } from "../eval/sandbox/here.js";
import { linesOfTwoDomains } from "./lines.js";

let model: Model;
beforeAll(async () => {
  model = await Model.load("demo");
});
afterAll(() => model.dispose());

describe("explain", () => {
  it("finds experts that code needs and random ones do not replace", async (context) => {
    await sandboxHere(context);
    const questions = taskQuestions([humanevalMini({ limit: 48 }), mmluMini({ form: "cloze", limit: 48 })]);
    const found = await explain(model, questions, { controls: 2 });
    expect(found.items).toEqual([48, 48]);
    expect(found.domains!.perLayer.every(({ q }) => q < 0.01)).toBe(true);
    const code = found.claims.find(({ group }) => group === "humaneval-mini")!;
    expect(code.survived).toBe(true);
    expect(code.test.n).toBe(24);
    expect(code.test.p).toBeLessThan(0.01);
    expect(code.test.difference).toBeLessThan(-0.3);
    for (const { effect, experts } of code.controls) {
      expect(effect.p).toBeGreaterThan(0.01);
      expect(experts.some((slot) => code.experts.some((e) => e.layer === slot.layer && e.expert === slot.expert))).toBe(
        false,
      );
    }
    expect(code.verdict).toMatch(/^Survived\. Without layer/);
  }, 120_000);

  it("says plainly what did not survive", async () => {
    // Ten texts of two domains: the claims are there, the evidence is not.
    const found = await explain(model, lineQuestions(linesOfTwoDomains(10), "two domains"), {
      controls: 1,
      alpha: 1e-6,
    });
    expect(found.outcomes).toBeUndefined();
    expect(found.claims.length).toBeGreaterThan(0);
    for (const { survived, verdict } of found.claims) {
      expect(survived).toBe(false);
      expect(verdict).toMatch(/^Did not survive: no change beyond chance\. Without layer/);
    }
  });

  it("refuses items of which there are too few", async () => {
    await expect(explain(model, lineQuestions(linesOfTwoDomains(1), "two lines"))).rejects.toThrow(
      "Expected at least four scored items to explain, got 2 in two lines.",
    );
  });

  it("splits every group evenly, by the seed alone", () => {
    const answers = Array.from({ length: 31 }, (_, i) => ({
      task: "t",
      sampleId: String(i),
      group: i < 11 ? "a" : "b",
    }));
    const halves = splitInHalves(answers, 3);
    const ofGroup = (group: string) =>
      answers.filter((a) => a.group === group && halves.get(JSON.stringify(["t", a.sampleId])) === 1).length;
    expect([ofGroup("a"), ofGroup("b")]).toEqual([5, 10]);
    expect(splitInHalves(answers, 3)).toEqual(halves);
    expect(splitInHalves(answers, 4)).not.toEqual(halves);
  });
});
