/** `moescope compare`: two runs, item by item. */
import type { Command } from "commander";
import { compare } from "../eval/compare.js";
import { readRun } from "../eval/saved-run.js";
import { comparisonTable } from "../eval/table.js";
import type { Terminal } from "./io.js";
import { jsonOption } from "./options.js";

export function registerCompare(program: Command, terminal: Terminal): void {
  program
    .command("compare")
    .description("two runs of the same tasks, compared item by item: difference, paired error, McNemar's test")
    .argument("<run-a>", "run folder of eval")
    .argument("<run-b>", "run folder of eval")
    .addOption(jsonOption("print the comparisons as JSON"))
    .addHelpText("after", "\nExample:\n  $ moescope compare runs/baseline runs/without-expert-5")
    .action(async (a: string, b: string, { json }: { json?: boolean }) => {
      const [runA, runB] = [await readRun(a), await readRun(b)];
      const comparisons = compare(runA, runB);
      if (json) return await terminal.printJson(comparisons);
      await terminal.print(`A: ${runA.model}, ${a}\nB: ${runB.model}, ${b}`);
      await terminal.print(comparisonTable(comparisons));
    });
}
