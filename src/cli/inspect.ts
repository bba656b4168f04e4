/** `moescope inspect`: what a checkpoint is, without loading its weights; with --validate, whether they are healthy. */

import type { Command } from "commander";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { CheckpointError } from "../errors.js";
import { memoryWarnings } from "../model/memory-plan.js";
import { CACHE_TYPES, type CacheType } from "../native/binding.js";
import { type InspectReport, inspectReport } from "./inspect-report.js";
import type { Terminal } from "./io.js";
import { modelPath } from "./load.js";
import { jsonOption, type ModelOptions, withModelOptions } from "./options.js";
import { progressBar } from "./progress.js";
import { formatBytes, formatCount, formatNumber, textTable } from "./text-table.js";
import { describeFault, type WeightHealth, weightHealth } from "./weight-health.js";

interface Options extends ModelOptions {
  json?: boolean;
  hooks?: boolean;
  validate?: boolean;
}

/** Faults that the terminal lists; JSON has all. */
const FAULTS_SHOWN = 20;

export function registerInspect(program: Command, terminal: Terminal): void {
  const command = program
    .command("inspect")
    .description(
      "architecture, parameters, licence, config, tensors, template, sampling defaults, rope, memory, router",
    )
    .argument("<model>", "folder, .gguf file or demo")
    .option("--hooks", "also list the hook points for interventions")
    .option(
      "--validate",
      "read every weight and report NaN, infinities and zero scales by expert; exit code 3 where there are any",
    )
    .addOption(jsonOption("print one JSON object"));
  withModelOptions(command)
    .addHelpText("after", "\nExample:\n  $ moescope inspect demo --hooks")
    .action((name: string, options: Options) => inspect(terminal, name, options));
}

async function inspect(terminal: Terminal, name: string, options: Options): Promise<void> {
  const { ropeScaling, maxContext } = options;
  const checkpoint = await openCheckpoint(modelPath(terminal, name, options.quiet), { ropeScaling, maxContext });
  const report = await inspectReport(checkpoint, options);
  if (!options.json) await terminal.print(reportText(report));
  let health: WeightHealth | undefined;
  if (options.validate) {
    const bar = progressBar(terminal, "Validating", { quiet: options.quiet, unit: "weights" });
    try {
      health = await weightHealth(checkpoint, {
        signal: terminal.signal,
        onProgress: (done, total) => bar.update(done, total),
      });
    } finally {
      bar.stop();
    }
    if (!options.json) await terminal.print(`\n${healthText(health)}`);
  }
  if (options.json) await terminal.printJson({ ...report, health });
  const broken = health?.faults.filter(({ nan, infinite }) => nan + infinite > 0) ?? [];
  if (broken.length > 0) {
    throw new CheckpointError(
      "BAD_FILE",
      `${broken.length} of ${health!.tensors} matrices hold numbers that are not finite, the first is ${describeFault(broken[0]!)}.`,
    );
  }
}

function healthText({ tensors, weights, faults }: WeightHealth): string {
  const scanned = `${formatCount(weights)} weights in ${tensors} matrices`;
  if (faults.length === 0) return `Healthy: ${scanned}, no NaN, no infinity, no block or row of zeros.`;
  const lines = faults.slice(0, FAULTS_SHOWN).map((fault) => `  ${describeFault(fault)}`);
  const more = faults.length > FAULTS_SHOWN ? [`  and ${faults.length - FAULTS_SHOWN} more (--json lists all)`] : [];
  return [`Of ${scanned}, ${faults.length} matrices need a look:`, ...lines, ...more].join("\n");
}

