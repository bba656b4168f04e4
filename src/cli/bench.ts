/** `moescope bench`: how fast the engine is here, as fractions of what the machine can do. */
import type { Command } from "commander";
import { FILE_TYPE_NAMES, type FileType } from "../quantize/file-type.js";
import { removeSyntheticModel, syntheticModel, syntheticPath } from "./bench/synthetic-model.js";
import { SHAPE_NAMES, type ShapeName } from "./bench/synthetic-shape.js";
import type { Terminal } from "./io.js";
import { jsonOption, oneOf, quietOption } from "./options.js";
import { progressBar } from "./progress.js";

interface Options {
  synthetic: ShapeName;
  type: FileType;
  writeOnly?: boolean;
  remove?: boolean;
  json?: boolean;
  quiet?: boolean;
}

export function registerBench(program: Command, terminal: Terminal): void {
  program
    .command("bench")
    .description("write models with random weights of the shapes on which speed is measured")
    .requiredOption("--synthetic <shape>", `one of ${SHAPE_NAMES.join(", ")}`, oneOf(...SHAPE_NAMES))
    .option("--type <type>", "how its weights are quantised, by the names of llama-quantize", fileType, "Q4_K_M")
    .option("--write-only", "write it to the user's cache, print its path and stop")
    .option("--remove", "remove it from the user's cache and stop")
    .addOption(jsonOption("print one JSON object"))
    .addOption(quietOption())
    .addHelpText("after", "\nExample:\n  $ moescope bench --synthetic mini --type Q8_0 --write-only")
    .action((options: Options) => bench(terminal, options));
}

function fileType(text: string): FileType {
  return oneOf(...FILE_TYPE_NAMES)(text.toUpperCase());
}

async function bench(terminal: Terminal, options: Options): Promise<void> {
  const { synthetic: shape, type } = options;
  if (options.remove) removeSyntheticModel(shape, type);
  const path = options.remove ? syntheticPath(shape, type) : await written(terminal, options);
  if (options.json) await terminal.printJson({ shape, type, path, removed: options.remove ?? false });
  else await terminal.print(path);
}

async function written(terminal: Terminal, { synthetic, type, quiet }: Options): Promise<string> {
  const bar = progressBar(terminal, `Writing ${synthetic} ${type}`, { quiet, unit: "bytes" });
  try {
    return await syntheticModel(synthetic, type, {
      signal: terminal.signal,
      onProgress: (done, total, tensor) => bar.update(done, total, tensor),
    });
  } finally {
    bar.stop();
  }
}
