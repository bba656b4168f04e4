/** `moescope report`: the HTML report of a run, written anew. */
import type { Command } from "commander";
import { writeReport } from "../eval/report/write-report.js";
import type { Terminal } from "./io.js";
import { jsonOption } from "./options.js";
import { formatBytes } from "./text-table.js";

export function registerReport(program: Command, terminal: Terminal): void {
  program
    .command("report")
    .description("one HTML file of a run: scores, expert load, every sample; opens without network")
    .argument("<run>", "run folder of eval")
    .addOption(jsonOption("print path and size as JSON"))
    .addHelpText("after", "\nExample:\n  $ moescope report runs/first")
    .action(async (folder: string, { json }: { json?: boolean }) => {
      const { path, bytes } = await writeReport(folder);
      if (json) await terminal.printJson({ path, bytes });
      else await terminal.print(`${path} (${formatBytes(bytes)})`);
    });
}
