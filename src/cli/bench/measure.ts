/** Measures works in pairs, ours and the peer's in turns, and relates each figure to the machine's ceilings. */
import { AbortError } from "../../errors.js";
import type { MeasuredCeiling } from "./ceilings.js";
import { highest } from "./ceilings.js";
import type { Contender } from "./contender.js";
import type { Demand } from "./demand.js";
import { pairedRatios, type Spread, spreadOf } from "./spread.js";
import type { Figure, Work } from "./works.js";

/** One figure of one work. */
export interface FigureResult {
  work: string;
  figure: string;
  unit: Figure["unit"];
  ours: Spread | null;
  peer: Spread | null;
  /** How many times as good as the peer, pair by pair: more is better for every unit. */
  ratio: Spread | null;
  /** What bounds the figure, and the parts of it that the medians reach. */
  ceiling: { kind: string; instructions: string; perSecond: number; ours: number | null; peer: number | null } | null;
}

export interface MeasureOptions {
  works: readonly Work[];
  pairs: number;
  ours: Contender;
  peer: Contender | null;
  demand: Demand;
  ceilings: readonly MeasuredCeiling[];
  signal: AbortSignal;
  onProgress: (done: number, total: number, work: string) => void;
}

export async function measureWorks(options: MeasureOptions): Promise<FigureResult[]> {
  const { works, pairs, ours, peer, signal } = options;
  const results: FigureResult[] = [];
  const total = works.length * pairs * (peer === null ? 1 : 2);
  let done = 0;
  for (const work of works) {
    const columns = { ours: [] as (number | null)[][], peer: [] as (number | null)[][] };
    // Ours warms up in this process; a peer's tools warm up by themselves.
    if (work.kind !== "load") await ours.measure(work, signal);
    for (let pair = 0; pair < pairs; pair++) {
      const both = [
        ["ours", ours],
        ["peer", peer],
      ] as const;
      for (const [side, contender] of pair % 2 === 0 ? both : both.toReversed()) {
        if (contender === null) continue;
        if (signal.aborted) throw new AbortError();
        options.onProgress(done++, total, `${work.name}, ${contender.name}`);
        const values = await contender.measure(work, signal);
        if (values !== undefined) columns[side].push(values);
      }
    }
    for (const [index, figure] of work.figures.entries()) {
      const valuesOf = (rows: readonly (number | null)[][]) =>
        rows.flatMap((row) => (row[index] == null ? [] : [row[index]]));
      results.push(resultOf(work, figure, valuesOf(columns.ours), valuesOf(columns.peer), options));
    }
  }
  options.onProgress(total, total, "");
  return results;
}

function resultOf(
  work: Work,
  figure: Figure,
  ours: readonly number[],
  theirs: readonly number[],
  { demand, ceilings }: Pick<MeasureOptions, "demand" | "ceilings">,
): FigureResult {
  const [mine, peer] = [spreadOf(ours), spreadOf(theirs)];
  const lessIsBetter = figure.unit !== "tokens/s";
  return {
    work: work.name,
    figure: figure.name,
    unit: figure.unit,
    ours: mine,
    peer,
    ratio: spreadOf(pairedRatios(ours, theirs, lessIsBetter)),
    ceiling: ceilingOf(work, figure, mine?.median ?? null, peer?.median ?? null, demand, ceilings),
  };
}

function ceilingOf(
  work: Work,
  { bound, tokens, unit }: Figure,
  ours: number | null,
  peer: number | null,
  demand: Demand,
  ceilings: readonly MeasuredCeiling[],
): FigureResult["ceiling"] {
  if (bound === undefined) return null;
  const ceiling = highest(ceilings, bound === "read" ? "read" : demand.factors) ?? highest(ceilings, "f32");
  if (ceiling === undefined) return null;
  const perToken = bound === "read" ? demand.decodeBytes(work.sequences) : demand.prefillMacs;
  const fraction = (value: number | null) => {
    if (value === null) return null;
    const tokensPerSecond = unit === "tokens/s" ? value : (tokens ?? 1) / value;
    return (tokensPerSecond * perToken) / ceiling.allThreads;
  };
  const { kind, instructions, allThreads } = ceiling;
  return { kind, instructions, perSecond: allThreads, ours: fraction(ours), peer: fraction(peer) };
}
