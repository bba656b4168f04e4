/** `moescope bench`: how fast the engine is here, as fractions of what the machine can do and beside a peer. */

import { type Command, Option } from "commander";
import { InvalidArgumentError } from "../errors.js";
import { loadAddon, packageVersion } from "../native/addon.js";
import { CACHE_TYPES, type CacheType } from "../native/binding.js";
import { FILE_TYPE_NAMES, type FileType } from "../quantize/file-type.js";
import { type BenchSettings, benchModel, type ModelRun } from "./bench/bench-model.js";
import { withBusyCore } from "./bench/busy-core.js";
import {
  type CeilingEffort,
  describeMachine,
  type Machine,
  type MeasuredCeiling,
  measureCeilings,
} from "./bench/ceilings.js";
import { findPeer, PEERS, type PeerName } from "./bench/peers.js";
import { profileModel } from "./bench/profile-model.js";
import { ceilingsTable, figuresTable, machineText } from "./bench/report.js";
import { resultPath, writeResult } from "./bench/result-file.js";
import { removeSyntheticModel, syntheticModel } from "./bench/synthetic-model.js";
import { SHAPE_NAMES, type ShapeName } from "./bench/synthetic-shape.js";
import { WORK_KINDS, type WorkKind } from "./bench/works.js";
import type { Terminal } from "./io.js";
import { modelPath } from "./load.js";
import { integer, jsonOption, oneOf, quietOption } from "./options.js";
import { progressBar } from "./progress.js";

interface Options {
  synthetic?: ShapeName;
  type: FileType[];
  peer?: PeerName;
  peerPath?: string;
  only?: WorkKind[];
  pairs?: number;
  quick?: boolean;
  contended?: boolean;
  profile?: boolean;
  threads?: number;
  precision: "ref" | "fast";
  cacheType: CacheType;
  out?: string;
  writeOnly?: boolean;
  discard?: boolean;
  json?: boolean;
  quiet?: boolean;
}

const PAIRS = 5;
const QUICK_PAIRS = 1;
const EFFORT: CeilingEffort = { seconds: 0.4, rounds: 3 };
const QUICK_EFFORT: CeilingEffort = { seconds: 0.05, rounds: 1 };

export function registerBench(program: Command, terminal: Terminal): void {
  program
    .command("bench")
    .description("measure speed and memory: ceilings of the machine, then load, decode, prefill and scoring")
    .argument("[model]", "folder, .gguf file or demo; or use --synthetic")
    .option("--synthetic <shape>", `random weights of a shape: ${SHAPE_NAMES.join(", ")}`, oneOf(...SHAPE_NAMES))
    .option("--type <types>", "of synthetic weights, as llama-quantize names them, e.g. Q4_K_M,Q8_0", fileTypes, [
      "Q4_K_M",
    ])
    .option("--peer <name>", `measure another engine in turns: ${PEERS.join(" or ")}`, oneOf(...PEERS))
    .option("--peer-path <folder>", "where the peer is (default: MOESCOPE_LLAMA_CPP or MOESCOPE_NODE_LLAMA_CPP)")
    .option("--only <kinds>", `some of ${WORK_KINDS.join(",")}`, kinds)
    .option(
      "--pairs <n>",
      `times that each work is measured (default: ${PAIRS}, quick ${QUICK_PAIRS})`,
      integer(1, 1000),
    )
    .option("--quick", "fewer and smaller works, for a first look")
    .option("--contended", "decode and prefill while another process keeps core 0 busy")
    .option("--profile", "where the time goes, by op and layer, in place of figures")
    .option("--threads <n>", "threads of all engines (default: the cores that are there)", integer(1, 1024))
    .option("--precision <precision>", "ref or fast", oneOf("ref", "fast"), "fast")
    .option("--cache-type <type>", "type of keys and values", oneOf(...CACHE_TYPES), "bf16")
    .option("--out <place>", "write the figures as JSON to a file, or to a folder under the machine's name")
    .addOption(new Option("--write-only", "write the synthetic model to the user's cache, print its path and stop"))
    .addOption(new Option("--discard", "delete the synthetic model when done").conflicts("writeOnly"))
    .addOption(jsonOption("print one JSON object"))
    .addOption(quietOption())
    .addHelpText(
      "after",
      "\nExamples:\n  $ moescope bench --synthetic mini --quick" +
        "\n  $ moescope bench --synthetic mini --type Q4_K_M,Q8_0 --peer llama.cpp --peer-path llama.cpp/build/bin" +
        "\n  $ moescope bench model-Q4_K_M.gguf --profile",
    )
    .action((model: string | undefined, options: Options) => bench(terminal, model, options));
}

function fileTypes(text: string): FileType[] {
  return text.split(",").map((word) => oneOf(...FILE_TYPE_NAMES)(word.trim().toUpperCase()));
}

