/** `moescope notebook run`: a notebook from the command line. */
import type { Command } from "commander";
import { MoescopeError } from "../errors.js";
import { runNotebook } from "../notebook/run-notebook.js";
import type { Terminal } from "./io.js";
import { jsonOption, number, quietOption } from "./options.js";
import { progressBar } from "./progress.js";

interface RunOptions {
  output?: string;
  timeout?: number;
  allowErrors?: boolean;
  json?: boolean;
  quiet?: boolean;
}

export function registerNotebook(program: Command, terminal: Terminal): void {
  program
    .command("notebook")
    .description("notebooks without Jupyter: run")
    .command("run")
    .description("run a notebook in the moescope kernel and write its outputs back; needs neither Jupyter nor Python")
    .argument("<file>", "a notebook (.ipynb) in TypeScript")
    .option("--output <file>", "write the notebook with its outputs here, not back")
    .option("--timeout <seconds>", "longest time for one cell (default: none)", number(0.001, 1e6))
    .option("--allow-errors", "go on after a cell that fails; the exit code says so at the end")
    .addOption(jsonOption("print counts, failures and time as JSON"))
    .addOption(quietOption())
    .addHelpText(
      "after",
      "\nThe exit code is 1 where a cell fails.\n\nExample:\n  $ moescope notebook run notebooks/first.ipynb --timeout 60",
    )
    .action((file: string, options: RunOptions) => run(terminal, file, options));
}

async function run(terminal: Terminal, file: string, { json, quiet, ...options }: RunOptions): Promise<void> {
  const bar = progressBar(terminal, file, { quiet, unit: "cells" });
  const result = await runNotebook(file, {
    ...options,
    signal: terminal.signal,
    onCell: (done, total) => bar.update(done, total),
  }).finally(() => bar.stop());
  const { path, numRun, numCells, failures, seconds } = result;
  if (json) await terminal.printJson(result);
  else {
    for (const { traceback } of failures) terminal.note(traceback.join("\n"));
    await terminal.print(
      `${path}: ${numRun} of ${numCells} cells in ${seconds.toFixed(1)} s, ${failures.length} failed`,
    );
  }
  const [first] = failures;
  if (first !== undefined) {
    throw new MoescopeError("INTERNAL", `Cell ${first.cell + 1} of ${file} failed: ${first.ename}: ${first.evalue}`);
  }
}
