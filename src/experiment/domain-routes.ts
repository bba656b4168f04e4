/** Which experts serve which domain: specialisation against what a random labelling of the same documents would give. */

import { withProgress } from "../ambient-progress.js";
import { documentBootstrap } from "../analysis/bootstrap.js";
import { benjaminiHochberg } from "../analysis/multiple-testing.js";
import { joinOutcomes } from "../analysis/outcome-join.js";
import { RoutingLoad } from "../analysis/routing-load.js";
import { Specialization } from "../analysis/specialization.js";
import { InvalidArgumentError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { DomainHeatmapData } from "../plot/domain-heatmap.js";
import type { AskOptions, Questions } from "./questions.js";

/** One layer's specialisation: I(E; D) in nats, at most ln of the number of domains. */
export interface LayerSpecialization {
  layer: number;
  /** Plug-in estimate, biased upward. */
  information: number;
  /** 95 % percentile interval of the plug-in, documents resampled. */
  interval: readonly [lower: number, upper: number];
  /** The same with the domains permuted over documents. */
  null: { mean: number; sd: number };
  /** `information` less the mean of the null: 0 without specialisation. */
  corrected: number;
  /** One-sided, with the +1; `q` is Benjamini-Hochberg over layers. */
  p: number;
  q: number;
}

/** How much more a domain uses an expert than the other domains do. */
export interface DomainExpert {
  domain: string;
  layer: number;
  expert: number;
  /** h_e given the domain. */
  rate: number;
  /** Share of the domain's routes over that of all domains: 1 is no preference. */
  lift: number;
  /** Mean of h_e(s) over the domain's documents less that over the others, and its 95 % interval (documents resampled). */
  difference: number;
  interval: readonly [lower: number, upper: number];
  /** Two-sided permutation p, and Benjamini-Hochberg over all domains and experts. */
  p: number;
  q: number;
}

export interface DomainRoutes {
  domains: readonly string[];
  layers: readonly number[];
  numExperts: number;
  numExpertsPerToken: number;
  /** Documents and tokens of each domain. */
  documents: readonly number[];
  tokens: readonly number[];
  /** h_e given the domain over k/N. [domains][layers, numExperts] */
  overUniform: readonly Float64Array[];
  perLayer: readonly LayerSpecialization[];
  experts: readonly DomainExpert[];
  permutations: number;
}

export interface DomainRoutesOptions extends Pick<AskOptions, "signal" | "onProgress"> {
  /** Default: 20 for each (domain, expert), at least 9,999, as far as some seconds of work allow, never below 999. */
  permutations?: number;
  seed?: number;
}

/** Additions that the permutation tests may take without being asked for more: some ten seconds. */
const MOST_ADDITIONS = 1e10;

/**
 * Runs the questions and compares the routes of their groups.
 *
 * @throws InvalidArgumentError for fewer than two groups, or a group of one document: there is nothing to permute.
 */
export async function domainRoutes(
  model: Model,
  questions: Questions,
  options: DomainRoutesOptions = {},
): Promise<DomainRoutes> {
  const load = new RoutingLoad();
  const domainOf = new Map<string, string>();
  await withProgress(
    options.onProgress,
    { label: "routes", unit: "questions", move: (bar, done, total) => bar.update(done, total) },
    (onProgress) =>
      questions.ask(model, {
        ...{ signal: options.signal, onProgress, level: "topk" },
        onTrace: ({ task, sampleId, group, trace }) => {
          if (trace.numTokens === 0) return;
          load.add(trace);
          domainOf.set(JSON.stringify([task, sampleId]), group);
        },
      }),
  );
  return domainsOfLoad(load, ({ task, sampleId }) => domainOf.get(JSON.stringify([task, sampleId])), options);
}

/** The same of routes that were recorded before: `domainOf` names a document's domain, undefined leaves it out. */
export function domainsOfLoad(
  load: RoutingLoad,
  domainOf: ConstructorParameters<typeof Specialization>[1],
  options: DomainRoutesOptions = {},
): DomainRoutes {
  const names = load.documents.map((key) => (key.sampleId === undefined ? undefined : domainOf(key)));
  const special = new Specialization(load, (key) => names[load.documents.indexOf(key)]);
  const { domains } = special;
  const documents = domains.map((domain) => names.filter((name) => name === domain).length);
  checkDomains(domains, documents);
  const { layers, numExperts, numExpertsPerToken } = load.shape;
  const tests = domains.length * layers.length * numExperts;
  const numDocuments = documents.reduce((sum, count) => sum + count, 0);
  const affordable = Math.floor(MOST_ADDITIONS / (tests * numDocuments));
  const { seed = 0, permutations = Math.max(999, Math.min(Math.max(9999, 20 * tests), affordable)) } = options;
  return {
    ...{ domains, layers, numExperts, numExpertsPerToken, documents, permutations },
    tokens: Array.from(special.tokens()),
    overUniform: special.overUniform(),
    perLayer: layerFigures(load, special, permutations, seed),
    experts: expertFigures(load, special, names, permutations, seed),
  };
}

function checkDomains(domains: readonly string[], documents: readonly number[]): void {
  if (domains.length < 2) {
    throw new InvalidArgumentError(
      `Expected at least two domains to compare, got ${domains.map((name) => JSON.stringify(name)).join(", ")} alone.`,
    );
  }
  const lonely = documents.findIndex((count) => count < 2);
  if (lonely < 0) return;
  throw new InvalidArgumentError(
    `Expected at least two documents in every domain, got ${documents[lonely]} in ${JSON.stringify(domains[lonely])}.`,
  );
}

function layerFigures(load: RoutingLoad, special: Specialization, permutations: number, seed: number) {
  const information = special.information();
  const chance = special.permutationNull({ permutations: Math.min(permutations, 9999), seed });
  const bootstrap = documentBootstrap(load.documents.length, (weights) => special.informationWeighted(weights), {
    resamples: 1000,
    seed,
  });
  const q = benjaminiHochberg(chance.pValue);
  return load.shape.layers.map(
    (layer, i): LayerSpecialization => ({
      layer,
      information: information[i]!,
      interval: [bootstrap.lower[i]!, bootstrap.upper[i]!],
      null: { mean: chance.mean[i]!, sd: chance.sd[i]! },
      corrected: chance.corrected[i]!,
      p: chance.pValue[i]!,
      q: q[i]!,
    }),
  );
}

/** Each domain against the rest is an outcome join with "belongs to the domain" in the place of "is right", in one stratum. */
function expertFigures(
  load: RoutingLoad,
  special: Specialization,
  names: readonly (string | undefined)[],
  permutations: number,
  seed: number,
): DomainExpert[] {
  const rates = special.selectionRate();
  const lift = special.lift();
  const { layers, numExperts } = load.shape;
  const found = special.domains.flatMap((domain, d) => {
    const outcomes = load.documents.flatMap((key, i) =>
      names[i] === undefined ? [] : [{ ...key, sampleId: key.sampleId!, correct: names[i] === domain }],
    );
    const { slots } = joinOutcomes(withoutOthers(load, names), outcomes, {
      ...{ permutations, resamples: 500, seed },
      strata: (joined) => joined.map(() => "all"),
    });
    return slots.map(({ layer, expert, difference, interval, p }): DomainExpert => {
      const slot = layers.indexOf(layer) * numExperts + expert;
      const figures = { rate: rates[d]![slot]!, lift: lift[d]![slot]!, difference, interval, p };
      return { domain, layer, expert, ...figures, q: Number.NaN };
    });
  });
  const q = benjaminiHochberg(found.map(({ p }) => p));
  return found.map((expert, i) => ({ ...expert, q: q[i]! }));
}

/** Every document must have its outcome: those without a domain are prefixes, which a join passes over, or a caller's to leave out. */
function withoutOthers(load: RoutingLoad, names: readonly (string | undefined)[]): RoutingLoad {
  const stray = load.documents.findIndex((key, i) => key.sampleId !== undefined && names[i] === undefined);
  if (stray < 0) return load;
  throw new InvalidArgumentError(
    `Expected a domain for every sample, got none for ${JSON.stringify(load.documents[stray]!.sampleId)}.`,
  );
}

/** The experts that a domain prefers beyond chance, the strongest preference first. */
export function favourites(
  { experts }: DomainRoutes,
  domain: string,
  { falseDiscoveryRate = 0.05, lift: least = 1.25 }: { falseDiscoveryRate?: number; lift?: number } = {},
): DomainExpert[] {
  return experts
    .filter((e) => e.domain === domain && e.difference > 0 && e.q <= falseDiscoveryRate && e.lift >= least)
    .sort((a, b) => b.difference - a.difference);
}

/** The heat map of the domains. */
export function domainPlot({ domains, layers, numExperts, overUniform }: DomainRoutes): DomainHeatmapData {
  return { domains, layers, numExperts, overUniform };
}
