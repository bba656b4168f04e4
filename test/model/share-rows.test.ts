/** Who gets how many rows of a step. */
import { expect, it } from "vitest";
import { type Demand, shareRows } from "../../src/model/scheduler/share-rows.js";

const prompt = (rows: number, arrival: number, servedAt = -1): Demand => ({ rows, isDecode: false, servedAt, arrival });
const decode = (arrival: number): Demand => ({ rows: 1, isDecode: true, servedAt: 5, arrival });

/** Rows of each demand, in the order of the demands. */
function rowsOf(demands: readonly Demand[], budget: number): number[] {
  const shares = shareRows(demands, budget);
  return demands.map((demand) => shares.find((share) => share.demand === demand)?.rows ?? 0);
}

it("gives a lone prompt the whole step, and a short one all that it asks for beside a long one", () => {
  expect(rowsOf([prompt(30_000, 0)], 256)).toEqual([256]);
  expect(rowsOf([prompt(30_000, 0), prompt(100, 1)], 256)).toEqual([156, 100]);
  expect(rowsOf([prompt(30_000, 0), prompt(30_000, 1)], 256)).toEqual([128, 128]);
  expect(rowsOf([], 256)).toEqual([]);
});

it("serves every generated token first, whatever arrived before", () => {
  const demands = [prompt(30_000, 0), ...Array.from({ length: 60 }, (_, i) => decode(i + 1))];
  expect(rowsOf(demands, 256)).toEqual([196, ...Array.from({ length: 60 }, () => 1)]);
});

it("serves each of many long prompts within a number of steps that depends on their number alone", () => {
  const remaining = Array.from({ length: 23 }, () => 30_000);
  const served = remaining.map(() => -1);
  const gaps = remaining.map(() => 0);
  let clock = 0;
  const servedIn = remaining.map(() => 0);
  for (let step = 0; step < 200; step++) {
    const demands = remaining.map((rows, i) => prompt(rows, i, served[i]));
    const shares = shareRows(demands, 256);
    expect(shares.reduce((sum, { rows }) => sum + rows, 0)).toBe(256);
    for (const { demand, rows } of shares) {
      const i = demand.arrival;
      gaps[i] = Math.max(gaps[i]!, step - servedIn[i]!);
      servedIn[i] = step;
      served[i] = ++clock;
      remaining[i]! -= rows;
    }
  }
  expect(Math.max(...gaps)).toBeLessThanOrEqual(Math.ceil(23 / 4));
  const done = remaining.map((rows) => 30_000 - rows);
  expect(Math.max(...done) - Math.min(...done)).toBeLessThanOrEqual(64);
});
