/** `moescope data`: the files of benchmarks, which are not ours to ship: fetched once, checked, kept in the user's cache. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { DATASET_SOURCES } from "../../evals/index.js";
import { fromSystemError, invalidArgument } from "../errors.js";
import { defaultDataFolder } from "../eval/dataset.js";
import { type FetchedPart, fetchDataset, hasPart } from "../eval/fetch-dataset.js";
import type { Terminal } from "./io.js";
import { jsonOption, quietOption } from "./options.js";
import { progressBar } from "./progress.js";
import { textTable } from "./text-table.js";

const NAMES = Object.keys(DATASET_SOURCES);

interface Options {
  dir?: string;
  unpinned?: boolean;
  quiet?: boolean;
  json?: boolean;
}

export function registerData(program: Command, terminal: Terminal): void {
  const data = program.command("data").description("fetch the files of benchmarks, and list them");
  data
    .command("get")
    .description(
      "bring a benchmark's files from the Hugging Face hub or its authors; goes on where a download broke off",
    )
    .argument("<benchmarks...>", NAMES.join(", "))
    .option("--dir <dir>", "data folder (default: MOESCOPE_DATA, or the user's cache)")
    .option("--unpinned", "take files with another content than the known one, and say so")
    .addOption(quietOption())
    .addOption(jsonOption("print what came from where as JSON"))
    .addHelpText("after", "\nExample:\n  $ moescope data get gsm8k mmlu")
    .action((names: string[], options: Options) => get(terminal, names, options));
  data
    .command("list")
    .description("the benchmarks whose files can be fetched: licence, and whether they are here")
    .option("--dir <dir>", "data folder (default: MOESCOPE_DATA, or the user's cache)")
    .addOption(jsonOption("print the list as JSON"))
    .addHelpText("after", "\nExample:\n  $ moescope data list")
    .action((options: Options) => list(terminal, options));
}

function folderOf({ dir }: Options): string {
  return dir ?? (process.env.MOESCOPE_DATA || defaultDataFolder());
}

async function get(terminal: Terminal, names: readonly string[], options: Options): Promise<void> {
  const unknown = names.find((name) => !Object.hasOwn(DATASET_SOURCES, name));
  if (unknown !== undefined) throw invalidArgument("benchmarks", NAMES.join(", "), unknown);
  const root = folderOf(options);
  const all: Record<string, FetchedPart[]> = {};
  for (const name of new Set(names)) {
    const source = DATASET_SOURCES[name]!;
    if (!options.quiet) terminal.note(`${source.title}, licence ${source.licence}`);
    const bar = progressBar(terminal, "Fetching", { quiet: options.quiet, unit: "kB" });
    try {
      const parts = await fetchDataset(source, root, {
        ...{ unpinned: options.unpinned, signal: terminal.signal },
        onProgress: (file, done, total) => bar.update(kilobytes(done), kilobytes(total ?? done), file),
      });
      all[name] = parts;
      if (parts.some(({ url }) => url !== undefined)) await writeOrigin(root, name, source.licence, parts);
    } finally {
      bar.stop();
    }
    if (!options.json) await terminal.print(all[name]!.map((part) => sentenceOf(part, root)).join("\n"));
  }
  if (options.json) await terminal.printJson({ folder: root, benchmarks: all });
}

function sentenceOf({ path, url, commit, sha256, isPinned }: FetchedPart, root: string): string {
  const from = url === undefined ? "was here" : `from ${url}${commit === undefined ? "" : ` at ${commit}`}`;
  return `${join(root, path)} ${from}, ${isPinned ? "content as pinned" : `another content than the pinned one: sha256 ${sha256}`}`;
}

/** Keeps with the files where they came from. */
async function writeOrigin(root: string, name: string, licence: string, parts: readonly FetchedPart[]): Promise<void> {
  const file = join(root, name, "origin.json");
  try {
    await writeFile(file, `${JSON.stringify({ licence, fetchedAt: new Date().toISOString(), parts }, null, 2)}\n`);
  } catch (error) {
    throw fromSystemError(error, `write ${file}`);
  }
}

async function list(terminal: Terminal, options: Options): Promise<void> {
  const root = folderOf(options);
  const rows = await Promise.all(
    Object.entries(DATASET_SOURCES).map(async ([name, { title, licence, parts }]) => {
      const here = await Promise.all(parts.map((part) => hasPart(part, root)));
      return { name, title, licence, isHere: here.every(Boolean) };
    }),
  );
  if (options.json) {
    await terminal.printJson({ folder: root, benchmarks: rows });
    return;
  }
  const lines = rows.map(({ name, title, licence, isHere }) => [name, title, isHere ? "here" : "missing", licence]);
  await terminal.print(`${textTable([["name", "benchmark", "files", "licence"], ...lines])}\n\nin ${root}`);
}

function kilobytes(bytes: number): number {
  return Math.ceil(bytes / 1000);
}
