/** What the demo prints: scores, an answer of each domain, expert load by domain, experts of right and of wrong answers. */
import type { ReportData, ReportSample } from "../eval/report/report-data.js";
import type { OutcomeContrast } from "../eval/report/report-experts.js";
import { ExpertLoad } from "../router/expert-load.js";
import type { DemoSuite } from "./demo-suites.js";
import { type DomainLoad, domainHeatmap } from "./domain-heatmap.js";
import type { TextOutput } from "./io.js";
import { textTable } from "./text-table.js";

export interface DemoResult {
  /** Path of the model. */
  model: string;
  isTrained: boolean;
  suites: readonly DemoSuite[];
  data: ReportData;
  seconds: number;
}

/** The most different experts that are listed for each domain and suite. */
const EXPERTS_SHOWN = 3;

export function demoText(result: DemoResult, report: string, { isTTY: colour, columns: width }: TextOutput): string {
  const { isTrained, suites, data, seconds } = result;
  const domains = domainLoads(result);
  const contrasts = data.experts?.contrasts ?? [];
  return [
    `1. It answers questions${isTrained ? "" : " (chance is what an untrained model can do)"}:`,
    indented(scoreTable(result)),
    "",
    "2. The first question of each suite:",
    ...suites.map((suite, i) =>
      indented(exampleOf(suite, data.samples.find(({ task }) => task === i)!, data.tasks[i]!.scorer)),
    ),
    "",
    "3. Its experts at work, by domain:",
    indented(domainHeatmap(domains, { colour, width })),
    "",
    "4. Experts that a domain uses more than all four do together:",
    ...domains.map((domain) => `  ${domain.name}: ${favourites(domain, domains).map(describeFavourite).join("; ")}`),
    "",
    `5. Experts that tokens of right and of wrong answers choose differently (within subject and length, false discovery rate 5 %):`,
    ...contrasts.map((contrast) => `  ${contrast.task}: ${describeContrast(contrast)}`),
    "",
    `Every question, answer and route: ${report}`,
    `${seconds.toFixed(1)} s. Next: moescope chat demo, moescope trace demo --prompt TEXT --out DIR, moescope --help`,
  ].join("\n");
}

export function demoJson(result: DemoResult, report: string): object {
  const { model, isTrained, suites, data, seconds } = result;
  const domains = domainLoads(result);
  return {
    ...{ model, isTrained },
    scores: suites.map(({ domain, chance }, i) => {
      const { name, metrics } = data.tasks[i]!;
      return { suite: name, domain, chance, estimate: metrics[0]!.estimate };
    }),
    domains: domains.map((domain) => ({
      domain: domain.name,
      expertLoad: domain.load.layers.map((layer) => ({ layer, counts: domain.load.layer(layer) })),
      favourites: favourites(domain, domains),
    })),
    contrasts: data.experts?.contrasts ?? [],
    ...{ report, seconds },
  };
}

function scoreTable({ suites, data }: DemoResult): string {
  const percent = (share: number) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "n/a");
  const rows = suites.map(({ domain, chance }, i) => {
    const { name, metrics, environment } = data.tasks[i]!;
    const { value, interval, n, noAnswer } = metrics[0]!.estimate;
    // A suite whose programs could not be run has no score, and says why.
    if (n === 0) return [domain, name, "not run", "", percent(chance), "0", "", String(environment?.programs ?? "")];
    const range = `${percent(interval[0])} to ${percent(interval[1])}`;
    return [domain, name, percent(value), range, percent(chance), String(n), String(noAnswer), ""];
  });
  const header = ["domain", "suite", "score", "95 % interval", "chance", "n", "no answer", ""];
  return textTable([header, ...rows], [2, 3, 4, 5, 6]);
}

function exampleOf({ domain }: DemoSuite, sample: ReportSample, scorer: string): string {
  const verdict = sample.scores[scorer];
  const [response] = sample.responses;
  const output = response === undefined || response.kind === "loglikelihood" ? (verdict?.answer ?? "") : response.text;
  const mark =
    verdict?.value === 1 ? "right" : verdict?.value === 0 ? `wrong, it is ${oneLine(sample.target)}` : "not scored";
  return `${domain}: ${oneLine(sample.input)} → ${oneLine(output)} (${mark})`;
}

function oneLine(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

function indented(text: string): string {
  return text.replace(/^/gm, "  ");
}

function domainLoads({ suites, data }: DemoResult): DomainLoad[] {
  const experts = data.experts!;
  return suites.map(({ domain }, i) => {
    const { counts } = experts.loads.find(({ task, group }) => task === data.tasks[i]!.name && group === null)!;
    return { name: domain, load: new ExpertLoad(Float64Array.from(counts), experts.layers, experts.numExperts) };
  });
}

interface Favourite {
  layer: number;
  expert: number;
  /** Shares of the domain's assignments in the layer, and the mean of this over the domains. */
  here: number;
  overall: number;
}

/** The experts whose share in the domain exceeds their mean share over the domains the most. */
function favourites({ load }: DomainLoad, domains: readonly DomainLoad[]): Favourite[] {
  const here = load.fraction();
  const all = domains.map((domain) => domain.load.fraction());
  return Array.from(here, (share, index) => ({
    layer: load.layers[Math.floor(index / load.numExperts)]!,
    expert: index % load.numExperts,
    here: share,
    overall: all.reduce((sum, fraction) => sum + fraction[index]!, 0) / all.length,
  }))
    .sort((a, b) => b.here - b.overall - (a.here - a.overall))
    .slice(0, EXPERTS_SHOWN);
}

function describeFavourite({ layer, expert, here, overall }: Favourite): string {
  return `layer ${layer} expert ${expert} (${(100 * here).toFixed(0)} % against ${(100 * overall).toFixed(0)} %)`;
}

function describeContrast({ slots, note = "", correct, wrong }: OutcomeContrast): string {
  if (slots === undefined) return note;
  const sure = slots.filter(({ q }) => q <= 0.05).sort((a, b) => Math.abs(b.stratified) - Math.abs(a.stratified));
  const points = (share: number) => `${share > 0 ? "+" : ""}${(100 * share).toFixed(1)}`;
  const shown = sure.slice(0, EXPERTS_SHOWN).map(({ layer, expert, stratified, interval, q }) => {
    const range = interval.every(Number.isFinite)
      ? `[${points(interval[0])}, ${points(interval[1])}]`
      : "(too few answers for an interval)";
    return `layer ${layer} expert ${expert} ${points(stratified)} points ${range} q ${q.toPrecision(1)}`;
  });
  const counts = `${sure.length} of ${slots.length} (${correct} right, ${wrong} wrong answers)`;
  return shown.length === 0 ? counts : `${counts}: ${shown.join("; ")}`;
}
