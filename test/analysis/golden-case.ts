/** One folder of metric goldens: its tables as traces and outcomes, and its tolerances. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Table, tableFromIPC } from "apache-arrow";
import * as parquet from "parquet-wasm";
import type { TokenSubset } from "../../src/analysis/accumulator.js";
import { AdjacentTokens } from "../../src/analysis/adjacent-tokens.js";
import { AnswerMargins } from "../../src/analysis/answer-margin.js";
import { Coactivation } from "../../src/analysis/coactivation.js";
import { LayerTransitions } from "../../src/analysis/layer-transitions.js";
import type { Outcome } from "../../src/analysis/outcomes.js";
import { RouteAgreement } from "../../src/analysis/route-agreement.js";
import { RouteMargins } from "../../src/analysis/route-margins.js";
import { RouterConfidence } from "../../src/analysis/router-confidence.js";
import { RoutingLoad } from "../../src/analysis/routing-load.js";
import { Specialization } from "../../src/analysis/specialization.js";
import { traceOfTable } from "../../src/analysis/table.js";
import { VocabularySpecialization } from "../../src/analysis/vocabulary.js";
import type { RouterTrace } from "../../src/router/trace.js";
import { sharedPath } from "../golden/shared.js";

/** Numbers in lists in lists; NaN and infinities are strings. */
export type Nested = number | string | boolean | ArrayLike<Nested> | { [key: string]: Nested };

export interface GoldenMetric {
  group: string;
  values: Nested;
  n: Nested;
  tol: string | { kind: string; sd?: number[]; b_ref?: number; rel?: number; abs?: number };
  subsets?: Record<string, { n: number; values: Nested }>;
  null?: Nested;
  floor?: Nested;
  ceiling?: Nested;
  null_finite?: { tokens: number; mean: number; sd: number; tol: { sd: number; b_ref: number } };
  null_sd?: number[];
  null_tol?: { sd: number[]; b_ref: number };
  null_given_load?: Nested;
  ci?: { values: Nested; fixed_200?: Nested; tol_at_b2000: Nested; se?: Nested; slots?: [number, number][] };
  at?: number[];
  pairs?: Nested;
  scores?: Record<string, number[]>;
}

export interface Expected {
  trace: { num_experts: number; num_experts_per_token: number; layers: number };
  strata: Record<string, string>;
  metrics: Record<string, GoldenMetric>;
  spots: {
    sample_id: string;
    position: number;
    layer: number;
    topk_experts: number[];
    token_routing_entropy: number;
    topk_mass: number;
    kth_margin: number;
    logsumexp: number;
  }[];
  baselines: Record<string, number>;
}

/** Folders below golden/metrics that hold a trace. */
export function goldenFolders(): string[] {
  return readdirSync(sharedPath("golden/metrics"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => sharedPath("golden/metrics", entry.name));
}

/** The analyses of one subset of the tokens. */
export class View {
  readonly load: RoutingLoad;
  readonly confidence: RouterConfidence;
  readonly margins: RouteMargins;
  readonly adjacent: AdjacentTokens;

  constructor(trace: RouterTrace, subset: TokenSubset) {
    this.load = new RoutingLoad(subset).add(trace);
    this.confidence = new RouterConfidence(subset).add(trace);
    this.margins = new RouteMargins(subset).add(trace);
    this.adjacent = new AdjacentTokens(subset).add(trace);
  }
}

export class GoldenCase {
  readonly expected: Expected;
  readonly trace: RouterTrace;
  readonly other: RouterTrace;
  readonly outcomes: (Outcome & { domain: string })[];
  readonly resamples: { order: string[]; permutations: string[]; bootstrap: number[][] };
  readonly all: View;
  readonly agreement: RouteAgreement;
  readonly coactivation: Coactivation;
  readonly transitions: LayerTransitions;
  readonly answers: AnswerMargins;
  readonly specialization: Specialization;
  readonly vocabulary: { input: VocabularySpecialization; next: VocabularySpecialization };

  constructor(folder: string) {
    const json = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
    const table = (name: string): Table =>
      tableFromIPC(parquet.readParquet(readFileSync(join(folder, name))).intoIPCStream());
    this.expected = json("expected.json");
    this.resamples = json("resamples.json");
    this.trace = traceOfTable(table("trace.parquet"));
    this.other = traceOfTable(table("routes_b.parquet"), { numExperts: this.numExperts });
    this.outcomes = table("samples.parquet")
      .toArray()
      .map(({ sample_id: sampleId, domain, subject, correct }) => ({ sampleId, domain, subject, correct }));
    this.all = new View(this.trace, {});
    this.agreement = new RouteAgreement().addPair(this.trace, this.other);
    this.coactivation = new Coactivation().add(this.trace);
    this.transitions = new LayerTransitions().add(this.trace);
    this.answers = new AnswerMargins().add(this.trace);
    const domains = new Map(this.outcomes.map(({ sampleId, domain }) => [sampleId, domain]));
    this.specialization = new Specialization(this.all.load, ({ sampleId }) => domains.get(sampleId!));
    this.vocabulary = {
      input: new VocabularySpecialization("input").add(this.trace),
      next: new VocabularySpecialization("next").add(this.trace),
    };
  }

  get numExperts(): number {
    return this.expected.trace.num_experts;
  }

  get topK(): number {
    return this.expected.trace.num_experts_per_token;
  }

  /** The analyses of a subset as the goldens name it: `segment=...`, or `phase=...` for the origin. */
  view(subset: string): View {
    const [name, value] = subset.split("=") as [string, string];
    const tokens: TokenSubset =
      name === "segment" ? { segment: value } : { origin: value === "decode" ? "generated" : "prompt" };
    return new View(this.trace, tokens);
  }

  /** The golden's resamples as document numbers of our traces. */
  bootstrapIndexes(): number[][] {
    const documents = new Map(this.all.load.documents.map(({ sampleId }, document) => [sampleId, document]));
    return this.resamples.bootstrap.map((resample) => resample.map((i) => documents.get(this.resamples.order[i]!)!));
  }

  /** The golden's label vectors, samples ascending. */
  permutations(): Uint8Array[] {
    const order = this.resamples.order;
    const ascending = [...order.keys()].sort((a, b) => (order[a]! < order[b]! ? -1 : 1));
    return this.resamples.permutations.map((labels) => Uint8Array.from(ascending, (i) => Number(labels[i])));
  }
}

/** |a - b| <= 1e-9 + 1e-9 |b|; NaN matches NaN, an infinity itself. */
export function isClose(actual: number, expected: number): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(actual);
  if (!Number.isFinite(expected)) return actual === expected;
  return Math.abs(actual - expected) <= 1e-9 + 1e-9 * Math.abs(expected);
}

/** Where two nested lists differ, by `same(actual, expected, path)`; shapes must agree. */
export function differences(
  actual: Nested,
  expected: Nested,
  same: (actual: number, expected: number, path: number[]) => boolean = isClose,
  path: number[] = [],
): string[] {
  if (typeof expected === "object") {
    const wanted = Array.from(expected as ArrayLike<Nested>);
    const found = Array.from((actual ?? []) as ArrayLike<Nested>);
    if (found.length !== wanted.length) return [`[${path}]: ${wanted.length} values expected, got ${found.length}`];
    return wanted.flatMap((value, i) => differences(found[i]!, value, same, [...path, i]));
  }
  const [a, b] = [Number(actual), Number(expected)];
  return typeof actual !== "object" && same(a, b, path) ? [] : [`[${path}]: ${b} expected, got ${String(actual)}`];
}
