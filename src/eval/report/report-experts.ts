import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { joinOutcomes, type OutcomeSlot } from "../../analysis/outcome-join.js";
import { RoutingLoad } from "../../analysis/routing-load.js";
import { fromSystemError, InvalidArgumentError } from "../../errors.js";
import type { ExpertLoad } from "../../router/expert-load.js";
import { loadTrace } from "../../router/trace-files.js";
import { COUNTS_FILE, readCounts } from "../load-counts.js";
import type { ReportSample, ReportTask } from "./report-data.js";

/** Expert load of a run, and which experts served right and wrong answers. A slot (layer l, expert e) is number l N + e. */
export interface ReportExperts {
  /** Global numbers of the MoE layers. */
  layers: readonly number[];
  numExperts: number;
  loads: readonly GroupLoad[];
  falseDiscoveryRate: number;
  contrasts: readonly OutcomeContrast[];
}

/** Assignments over the tokens of some samples, the beginnings that they share included. */
export interface GroupLoad {
  /** null for all tasks, and for all groups of a task. */
  task: string | null;
  group: string | null;
  /** null at trace level `counts`, which does not count them. */
  tokens: number | null;
  /** [layers, numExperts] */
  counts: readonly number[];
}

/** Right against wrong answers of one task; `note` says why there are no `slots`. */
export interface OutcomeContrast {
  task: string;
  scorer: string;
  correct: number;
  wrong: number;
  slots?: readonly OutcomeSlot[];
  note?: string;
}

const FALSE_DISCOVERY_RATE = 0.05;
/** Experts of each layer that a sample lists. */
const EXPERTS_LISTED = 3;
/** Additions that the permutation tests of one report may take: a few seconds. */
const MOST_ADDITIONS = 3e9;
const FEWEST_PERMUTATIONS = 999;

/** A task's routes, and the document of each of its samples in them. */
interface TaskRoutes {
  load: RoutingLoad;
  documents: ReadonlyMap<string, number>;
}

/**
 * Expert load from the Parquet shards of a run's `trace/`, one shard at a time, or from its counts; undefined where there is neither.
 * Fills in each sample's `experts`, where there are routes.
 */
export async function readExperts(
  folder: string,
  tasks: readonly ReportTask[],
  samples: readonly ReportSample[],
): Promise<ReportExperts | undefined> {
  const loads = new Map<string, RoutingLoad>();
  for (const shard of await shardsOf(folder)) await addShard(loads, shard);
  const routes = tasks.map(({ name }) => routesOf(loads.get(name)));
  const shape = routes.find((route) => route !== undefined)?.load.shape;
  if (shape === undefined) return countedExperts(folder, tasks);
  for (const sample of samples) {
    const route = routes[sample.task];
    const document = route?.documents.get(sample.id);
    if (route !== undefined && document !== undefined) sample.experts = mostChosen(route.load, document);
  }
  const ofTask = (task: number): ReportSample[] => samples.filter((sample) => sample.task === task);
  const perTask = tasks.flatMap((task, i) => (routes[i] === undefined ? [] : loadsOf(routes[i], task, ofTask(i))));
  const contrasts = tasks.flatMap((task, i) => (routes[i] === undefined ? [] : contrastOf(routes[i], task, ofTask(i))));
  return {
    layers: shape.layers,
    numExperts: shape.numExperts,
    loads: withSum(perTask),
    falseDiscoveryRate: FALSE_DISCOVERY_RATE,
    contrasts,
  };
}

