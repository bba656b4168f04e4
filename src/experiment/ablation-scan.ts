/** Every expert out in turn: what its absence does to the same questions, beside that of random experts chosen as often. */

import { withProgress } from "../ambient-progress.js";
import { benjaminiHochberg } from "../analysis/multiple-testing.js";
import { RoutingLoad } from "../analysis/routing-load.js";
import { invalidArgument } from "../errors.js";
import { mean } from "../eval/statistics.js";
import type { Model } from "../model/model.js";
import type { ForestData } from "../plot/forest-plot.js";
import { type AblationMode, Ablations } from "./ablations.js";
import { allSlots, type Criterion, type ExpertSlot, matchedControls, rankSlots, slotsLabel } from "./expert-slots.js";
import {
  ALL_GROUPS,
  type Effect,
  effectOf,
  groupsOf,
  type Measure,
  measuresOf,
  pairedEffects,
  valuesOf,
} from "./paired-effect.js";
import type { Answer, Questions } from "./questions.js";
import { usefulness } from "./usefulness.js";

export interface ScanOptions {
  /** Default "zero". */
  mode?: AblationMode;
  /** These experts; default all. */
  experts?: readonly ExpertSlot[];
  /** Of the experts, only the `top` first by the criterion (default "load"), measured on the same questions. */
  top?: number;
  by?: Criterion;
  /** Random controls for each expert, matched in frequency; default 2. */
  controls?: number;
  /** A folder for the answers, from which a stopped scan goes on. */
  out?: string;
  seed?: number;
  signal?: AbortSignal;
  /** Ablations done, ablations in all, and which one is at work. */
  onProgress?: (done: number, total: number, label: string) => void;
}

export interface ScannedExpert extends ExpertSlot {
  /** Selection rate h_e on the questions. */
  rate: number;
  controls: readonly (ExpertSlot & { rate: number })[];
  /** Without the expert against with it, by measure and group. `q`: Benjamini-Hochberg over all experts of one measure and group. */
  effects: readonly (Effect & { q: number })[];
  /** Over all items: without the expert (`after`) against the mean without each control (`before`). Absent without controls. */
  beyondControls: readonly Effect[];
}

export interface AblationScan {
  mode: AblationMode;
  questions: string;
  items: number;
  measures: readonly Measure[];
  groups: readonly string[];
  experts: readonly ScannedExpert[];
  /** Seconds that the answers took; those that were found in `out` not included. */
  seconds: number;
}

/**
 * Takes experts out one at a time. Effects are paired item by item; association of a route with an answer is no cause, this is the test.
 *
 * @throws InvalidArgumentError for an expert or layer that the model does not have, or a model without routed experts.
 */
export function ablationScan(model: Model, questions: Questions, options: ScanOptions = {}): Promise<AblationScan> {
  return withProgress(
    options.onProgress,
    { label: "ablate", unit: "experts", move: (bar, done, total, label) => bar.update(done, total, label) },
    (onProgress) => scan(model, questions, { ...options, onProgress }),
  );
}

async function scan(model: Model, questions: Questions, options: ScanOptions): Promise<AblationScan> {
  const { mode = "zero", controls: numControls = 2, seed = 0, out, signal } = options;
  const { shape } = model.parts;
  if (shape.moeLayers.length === 0) throw invalidArgument("model", "a mixture of experts", model.config.architecture);
  const slots = allSlots(shape);
  const ablations = await Ablations.open(model, questions, { mode, out, signal });
  const load = await loadOn(model, questions, signal);
  const rates = load.selectionRate();
  const rateOf = (slot: ExpertSlot) =>
    rates[slots.findIndex((s) => s.layer === slot.layer && s.expert === slot.expert)]!;
  const targets = await targetsOf(model, questions, slots, load, options);
  const controls = targets.map((target, index) =>
    controlsOf(slots, rates, target, numControls, seed + index * numControls),
  );
  const before = await ablations.without([]);
  const sets = [...targets, ...controls.flat()].map((slot) => [slot]);
  const answers = await ablations.withoutEach(sets, options.onProgress);
  const after = new Map(sets.map((set, i) => [slotsLabel(set), answers[i]!]));
  options.onProgress?.(sets.length, sets.length, "");
  const experts = targets.map((target, index): ScannedExpert => {
    const own = after.get(slotsLabel([target]))!;
    const others = controls[index]!.map((control) => after.get(slotsLabel([control]))!);
    return {
      ...target,
      rate: rateOf(target),
      controls: controls[index]!.map((control) => ({ ...control, rate: rateOf(control) })),
      effects: pairedEffects(before, own, seed).map((effect) => ({ ...effect, q: Number.NaN })),
      beyondControls: others.length === 0 ? [] : beyond(others, own, seed),
    };
  });
  return {
    ...{ mode, questions: questions.name, items: before.length, measures: measuresOf(before) },
    groups: groupsOf(before),
    experts: withDiscoveryRates(experts),
    seconds: ablations.seconds,
  };
}