function kinds(text: string): WorkKind[] {
  return text.split(",").map((word) => oneOf(...WORK_KINDS)(word.trim()));
}

/** What is measured: a file, and the synthetic model that it is, if it is one. */
interface Subject {
  path: string;
  synthetic?: { shape: ShapeName; type: FileType };
}

async function bench(terminal: Terminal, model: string | undefined, options: Options): Promise<void> {
  if ((model === undefined) === (options.synthetic === undefined)) {
    throw new InvalidArgumentError("Expected a model or --synthetic with a shape, and not both.");
  }
  const settings = settingsOf(terminal, options, options.threads ?? loadAddon().availableCores());
  const subjects = await subjectsOf(terminal, model, options);
  try {
    if (options.writeOnly) await printPaths(terminal, subjects, options);
    else if (options.profile) await profile(terminal, subjects, settings, options);
    else await measure(terminal, subjects, settings, options);
  } finally {
    for (const { synthetic } of subjects) {
      if (options.discard && synthetic !== undefined) removeSyntheticModel(synthetic.shape, synthetic.type);
    }
  }
}

async function subjectsOf(terminal: Terminal, model: string | undefined, options: Options): Promise<Subject[]> {
  const { synthetic: shape, quiet } = options;
  if (model !== undefined) return [{ path: modelPath(terminal, model, quiet) }];
  const subjects: Subject[] = [];
  for (const type of options.type) {
    const bar = progressBar(terminal, `Writing ${shape} ${type}`, { quiet, unit: "bytes" });
    try {
      const path = await syntheticModel(shape!, type, {
        signal: terminal.signal,
        onProgress: (done, total, tensor) => bar.update(done, total, tensor),
      });
      subjects.push({ path, synthetic: { shape: shape!, type } });
    } finally {
      bar.stop();
    }
  }
  return subjects;
}

async function printPaths(terminal: Terminal, subjects: readonly Subject[], { json }: Options): Promise<void> {
  if (json) return terminal.printJson({ paths: subjects.map(({ path }) => path) });
  for (const { path } of subjects) await terminal.print(path);
}

function settingsOf(terminal: Terminal, options: Options, threads: number): BenchSettings {
  const { peer, peerPath, quick = false, contended = false, pairs = quick ? QUICK_PAIRS : PAIRS } = options;
  return {
    load: { threads, precision: options.precision, cacheType: options.cacheType },
    threads,
    pairs,
    quick,
    only: options.only ?? (contended ? ["decode", "prefill"] : WORK_KINDS),
    // With a neighbour, one work of each kind says it.
    oneOfEach: contended,
    peer: peer === undefined ? null : findPeer({ name: peer, path: peerPath }),
    signal: terminal.signal,
  };
}

async function profile(
  terminal: Terminal,
  subjects: readonly Subject[],
  settings: BenchSettings,
  options: Options,
): Promise<void> {
  const reports = [];
  for (const { path } of subjects) {
    const report = await profileModel(path, settings);
    reports.push({ model: path, ...report });
    if (!options.json) await terminal.print(report.text);
  }
  if (options.json) await terminal.printJson(reports.map(({ text: _, ...report }) => report));
}

/** All that a run of `bench` says; what `--json` prints and `--out` writes. */
interface BenchResult {
  version: string;
  date: string;
  machine: Machine;
  threads: number;
  contended: boolean;
  ceilings: MeasuredCeiling[];
  models: ModelRun[];
}

async function measure(
  terminal: Terminal,
  subjects: readonly Subject[],
  settings: BenchSettings,
  options: Options,
): Promise<void> {
  const { quiet, quick, contended = false, json, out } = options;
  const machine = describeMachine();
  const { threads } = settings;
  const bar = progressBar(terminal, "Measuring", { quiet, unit: "steps" });
  const effort = quick ? QUICK_EFFORT : EFFORT;
  const result: BenchResult = {
    version: packageVersion(),
    date: new Date().toISOString(),
    machine,
    threads,
    contended,
    ceilings: [],
    models: [],
  };
  try {
    result.ceilings = await measureCeilings(threads, effort, (done, total, what) => bar.update(done, total, what));
    if (!json) await terminal.print(`${machineText(machine, threads)}\n\n${ceilingsTable(result.ceilings, threads)}`);
    for (const { path, synthetic } of subjects) {
      const run = () => benchModel(path, synthetic, result.ceilings, settings, (...step) => bar.update(...step));
      const measured = await (contended ? withBusyCore(run) : run());
      result.models.push(measured);
      if (!json) await terminal.print(`\n${measured.title}\n${figuresTable(measured.works, options.peer ?? null)}`);
    }
  } finally {
    bar.stop();
  }
  if (out !== undefined) {
    const path = resultPath(out, machine, new Date());
    writeResult(path, result);
    if (!quiet) terminal.note(`Wrote ${path}.`);
  }
  if (json) await terminal.printJson(result);
}
