/**
 * From association to cause: half of the items say which experts go with a domain or with right answers, the other half is asked without
 * them. Routing is a function of the hidden state, so what the first half says may be no cause at all; only what the second half shows
 * survives.
 */

import { join } from "node:path";
import { withProgress } from "../ambient-progress.js";
import { benjaminiHochberg } from "../analysis/multiple-testing.js";
import { joinOutcomes, type OutcomeJoin } from "../analysis/outcome-join.js";
import type { Outcome } from "../analysis/outcomes.js";
import { type OutcomeProbe, probeOutcomes } from "../analysis/probe.js";
import { Random } from "../analysis/random.js";
import { RoutingLoad } from "../analysis/routing-load.js";
import { InvalidArgumentError } from "../errors.js";
import type { Model } from "../model/model.js";
import { type AblationMode, Ablations } from "./ablations.js";
import { type DomainRoutes, domainsOfLoad, favourites } from "./domain-routes.js";
import { allSlots, type ExpertSlot, matchedControls, slotsLabel } from "./expert-slots.js";
import { ALL_GROUPS, type Effect, type Measure, measuresOf, pairedEffects } from "./paired-effect.js";
import type { Answer, AskOptions, Questions, TracedItem } from "./questions.js";

export interface ExplainOptions {
  /** Default "zero". */
  mode?: AblationMode;
  /** Of a domain's preferred experts the first so many in each layer are ablated together; default 1. */
  favouritesPerLayer?: number;
  /** Experts that are claimed to go with right or wrong answers, at most; default 8. */
  maxOutcomeClaims?: number;
  /** Sets of random experts to compare each claim with; default 3. */
  controls?: number;
  /** A claim survives below this p, corrected over all claims (Benjamini-Hochberg); default 0.01. */
  alpha?: number;
  out?: string;
  seed?: number;
  signal?: AbortSignal;
  onProgress?: (stage: string, done: number, total: number) => void;
}

/** A claim of the first half and its test on the second. */
export interface ExplainedClaim {
  kind: "domain" | "outcome";
  /** The group whose items the claim is about; `all` for outcomes. */
  group: string;
  experts: readonly ExpertSlot[];
  /** What the first half says, in one sentence. */
  association: string;
  /** Expected sign of the change without the experts. */
  expected: "loss" | "gain";
  /** On the second half: the group's items without the experts against with them. */
  test: Effect;
  /** `test.p`, Benjamini-Hochberg over all claims. */
  q: number;
  /**
   * The same with random experts of the same layers in their place, chosen about as often over all items; experts of which the first
   * half says the same are left out.
   */
  controls: readonly { experts: readonly ExpertSlot[]; effect: Effect }[];
  /** Corrected p below alpha, in the expected direction, and a larger effect than that of every control. */
  survived: boolean;
  /** What the second half says, in one sentence. */
  verdict: string;
}

export interface Explanation {
  mode: AblationMode;
  questions: string;
  measure: Measure;
  /** Items of the half that made the claims, and of the half that tested them. */
  items: readonly [claims: number, tests: number];
  /** Of the first half; absent where there is one group alone. */
  domains?: DomainRoutes;
  /** Right against wrong answers of the first half, stratified by group and length; absent where there are only right or only wrong ones. */
  outcomes?: OutcomeJoin;
  /** Correctness from routing against length and group alone, cross-validated over all items; absent where `outcomes` is. */
  probe?: OutcomeProbe;
  claims: readonly ExplainedClaim[];
}

/** A claim that is still to be tested. */
interface Claim extends Pick<ExplainedClaim, "kind" | "group" | "experts" | "association" | "expected"> {
  /** Other experts of which the first half says the same: they are no controls. */
  alike: readonly ExpertSlot[];
}

const FALSE_DISCOVERY_RATE = 0.05;

/**
 * Explains how a model answers questions by its experts: association on one half, ablation on the other.
 *
 * @throws InvalidArgumentError where the questions have no answers to be right about, or too few of them.
 */
export function explain(model: Model, questions: Questions, options: ExplainOptions = {}): Promise<Explanation> {
  return withProgress(
    options.onProgress,
    { label: "explain", unit: "steps", move: (bar, stage, done, total) => bar.update(done, total, stage) },
    (onProgress) => associateAndAblate(model, questions, { ...options, onProgress }),
  );
}

