import { describe, expect, it } from "vitest";
import { type Sample, selectSamples } from "../../src/index.js";

const samples: Sample[] = ["a", "a", "a", "a", "b", "c", "c"].map((group, i) => {
  return { id: String(i), group, input: "", target: "", doc: null };
});
const ids = (selection: Parameters<typeof selectSamples>[1]): string[] =>
  selectSamples(samples, selection).map(({ id }) => id);

describe("selectSamples", () => {
  it("spreads a limit over the groups, the first ones of each, in dataset order", () => {
    expect(ids({ limit: 3 })).toEqual(["0", "4", "5"]);
    expect(ids({ limit: 5 })).toEqual(["0", "1", "4", "5", "6"]);
    expect(ids({ limit: 6 })).toEqual(["0", "1", "2", "4", "5", "6"]);
    expect(ids({ limit: 99 })).toHaveLength(7);
    expect(ids({})).toHaveLength(7);
  });

  it("takes exactly the ids that are named, and knows them all", () => {
    expect(ids({ sampleIds: ["5", "1"] })).toEqual(["1", "5"]);
    expect(() => ids({ sampleIds: ["1", "x"] })).toThrow('Expected ids such as "0" for sampleIds, got "x".');
  });

  it.each([0, -1, 1.5, Number.NaN])("refuses a limit of %s", (limit) => {
    expect(() => ids({ limit })).toThrow("Expected a whole number of samples, at least 1 for limit");
  });
});