async function shardsOf(folder: string): Promise<string[]> {
  try {
    const names = (await readdir(folder)).filter((name) => /^part-\d+\.parquet$/.test(name));
    const numberOf = (name: string): number => Number.parseInt(name.slice("part-".length), 10);
    return names.sort((a, b) => numberOf(a) - numberOf(b)).map((name) => join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw fromSystemError(error, `read the trace folder ${folder}`);
  }
}

/** A shard is one batch, so it is of one task. */
async function addShard(loads: Map<string, RoutingLoad>, shard: string): Promise<void> {
  const trace = await loadTrace(shard);
  const [task] = new Set(trace.keys.map((key) => key.task ?? ""));
  if (task === undefined) return;
  const load = loads.get(task) ?? new RoutingLoad();
  loads.set(task, load.add(trace));
}

function routesOf(load: RoutingLoad | undefined): TaskRoutes | undefined {
  if (load === undefined) return undefined;
  const documents = new Map<string, number>();
  load.documents.forEach(({ sampleId, epoch }, document) => {
    if (sampleId !== undefined && (epoch ?? 0) === 0) documents.set(sampleId, document);
  });
  return { load, documents };
}

function mostChosen(load: RoutingLoad, document: number): number[] {
  const { layers, numExperts } = load.shape;
  const rate = load.documentRate(document);
  return layers.flatMap((_, row) => {
    const share = (expert: number): number => rate[row * numExperts + expert]!;
    const experts = Array.from({ length: numExperts }, (_, expert) => expert);
    experts.sort((a, b) => share(b) - share(a) || a - b);
    return experts.slice(0, EXPERTS_LISTED).flatMap((expert) => [expert, Math.round(100 * share(expert))]);
  });
}

/** The load of a task, and of each of its groups where it has several. */
function loadsOf({ load, documents }: TaskRoutes, task: ReportTask, samples: readonly ReportSample[]): GroupLoad[] {
  const over = (group: string | null, weights: ArrayLike<number>): GroupLoad => {
    return { task: task.name, group, tokens: load.tokens(weights), counts: Array.from(load.counts(weights)) };
  };
  const groups = task.groups.length < 2 ? [] : task.groups;
  const perGroup = groups.map((name, group) => {
    const weights = new Float64Array(load.documents.length);
    for (const sample of samples) {
      const document = documents.get(sample.id);
      if (sample.group === group && document !== undefined) weights[document] = 1;
    }
    return over(name, weights);
  });
  return [
    over(null, new Float64Array(load.documents.length).fill(1)),
    ...perGroup.filter(({ tokens }) => tokens !== 0),
  ];
}

/** What a run at level `counts` has: sums by task, nothing of single samples. */
async function countedExperts(folder: string, tasks: readonly ReportTask[]): Promise<ReportExperts | undefined> {
  const counted = (await readCounts(join(folder, COUNTS_FILE))) ?? new Map<string, ExpertLoad>();
  const [first] = counted.values();
  if (first === undefined) return undefined;
  const loads = tasks.flatMap(({ name }): GroupLoad[] => {
    const load = counted.get(name);
    return load === undefined ? [] : [{ task: name, group: null, tokens: null, counts: Array.from(load.counts) }];
  });
  if (loads.length === 0) return undefined;
  const { layers, numExperts } = first;
  return { layers, numExperts, loads: withSum(loads), falseDiscoveryRate: FALSE_DISCOVERY_RATE, contrasts: [] };
}

/** The load of all tasks before those of each, where there are several. */
function withSum(loads: readonly GroupLoad[]): GroupLoad[] {
  const perTask = loads.filter(({ group }) => group === null);
  return perTask.length === 1 ? [...loads] : [sumOf(perTask), ...loads];
}

function sumOf(loads: readonly GroupLoad[]): GroupLoad {
  const tokens = loads.reduce<number | null>(
    (sum, load) => (sum === null || load.tokens === null ? null : sum + load.tokens),
    0,
  );
  const counts = loads[0]!.counts.map((_, slot) => loads.reduce((sum, load) => sum + load.counts[slot]!, 0));
  return { task: null, group: null, tokens, counts };
}

function contrastOf({ load }: TaskRoutes, task: ReportTask, samples: readonly ReportSample[]): OutcomeContrast {
  const outcomes = samples.flatMap(({ id, group, scores }) => {
    const value = scores[task.scorer]?.value;
    const isBinary = value === 0 || value === 1;
    return isBinary ? { task: task.name, sampleId: id, correct: value === 1, subject: task.groups[group] } : [];
  });
  const correct = outcomes.filter((outcome) => outcome.correct).length;
  const counts = { task: task.name, scorer: task.scorer, correct, wrong: outcomes.length - correct };
  if (correct === 0 || correct === outcomes.length) {
    return { ...counts, note: `Not tested: there are ${correct} right and ${counts.wrong} wrong answers.` };
  }
  const numSlots = load.shape.layers.length * load.shape.numExperts;
  const affordable = Math.floor(MOST_ADDITIONS / (Math.max(1, outcomes.length) * numSlots));
  const permutations = Math.min(Math.max(9999, 20 * numSlots), affordable);
  if (permutations < FEWEST_PERMUTATIONS) {
    return {
      ...counts,
      note: "Not tested: too many samples and experts for a report; joinOutcomes of the library can.",
    };
  }
  try {
    return { ...counts, slots: joinOutcomes(load, outcomes, { permutations, resamples: 200 }).slots };
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    return { ...counts, note: `Not tested. ${error.message}` };
  }
}