async function associateAndAblate(model: Model, questions: Questions, options: ExplainOptions): Promise<Explanation> {
  const { mode = "zero", seed = 0, signal, out, alpha = 0.01, onProgress } = options;
  const traced = new RoutedItems();
  const before = await questions.ask(model, {
    signal,
    onProgress: (done, total) => onProgress?.("answering", done, total),
    onTrace: (item) => traced.take(item),
  });
  const halves = splitInHalves(before, seed);
  const [measure] = measuresOf(before);
  if (measure === undefined || before.length < 4) {
    throw new InvalidArgumentError(
      `Expected at least four scored items to explain, got ${before.length} in ${questions.name}.`,
    );
  }
  const first = traced.load((item) => halves.get(keyOf(item)) === 0);
  const { domains, outcomes, probe, claims } = associate(first, traced.load(), before, halves, options);

  const numHeldOut = before.filter((answer) => halves.get(keyOf(answer)) === 1).length;
  const askedOf = heldOutQuestions(model, questions, halves, { mode, out, signal, seed });
  const rates = traced.load().selectionRate();
  const tested: Omit<ExplainedClaim, "q" | "survived" | "verdict">[] = [];
  for (const [done, claim] of claims.entries()) {
    onProgress?.("ablating", done, claims.length);
    const ablations = await askedOf(claim.group);
    const baseline = await ablations.without([]);
    const effectWithout = async (experts: readonly ExpertSlot[]): Promise<Effect | undefined> => {
      const effects = pairedEffects(baseline, await ablations.without(experts), seed);
      const effect = effects.find(({ group, measure: of }) => group === ALL_GROUPS && of === measure);
      return effect && { ...effect, group: claim.group };
    };
    const test = await effectWithout(claim.experts);
    if (test === undefined) continue;
    const controls: { experts: ExpertSlot[]; effect: Effect }[] = [];
    for (const experts of controlSets(model, rates, claim, options)) {
      const effect = await effectWithout(experts);
      if (effect !== undefined) controls.push({ experts, effect });
    }
    const { alike: _, ...named } = claim;
    tested.push({ ...named, test, controls });
  }
  onProgress?.("ablating", claims.length, claims.length);
  const q = benjaminiHochberg(tested.map(({ test }) => test.p));
  return {
    ...{ mode, questions: questions.name, measure, domains, outcomes, probe },
    items: [before.length - numHeldOut, numHeldOut],
    claims: tested.map((claim, i) => judged(claim, q[i]!, alpha)),
  };
}

/** The held-out items of a group, asked of ablations; each group once. */
function heldOutQuestions(
  model: Model,
  questions: Questions,
  halves: ReadonlyMap<string, number>,
  { mode, out, signal, seed }: { mode: AblationMode; out?: string; signal?: AbortSignal; seed: number },
): (group: string) => Promise<Ablations> {
  const opened = new Map<string, Promise<Ablations>>();
  const openGroup = (group: string) => {
    const label = `held-out half ${seed} of ${group}`;
    const heldOut = questions.subset(label, (item) => {
      return halves.get(keyOf(item)) === 1 && (group === ALL_GROUPS || item.group === group);
    });
    const folder = out === undefined ? undefined : join(out, `without-${group.replace(/[^\w-]+/g, "_")}`);
    return Ablations.open(model, heldOut, { mode, out: folder, signal });
  };
  return (group) => {
    const ablations = opened.get(group) ?? openGroup(group);
    opened.set(group, ablations);
    return ablations;
  };
}

function associate(
  first: RoutingLoad,
  all: RoutingLoad,
  answers: readonly Answer[],
  halves: ReadonlyMap<string, number>,
  options: ExplainOptions,
): Pick<Explanation, "domains" | "outcomes" | "probe"> & { claims: Claim[] } {
  const groups = new Map(answers.map((answer) => [keyOf(answer), answer.group]));
  const { seed = 0 } = options;
  const hasDomains = new Set(groups.values()).size > 1;
  const domains = hasDomains
    ? domainsOfLoad(first, (key) => groups.get(keyOf({ task: key.task!, sampleId: key.sampleId! })), { seed })
    : undefined;
  const outcomesOf = (half: number | undefined): Outcome[] =>
    answers.flatMap(({ task, sampleId, correct, group }) =>
      (half === undefined || halves.get(keyOf({ task, sampleId })) === half) && (correct === 0 || correct === 1)
        ? [{ task, sampleId, correct: correct === 1, subject: group }]
        : [],
    );
  const scored = outcomesOf(0);
  const hasBoth = new Set(scored.map(({ correct }) => correct)).size === 2;
  // A join wants an outcome for every item, and both outcomes in a stratum; without, there is nothing to associate.
  const canJoin = hasBoth && scored.length === first.documents.filter(({ sampleId }) => sampleId !== undefined).length;
  const outcomes = canJoin ? joined(first, scored, seed) : undefined;
  const probe = outcomes === undefined ? undefined : probeOutcomes(all, outcomesOf(undefined));
  return {
    ...{ domains, outcomes, probe },
    claims: [...(domains === undefined ? [] : domainClaims(domains, options)), ...outcomeClaims(outcomes, options)],
  };
}

function joined(load: RoutingLoad, outcomes: readonly Outcome[], seed: number): OutcomeJoin | undefined {
  try {
    return joinOutcomes(load, outcomes, { seed });
  } catch (error) {
    // No stratum has both outcomes: an answer to the question, not a fault.
    if (error instanceof InvalidArgumentError) return undefined;
    throw error;
  }
}