/** Expert load of a model on questions, by item. */
export async function loadOn(model: Model, questions: Questions, signal?: AbortSignal): Promise<RoutingLoad> {
  const load = new RoutingLoad();
  await questions.ask(model, { signal, level: "topk", onTrace: ({ trace }) => load.add(trace) });
  return load;
}

async function targetsOf(
  model: Model,
  questions: Questions,
  slots: readonly ExpertSlot[],
  load: RoutingLoad,
  options: ScanOptions,
): Promise<readonly ExpertSlot[]> {
  const { experts = slots, top, by = "load" } = options;
  if (top === undefined) return experts;
  if (!(Number.isInteger(top) && top >= 1 && top <= experts.length)) {
    throw invalidArgument("top", `a number of experts from 1 to ${experts.length}`, top);
  }
  const wanted = new Set(experts.map((slot) => slotsLabel([slot])));
  const ranked = rankSlots(slots, await usefulness(model, questions, load, by, options.signal));
  return ranked.filter((slot) => wanted.has(slotsLabel([slot]))).slice(0, top);
}

function controlsOf(
  slots: readonly ExpertSlot[],
  rates: Float64Array,
  target: ExpertSlot,
  count: number,
  seed: number,
): ExpertSlot[] {
  const controls: ExpertSlot[] = [];
  for (let draw = 0; draw < count; draw++) {
    const free = slots.filter((slot) => !controls.includes(slot));
    const kept = Float64Array.from(free, (slot) => rates[slots.indexOf(slot)]!);
    controls.push(...matchedControls(free, kept, [target], seed + draw));
  }
  return controls;
}

/** The effect beyond that of the controls, item by item: their own values are averaged first. */
function beyond(controls: readonly Answer[][], own: readonly Answer[], seed: number): Effect[] {
  return measuresOf(own).flatMap((measure) => {
    const values = valuesOf(own, measure);
    const others = controls.map((answers) => valuesOf(answers, measure));
    const items = [...own.keys()].filter((i) => values[i] !== null && others.every((list) => list[i] !== null));
    if (items.length === 0) return [];
    const average = items.map((i) => mean(others.map((list) => list[i]!)));
    const effect = effectOf(
      average,
      items.map((i) => values[i]!),
      seed,
    );
    return [{ group: ALL_GROUPS, measure, ...effect }];
  });
}

function withDiscoveryRates(experts: readonly ScannedExpert[]): ScannedExpert[] {
  const families = new Map<string, { p: number[]; at: [expert: number, effect: number][] }>();
  experts.forEach(({ effects }, expert) => {
    effects.forEach(({ measure, group, p }, effect) => {
      const name = JSON.stringify([measure, group]);
      const family = families.get(name) ?? { p: [], at: [] };
      family.p.push(p);
      family.at.push([expert, effect]);
      families.set(name, family);
    });
  });
  const q = experts.map(({ effects }) => effects.map(() => Number.NaN));
  for (const { p, at } of families.values()) {
    for (const [i, value] of benjaminiHochberg(p).entries()) q[at[i]![0]]![at[i]![1]] = value;
  }
  return experts.map((expert, i) => ({
    ...expert,
    effects: expert.effects.map((effect, j) => ({ ...effect, q: q[i]![j]! })),
  }));
}

/** Rows of the forest plot that one picture can hold. */
const MOST_ROWS = 24;

/**
 * The forest plot of a scan: the experts with the largest effects on one measure of one group, each followed by its first control where
 * that one was scanned itself.
 */
export function scanForest(
  { experts, mode }: AblationScan,
  { measure, group = ALL_GROUPS, title }: { measure: Measure; group?: string; title?: string },
): ForestData {
  const scale = measure === "accuracy" ? 100 : 1;
  const rows = experts.flatMap((expert) => {
    const effect = expert.effects.find((candidate) => candidate.measure === measure && candidate.group === group);
    return effect === undefined ? [] : [{ expert, effect }];
  });
  rows.sort((a, b) => Math.abs(b.effect.difference) - Math.abs(a.effect.difference));
  return {
    title: title ?? `Without one expert (${mode})${group === ALL_GROUPS ? "" : `: ${group}`}`,
    effect: measure === "accuracy" ? "change in accuracy, points" : "change in log-probability, nats per item",
    rows: rows.slice(0, MOST_ROWS).map(({ expert, effect }) => ({
      label: slotsLabel([expert]),
      effect: scale * effect.difference,
      lower: scale * effect.interval[0],
      upper: scale * effect.interval[1],
    })),
  };
}