function reportText(report: InspectReport): string {
  const { parameters, licence, memory, context, router } = report;
  const licenceText =
    licence === null ? "not stated" : [licence.name, licence.link, licence.file].filter(Boolean).join(", ");
  const facts = [
    ["model", report.path],
    ["format", `${report.format}, ${report.files.length} file${report.files.length === 1 ? "" : "s"}`],
    ["architecture", report.architecture],
    ["parameters", `${formatCount(parameters.total)}, ${formatCount(parameters.active)} active per token`],
    ["licence", licenceText],
    ["context", `${context.maxContext} tokens (the file states ${context.maxPositionEmbeddings})`],
    ["rope scaling", ropeText(report.ropeScaling)],
    [
      "tokenizer",
      "error" in report.tokenizer
        ? report.tokenizer.error
        : `${report.tokenizer.vocabSize} tokens, from ${report.tokenizer.source}`,
    ],
    [
      "chat template",
      report.chatTemplate === null
        ? "none"
        : `${report.chatTemplate.source}, sha256 ${report.chatTemplate.sha256.slice(0, 16)}`,
    ],
    [
      "ends a text",
      report.eosTokens.map(({ id, text }) => `${id}${text === null ? "" : ` ${text}`}`).join(", ") || "no token",
    ],
    ["sampling", samplingText(report)],
    ["router", router === null ? "none, a dense model" : routerText(router)],
    ["weights", `${formatBytes(memory.weightsMapped)} mapped`],
    ["kv cache", CACHE_TYPES.map((type) => kvText(type, report)).join("; ")],
    ["workspace", `about ${formatBytes(memory.workspace)}`],
    ["free now", formatBytes(memory.plan.available.bytes)],
  ];
  const warnings = [...("error" in report.tokenizer ? [] : report.tokenizer.warnings), ...memoryWarnings(memory.plan)];
  return [
    textTable(facts),
    ...warnings,
    "",
    textTable([
      ["config", ""],
      ...Object.entries(report.config).map(([key, value]) => [`  ${key}`, JSON.stringify(value)]),
    ]),
    "",
    textTable(
      [
        ["tensors", "type", "matrices", "parameters", "bytes"],
        ...report.tensors.map(({ part, dtype, matrices, parameters: count, bytes }) => [
          `  ${part}`,
          dtype,
          String(matrices),
          formatCount(count),
          formatBytes(bytes),
        ]),
      ],
      [2, 3, 4],
    ),
    ...(report.hooks === undefined ? [] : ["", hooksText(report)]),
  ].join("\n");
}

function ropeText(rope: InspectReport["ropeScaling"]): string {
  if (rope === null) return "none";
  const { factor, originalMaxPositionEmbeddings, low, high, attentionFactor } = rope;
  return (
    `YaRN, factor ${factor} over ${originalMaxPositionEmbeddings} tokens; pairs up to ${formatNumber(low)} keep their angle, from ` +
    `${formatNumber(high)} on it is divided; attention factor ${formatNumber(attentionFactor, 6)}`
  );
}

function samplingText({ samplingDefaults }: InspectReport): string {
  const entries = Object.entries(samplingDefaults);
  return entries.length === 0
    ? "nothing suggested: greedy"
    : entries.map(([name, value]) => `${name} ${value}`).join(", ");
}

function routerText({
  moeLayers,
  numLayers,
  numExperts,
  numExpertsPerToken,
  ...router
}: NonNullable<InspectReport["router"]>): string {
  const layers =
    moeLayers.length === numLayers ? `all ${numLayers} layers` : `layers ${moeLayers.join(", ")} of ${numLayers}`;
  const gates = router.normTopkProb ? "gates sum to 1" : "gates as in the softmax over all experts";
  return `${numExpertsPerToken} of ${numExperts} experts in ${layers}, ${gates}${router.hasSharedExpert ? ", and a shared expert" : ""}`;
}

function kvText(type: CacheType, { memory }: InspectReport): string {
  const { perToken, fullContext } = memory.kvCache[type];
  return `${type} ${formatBytes(perToken)} per token, ${formatBytes(fullContext)} at full context`;
}

function hooksText({ hooks }: InspectReport): string {
  const rows = (hooks ?? []).map(({ name, layers, width }) => [
    `  ${name}`,
    String(width),
    layers?.join(" ") ?? "once",
  ]);
  return textTable([["hook points", "width", "layers"], ...rows], [1]);
}