function domainClaims(domains: DomainRoutes, { favouritesPerLayer = 1 }: ExplainOptions): Claim[] {
  return domains.domains.flatMap((domain): Claim[] => {
    const preferred = favourites(domains, domain, { falseDiscoveryRate: FALSE_DISCOVERY_RATE });
    const experts = domains.layers.flatMap((layer) =>
      preferred.filter((expert) => expert.layer === layer).slice(0, favouritesPerLayer),
    );
    if (experts.length === 0) return [];
    const lifts = experts.map(({ lift }) => lift);
    return [
      {
        ...{ kind: "domain", group: domain, expected: "loss" },
        experts: experts.map(({ layer, expert }) => ({ layer, expert })),
        alike: preferred.map(({ layer, expert }) => ({ layer, expert })),
        association: `${domain} prefers ${slotsLabel(experts)} (${Math.min(...lifts).toFixed(1)} to ${Math.max(...lifts).toFixed(1)} times as much as all domains do)`,
      },
    ];
  });
}

function outcomeClaims(outcomes: OutcomeJoin | undefined, { maxOutcomeClaims = 8 }: ExplainOptions): Claim[] {
  const found = (outcomes?.slots ?? []).filter(({ q }) => q <= FALSE_DISCOVERY_RATE);
  found.sort((a, b) => a.q - b.q || Math.abs(b.stratified) - Math.abs(a.stratified));
  const alike = found.map(({ layer, expert }) => ({ layer, expert }));
  return found.slice(0, maxOutcomeClaims).map(({ layer, expert, stratified, q }): Claim => {
    const kind = stratified > 0 ? "right" : "wrong";
    return {
      ...{
        kind: "outcome",
        group: ALL_GROUPS,
        alike,
        experts: [{ layer, expert }],
        expected: stratified > 0 ? "loss" : "gain",
      },
      association: `${slotsLabel([{ layer, expert }])} serves ${kind} answers more (difference in rate ${stratified.toFixed(4)}, q ${q.toPrecision(2)})`,
    };
  });
}

function controlSets(
  model: Model,
  rates: Float64Array,
  { experts, alike }: Claim,
  { controls = 3, seed = 0 }: ExplainOptions,
): ExpertSlot[][] {
  const slots = allSlots(model.parts.shape);
  const sets = Array.from({ length: controls }, (_, draw) =>
    matchedControls(slots, rates, experts, seed + draw, alike),
  );
  // Where few experts are alike, two draws may be the same set.
  const distinct = new Map(sets.map((set) => [slotsLabel(set), set]));
  return [...distinct.values()].filter((set) => set.length === experts.length);
}

function judged(claim: Omit<ExplainedClaim, "q" | "survived" | "verdict">, q: number, alpha: number): ExplainedClaim {
  const { test, controls, expected, experts, group } = claim;
  const gain = expected === "gain" ? 1 : -1;
  const isExpected = gain * test.difference > 0;
  const exceeds = controls.every(({ effect }) => gain * test.difference > gain * effect.difference);
  const survived = q < alpha && isExpected && exceeds;
  const what = test.measure === "accuracy" ? "accuracy" : "log-probability";
  const change = `${what} of ${group} changes by ${test.difference.toFixed(3)} [${test.interval[0].toFixed(3)}, ${test.interval[1].toFixed(3)}] (n ${test.n}, q ${q.toPrecision(2)})`;
  const others = controls.map(({ effect }) => effect.difference.toFixed(3)).join(", ");
  const beside = controls.length === 0 ? "" : `; random experts chosen as often: ${others}`;
  const judgement = survived
    ? "Survived"
    : q >= alpha
      ? "Did not survive: no change beyond chance"
      : isExpected
        ? "Did not survive: random experts do as much"
        : "Refuted: the change has the other sign";
  return { ...claim, q, survived, verdict: `${judgement}. Without ${slotsLabel(experts)} ${change}${beside}.` };
}

/** Half 0 or 1 of every item: at random, as evenly as can be within each group. */
export function splitInHalves(
  answers: readonly Pick<Answer, "task" | "sampleId" | "group">[],
  seed: number,
): Map<string, number> {
  const random = new Random(seed);
  const byGroup = new Map<string, string[]>();
  for (const answer of answers) byGroup.set(answer.group, [...(byGroup.get(answer.group) ?? []), keyOf(answer)]);
  const half = new Map<string, number>();
  for (const keys of byGroup.values()) {
    const order = Float64Array.from(keys.keys());
    random.shuffle(order);
    for (const [place, item] of order.entries()) half.set(keys[item]!, place % 2);
  }
  return half;
}

function keyOf({ task, sampleId }: Pick<Answer, "task" | "sampleId">): string {
  return JSON.stringify([task, sampleId]);
}

/** Expert counts by item, so that loads of some items can be made of one pass. */
class RoutedItems {
  readonly #items: TracedItem[] = [];

  take(item: Parameters<NonNullable<AskOptions["onTrace"]>>[0]): void {
    if (item.trace.numTokens > 0) this.#items.push({ ...item, trace: item.trace.atLevel("topk") });
  }

  load(keep: (item: TracedItem) => boolean = () => true): RoutingLoad {
    const load = new RoutingLoad();
    for (const item of this.#items) if (keep(item)) load.add(item.trace);
    return load;
  }
}
