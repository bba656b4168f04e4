/** `moescope demo`: the main job on the embedded model, in seconds: text, scores with intervals, expert load. */
import { join } from "node:path";
import type { Command } from "commander";
import { cevalMini, gsm8kMini, mmluMini } from "../../evals/index.js";
import { evaluate } from "../eval/evaluate.js";
import type { Estimate } from "../eval/metric.js";
import type { Task } from "../eval/task.js";
import type { Generation } from "../model/generation.js";
import type { Model } from "../model/model.js";
import { packageRoot } from "../native/addon.js";
import { ExpertLoad } from "../router/expert-load.js";
import { DEMO_PROMPTS, type DemoPrompt } from "./demo-prompts.js";
import { expertHeatmap } from "./heatmap.js";
import type { Terminal } from "./io.js";
import { withModel } from "./load.js";
import { jsonOption, type ModelOptions, withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";
import { formatCount, textTable } from "./text-table.js";

interface Options extends ModelOptions {
  json?: boolean;
}

/** Questions of each suite of four choices, and word problems. */
const QUESTIONS = 24;
const PROBLEMS = 12;
const MAX_TOKENS = 24;
/** The most different experts that are listed for each domain. */
const EXPERTS_SHOWN = 3;

export function registerDemo(program: Command, terminal: Terminal): void {
  const command = program
    .command("demo")
    .description("on the embedded model: generate in four domains, score questions, show which experts did the work")
    .addOption(jsonOption("print the results as JSON"));
  withModelOptions(command)
    .addHelpText("after", "\nExample:\n  $ moescope demo")
    .action((options: Options) => demo(terminal, options));
}

/** A domain's text and what its tokens asked of the experts. */
interface DomainResult {
  domain: string;
  prompt: string;
  text: string;
  load: ExpertLoad;
}

interface SuiteScore {
  suite: string;
  /** Share of right answers that guessing gives. */
  chance: number;
  estimate: Estimate;
}

async function demo(terminal: Terminal, options: Options): Promise<void> {
  const started = performance.now();
  if (!options.quiet) terminal.note("Loading the demo model ...");
  await withModel(terminal, "demo", options, async (model) => {
    const isTrained = model.parts.checkpoint.path.startsWith(join(packageRoot(), "models"));
    if (!options.json) await terminal.print(introduction(model, isTrained));
    const bar = progressBar(terminal, "Demo", { quiet: options.quiet, unit: "steps" });
    const suites = suitesFor(isTrained);
    const steps = DEMO_PROMPTS.length + suites.length;
    const domains: DomainResult[] = [];
    const scores: SuiteScore[] = [];
    const advance = (doing: string) => bar.update(domains.length + scores.length, steps, doing);
    try {
      for (const prompt of DEMO_PROMPTS) {
        advance(`generating (${prompt.domain})`);
        domains.push(await generateIn(model, prompt, terminal.signal));
      }
      for (const { task, chance } of suites) {
        advance(`scoring ${task.name}`);
        scores.push(await scoreSuite(model, task, chance, terminal.signal));
      }
    } finally {
      bar.stop();
    }
    const seconds = (performance.now() - started) / 1000;
    if (options.json) await terminal.printJson(jsonOf(model, isTrained, domains, scores, seconds));
    else await terminal.print(report(terminal, isTrained, domains, scores, seconds));
  });
}

async function generateIn(
  model: Model,
  { domain, prompt, isChat }: DemoPrompt,
  signal: AbortSignal,
): Promise<DomainResult> {
  const call = { maxTokens: MAX_TOKENS, temperature: 0, repetitionPenalty: 1, trace: "topk" as const, signal };
  const generation: Generation = isChat
    ? await model.chat([{ role: "user", content: prompt }], call)
    : await model.generate(prompt, call);
  return { domain, prompt, text: generation.text, load: generation.trace!.expertLoad() };
}

/**
 * The first questions of the mini suites. A trained model writes its answers; an untrained one would write none, so it only says which
 * letter it finds likeliest.
 */
function suitesFor(isTrained: boolean): { task: Task; chance: number }[] {
  const choices = { limit: QUESTIONS, form: isTrained ? ("chat" as const) : ("letter" as const) };
  return [
    { task: mmluMini(choices), chance: 0.25 },
    { task: cevalMini(choices), chance: 0.25 },
    { task: gsm8kMini({ limit: PROBLEMS }), chance: 0 },
  ];
}

async function scoreSuite(model: Model, task: Task, chance: number, signal: AbortSignal): Promise<SuiteScore> {
  const { tasks } = await evaluate(model, [task], { signal });
  return { suite: task.name, chance, estimate: tasks[0]!.metrics[0]!.estimate };
}

function introduction(model: Model, isTrained: boolean): string {
  const { numParameters, numActiveParameters } = model.parts.checkpoint;
  const { numExperts, numExpertsPerToken, moeLayers } = model.parts.shape;
  const kind = isTrained
    ? "a small qwen2_moe that we trained from nothing on texts of our own (models/demo/README.md)"
    : "a small qwen2_moe with random weights made from a seed. It is UNTRAINED: its text is noise and its scores are chance";
  return (
    `This is ${kind}: ${formatCount(numParameters)} parameters, ${formatCount(numActiveParameters)} active per token, ` +
    `${numExpertsPerToken} of ${numExperts} experts in each of ${moeLayers.length} layers.\n`
  );
}

function report(
  terminal: Terminal,
  isTrained: boolean,
  domains: readonly DomainResult[],
  scores: readonly SuiteScore[],
  seconds: number,
): string {
  const { isTTY: colour, columns: width } = terminal.stdout;
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const rows = scores.map(({ suite, chance, estimate: { value, interval, n } }) => [
    ...[suite, percent(value), `${percent(interval[0])} to ${percent(interval[1])}`, percent(chance), String(n)],
  ]);
  return [
    "1. It writes (greedy):",
    ...domains.map(({ domain, prompt, text }) => `  ${domain}: ${oneLine(prompt)} → ${oneLine(text)}`),
    "",
    `2. It answers questions${isTrained ? "" : " (chance is what an untrained model can do)"}:`,
    textTable([["suite", "accuracy", "95 % interval", "chance", "n"], ...rows], [1, 2, 3, 4]).replace(/^/gm, "  "),
    "",
    "3. Its experts, over the texts above:",
    ...expertHeatmap(domains.map(({ load }) => load).reduce(sumOf), { colour, width })
      .split("\n")
      .map((line) => `  ${line}`),
    "",
    "4. Experts that a domain uses more than all four do together:",
    ...domains.map(({ domain, load }) => `  ${domain}: ${favourites(load, domains).map(describeFavourite).join("; ")}`),
    "",
    `${seconds.toFixed(1)} s. Next: moescope chat demo, moescope trace demo --prompt TEXT --out DIR, moescope --help`,
  ].join("\n");
}

function oneLine(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

function sumOf(a: ExpertLoad, b: ExpertLoad): ExpertLoad {
  return new ExpertLoad(
    a.counts.map((count, index) => count + b.counts[index]!),
    a.layers,
    a.numExperts,
  );
}

interface Favourite {
  layer: number;
  expert: number;
  /** Shares of the domain's and of all assignments in the layer. */
  here: number;
  overall: number;
}

/** The experts whose share in the domain exceeds their share overall the most. */
function favourites(load: ExpertLoad, domains: readonly DomainResult[]): Favourite[] {
  const here = load.fraction();
  const overall = domains
    .map((domain) => domain.load)
    .reduce(sumOf)
    .fraction();
  return Array.from(here, (share, index) => ({
    layer: load.layers[Math.floor(index / load.numExperts)]!,
    expert: index % load.numExperts,
    here: share,
    overall: overall[index]!,
  }))
    .sort((a, b) => b.here - b.overall - (a.here - a.overall))
    .slice(0, EXPERTS_SHOWN);
}

function describeFavourite({ layer, expert, here, overall }: Favourite): string {
  return `layer ${layer} expert ${expert} (${(100 * here).toFixed(0)} % against ${(100 * overall).toFixed(0)} %)`;
}

function jsonOf(
  model: Model,
  isTrained: boolean,
  domains: readonly DomainResult[],
  scores: readonly SuiteScore[],
  seconds: number,
): object {
  return {
    model: model.parts.checkpoint.path,
    isTrained,
    domains: domains.map(({ domain, prompt, text, load }) => ({
      ...{ domain, prompt, text },
      expertLoad: load.layers.map((layer) => ({ layer, counts: load.layer(layer) })),
      favourites: favourites(load, domains),
    })),
    scores,
    seconds,
  };
}
