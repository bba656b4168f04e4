/** `moescope quantize`: a model as one GGUF file with smaller weights. */
import type { Command } from "commander";
import { InvalidArgumentError } from "../errors.js";
import { FILE_TYPE_NAMES, type FileType } from "../quantize/file-type.js";
import { type QuantizeReport, quantizeModel } from "../quantize/quantize.js";
import type { Terminal } from "./io.js";
import { modelPath } from "./load.js";
import { integer, jsonOption, oneOf, quietOption } from "./options.js";
import { progressBar } from "./progress.js";
import { formatBytes, formatCount, textTable } from "./text-table.js";

interface Options {
  type: FileType;
  threads?: number;
  dryRun?: boolean;
  json?: boolean;
  quiet?: boolean;
}

export function registerQuantize(program: Command, terminal: Terminal): void {
  program
    .command("quantize")
    .description("write a model as a GGUF file whose weights take fewer bits, with the mixes of llama-quantize")
    .argument("<model>", "folder, .gguf file or demo")
    .argument("[out]", "file to write, e.g. model-Q4_K_M.gguf (not needed with --dry-run)")
    .requiredOption("--type <type>", `one of ${FILE_TYPE_NAMES.join(", ")}`, fileType)
    .option("--threads <n>", "threads (default: the cores that are there)", integer(1, 1024))
    .option("--dry-run", "show the type and size of every tensor and write nothing")
    .addOption(jsonOption("print one JSON object"))
    .addOption(quietOption())
    .addHelpText("after", "\nExample:\n  $ moescope quantize demo demo-Q8_0.gguf --type Q8_0")
    .action((model: string, out: string | undefined, options: Options) => quantize(terminal, model, out, options));
}

/** A type in any case. */
function fileType(text: string): FileType {
  return oneOf(...FILE_TYPE_NAMES)(text.toUpperCase());
}

async function quantize(terminal: Terminal, model: string, out: string | undefined, options: Options): Promise<void> {
  if (out === undefined && !options.dryRun) {
    throw new InvalidArgumentError("Expected the path of a file to write behind the model (or --dry-run), got none.");
  }
  const bar = progressBar(terminal, "Quantising", { quiet: options.quiet, unit: "weights" });
  let report: QuantizeReport;
  try {
    report = await quantizeModel(modelPath(terminal, model, options.quiet), out ?? null, {
      type: options.type,
      threads: options.threads,
      dryRun: options.dryRun,
      signal: terminal.signal,
      onProgress: (done, total, name) => bar.update(done, total, name),
    });
  } finally {
    bar.stop();
  }
  for (const warning of report.warnings) if (!options.quiet) terminal.note(warning);
  if (options.json) return terminal.printJson(report);
  await terminal.print(reportText(report));
}

function reportText(report: QuantizeReport): string {
  const size = `${formatBytes(report.fileBytes)}, ${report.bitsPerWeight.toFixed(2)} bits per weight`;
  const weights = `${formatCount(report.parameters)} weights`;
  if (report.written) {
    return `${typesTable(report)}\n\nWrote ${report.path}: ${report.type}, ${weights}, ${size}.`;
  }
  const rows = report.tensors.map(({ name, from, dtype, shape, bytes }) => [
    name,
    `${from} -> ${dtype}`,
    `[${shape.join(", ")}]`,
    formatBytes(bytes),
  ]);
  const table = textTable([["tensor", "type", "shape", "bytes"], ...rows], [3]);
  return `${table}\n\n${typesTable(report)}\n\n${report.type} would take ${size}, for ${weights}.`;
}

/** How many tensors and bytes each type takes. */
function typesTable({ tensors }: QuantizeReport): string {
  const types = new Map<string, { count: number; bytes: number }>();
  for (const { dtype, bytes } of tensors) {
    const { count, bytes: before } = types.get(dtype) ?? { count: 0, bytes: 0 };
    types.set(dtype, { count: count + 1, bytes: before + bytes });
  }
  const rows = [...types].map(([dtype, { count, bytes }]) => [dtype, String(count), formatBytes(bytes)]);
  return textTable([["type", "tensors", "bytes"], ...rows], [1, 2]);
}
